//! The accept loop, in place of `axum::serve`: a time-out for request heads, a bound on connections, HTTP/1
//! and 2 on one port, and a stop that answers everybody who got through.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use http::{HeaderValue, Version, header};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::lingering_close::Lingering;

/// Connections at most; the kernel queues the next ones.
const MAX_CONNECTIONS: usize = 8192;
/// A request's head must be complete within this, and an idle connection lives as long: more than the 60
/// seconds for which common balancers keep theirs, so that they and not we end it.
const HEAD: Duration = Duration::from_secs(75);
/// Bytes that a connection holds at most of what it reads, and so of a request's head: above them hyper's own answer is 431.
const READ_BUFFER: usize = 128 * 1024;
/// After the last accept, clients that keep connections get this long to hear `Connection: close` on an
/// answer, rather than have a request cross the close on the wire.
const LINGER: Duration = Duration::from_secs(1);
/// Pause after an accept that failed for want of file descriptors or memory.
const BACK_OFF: Duration = Duration::from_millis(50);

/// The steps of a stop, each begun from outside.
#[derive(Clone, Default)]
pub struct Stop {
    /// From now on answers ask HTTP/1 clients to close.
    pub closing: CancellationToken,
    /// No more connections are accepted once the queue is empty.
    pub drain: CancellationToken,
}

/// Serves until told to drain and all connections have ended, or `grace` has passed. Says whether all ended.
pub async fn run(listener: TcpListener, router: Router, stop: Stop, grace: Duration) -> bool {
    let connections = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let server = Server { router, stop: stop.clone(), places: places.clone() };
    loop {
        let next = async {
            let place = places.clone().acquire_owned().await;
            (place, listener.accept().await)
        };
        tokio::select! {
            biased;
            () = stop.drain.cancelled() => break,
            (place, accepted) = next => match (place, accepted) {
                (Ok(place), Ok((stream, peer))) => server.spawn(stream, peer, place, &connections),
                (_, Err(error)) => {
                    tracing::warn!(cause = %error, "a connection could not be accepted");
                    tokio::time::sleep(BACK_OFF).await;
                }
                (Err(_), _) => break,
            },
        }
    }
    server.empty_queue(listener, &connections);
    if places.available_permits() < MAX_CONNECTIONS {
        tokio::time::sleep(LINGER.min(grace / 4)).await;
    }
    tokio::time::timeout(grace, connections.shutdown()).await.is_ok()
}

struct Server {
    router: Router,
    stop: Stop,
    places: Arc<Semaphore>,
}

impl Server {
    /// Accepts what the kernel has queued already, then closes the listener: it is the kernel that would
    /// otherwise reset those clients.
    fn empty_queue(&self, listener: TcpListener, connections: &GracefulShutdown) {
        let Ok(listener) = listener.into_std() else { return };
        while let Ok((stream, peer)) = listener.accept() {
            let Ok(place) = self.places.clone().try_acquire_owned() else { continue };
            let stream = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream));
            if let Ok(stream) = stream {
                self.spawn(stream, peer, place, connections);
            }
        }
    }

    fn spawn(&self, stream: TcpStream, peer: SocketAddr, place: tokio::sync::OwnedSemaphorePermit, connections: &GracefulShutdown) {
        // Small answers must not wait for the client's delayed acknowledgement.
        let _ = stream.set_nodelay(true);
        let (router, closing) = (self.router.clone(), self.stop.closing.clone());
        let service = hyper::service::service_fn(move |request: http::Request<Incoming>| {
            let (router, closing) = (router.clone(), closing.clone());
            async move { Ok::<_, Infallible>(answer(router, &closing, request, peer).await) }
        });
        let mut builder = Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(READ_BUFFER);
        builder.http2().timer(TokioTimer::new()).keep_alive_interval(Some(HEAD)).keep_alive_timeout(HEAD).max_concurrent_streams(256);
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(Lingering::new(stream)), service).into_owned();
        let watched = connections.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = watched.await {
                // A client that went away, or spoke no HTTP.
                tracing::debug!(cause = %error, "connection ended");
            }
            drop(place);
        });
    }
}

async fn answer(router: Router, closing: &CancellationToken, request: http::Request<Incoming>, peer: SocketAddr) -> http::Response<Body> {
    let mut request = request.map(Body::new);
    let version = request.version();
    request.extensions_mut().insert(ConnectInfo(peer));
    let mut response = match router.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    };
    if closing.is_cancelled() && version <= Version::HTTP_11 {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}
