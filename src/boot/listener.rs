//! Accept loop, in place of `axum::serve`: a time-out for request heads, a connection limit, HTTP/1 and HTTP/2 on one port,
//! and a graceful shutdown that answers every accepted connection.

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

/// Maximum number of connections; further ones wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 8192;
/// Time limit for a request head, and idle time-out of a connection. More than the 60 seconds of common load balancers, so
/// that they close idle connections first.
const HEAD: Duration = Duration::from_secs(75);
/// Read buffer of a connection, in bytes; limits the request head. Hyper answers 431 above it.
const READ_BUFFER: usize = 128 * 1024;
/// Time after the last accept for keep-alive clients to receive `Connection: close` with a response, so that no request is
/// sent on a connection that is being closed.
const LINGER: Duration = Duration::from_secs(1);
/// Pause after a failed accept, such as for lack of file descriptors or memory.
const BACK_OFF: Duration = Duration::from_millis(50);

/// Shutdown steps, triggered by the caller.
#[derive(Clone, Default)]
pub struct Stop {
    /// Responses ask HTTP/1 clients to close the connection.
    pub closing: CancellationToken,
    /// No more connections are accepted once the queue is empty.
    pub drain: CancellationToken,
}

/// Serves until `drain` is cancelled and all connections have ended, or `grace` has passed. Returns whether all ended.
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
    /// Accepts the connections that the kernel has queued, then closes the listener. Otherwise the kernel would reset them.
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
        // Disables Nagle's algorithm: small responses must not wait for a delayed ACK.
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
                // The client disconnected or did not speak HTTP.
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
