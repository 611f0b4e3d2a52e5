//! Accept loop, in place of `axum::serve`: limits on connections, HTTP/1 and HTTP/2 on one port, and a graceful shutdown
//! that answers every accepted connection.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use ipnet::IpNet;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio_util::sync::CancellationToken;

use super::connection::{self, Patience, Server};
use super::peers::Peers;
use super::socket::Socket;

/// Time after the last accept for keep-alive clients to receive `Connection: close` with a response, so that no request is
/// sent on a connection that is being closed.
const LINGER: Duration = Duration::from_secs(1);
/// Pause after a failed accept, such as for lack of file descriptors or memory.
const BACK_OFF: Duration = Duration::from_millis(50);

/// Limits on connections.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Maximum number of connections; further ones wait in the kernel's queue.
    pub connections: usize,
    /// Maximum number of connections of one peer (IPv6: of one /64); further ones are closed.
    pub per_peer: usize,
    /// Peers without a limit of their own.
    pub trusted_proxies: Vec<IpNet>,
    pub patience: Patience,
}

impl Limits {
    pub fn new(trusted_proxies: &[IpNet]) -> Self {
        Self {
            connections: 16_384,
            per_peer: 16_384 / 8,
            trusted_proxies: trusted_proxies.to_vec(),
            // Load balancers keep idle connections for 60 seconds. More for the head, so that they close first.
            patience: Patience { head: Duration::from_secs(75), write: Duration::from_secs(60) },
        }
    }
}

/// Shutdown steps, triggered by the caller.
#[derive(Clone, Default)]
pub struct Stop {
    /// Responses ask HTTP/1 clients to close the connection.
    pub closing: CancellationToken,
    /// No more connections are accepted once the queue is empty.
    pub drain: CancellationToken,
}

/// Serves until `drain` is cancelled and all connections have ended, or `grace` has passed. Returns whether all ended.
pub async fn run(listener: TcpListener, router: Router, stop: Stop, grace: Duration, limits: Limits) -> bool {
    let Limits { connections, per_peer, trusted_proxies, patience } = limits;
    let peers = Peers::new(connections, per_peer, trusted_proxies);
    let (ending, _) = watch::channel(false);
    let server = Arc::new(Server { router, patience, closing: stop.closing.clone() });
    let accepting = Accepting { server, peers: peers.clone(), ending: ending.clone() };
    loop {
        let next = async {
            let place = peers.place().await;
            (place, listener.accept().await)
        };
        tokio::select! {
            biased;
            () = stop.drain.cancelled() => break,
            (place, accepted) = next => match (place, accepted) {
                (Some(place), Ok((stream, peer))) => accepting.spawn(stream, peer, place),
                (_, Err(error)) => {
                    tracing::warn!(cause = %error, "a connection could not be accepted");
                    tokio::time::sleep(BACK_OFF).await;
                }
                (None, _) => break,
            },
        }
    }
    accepting.empty_queue(listener);
    if !peers.is_idle() {
        tokio::time::sleep(LINGER.min(grace / 4)).await;
    }
    drop(accepting);
    ending.send_replace(true);
    // Closed when the last connection has dropped its receiver.
    tokio::time::timeout(grace, ending.closed()).await.is_ok()
}

struct Accepting {
    server: Arc<Server>,
    peers: Arc<Peers>,
    ending: watch::Sender<bool>,
}

impl Accepting {
    /// Accepts the connections that the kernel has queued, then closes the listener. Otherwise the kernel would reset them.
    fn empty_queue(&self, listener: TcpListener) {
        let Ok(listener) = listener.into_std() else { return };
        while let Ok((stream, peer)) = listener.accept() {
            let Some(place) = self.peers.free_place() else { continue };
            let stream = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream));
            if let Ok(stream) = stream {
                self.spawn(stream, peer, place);
            }
        }
    }

    fn spawn(&self, stream: TcpStream, peer: SocketAddr, place: OwnedSemaphorePermit) {
        let Some(admission) = self.peers.admit(peer.ip(), place) else { return };
        let socket = Socket::new(stream, self.server.patience.write, admission);
        tokio::spawn(connection::serve(self.server.clone(), socket, peer, self.ending.subscribe()));
    }
}
