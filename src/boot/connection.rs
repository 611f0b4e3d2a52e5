//! One connection: HTTP/1 or HTTP/2 by its first bytes, with limits on the time of its first request and on the size of
//! request heads, and a graceful end.

use std::convert::Infallible;
use std::future::{Future, pending};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use http::{HeaderValue, Request, Response, Version, header};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::early_answer;
use super::socket::{Protocol, Socket};
use super::unwritten::{Streams, Tails, Unwritten};

/// Maximum size of a request's head in bytes; 431 above it. nginx passes on as much.
const HEAD: usize = 32 * 1024;
/// Read buffer of a connection in bytes. It grows to this size for bodies only: large reads make uploads fast.
const READ_BUFFER: usize = 128 * 1024;
/// Bytes of one HTTP/2 stream that are taken from its body before the client takes them.
const SEND_BUFFER: usize = 64 * 1024;
/// Maximum number of concurrent requests of an HTTP/2 connection.
const STREAMS: u32 = 256;

/// Time limits of a connection.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// From the accept to the end of the first request's head; between requests, to the end of the next head; for an HTTP/2
    /// client, to answer a ping.
    pub head: Duration,
    /// Time in which the client takes no byte of a response.
    pub write: Duration,
}

/// What all connections of a server share.
pub struct Server {
    pub router: Router,
    pub patience: Patience,
    /// Responses ask HTTP/1 clients to close the connection.
    pub closing: CancellationToken,
}

struct Connection {
    server: Arc<Server>,
    peer: SocketAddr,
    /// Whether a request's head was complete.
    used: AtomicBool,
    tails: Arc<Tails>,
}

/// Serves a connection until its end. `ending` turns true when no further request is accepted.
pub async fn serve(server: Arc<Server>, mut socket: Socket, peer: SocketAddr, mut ending: watch::Receiver<bool>) {
    let deadline = Instant::now() + server.patience.head;
    let protocol = tokio::select! {
        // First reads what has arrived: a request that was sent before the stop is answered.
        biased;
        known = timeout_at(deadline, socket.protocol()) => match known {
            Ok(Ok(Some(protocol))) => protocol,
            Ok(_) => return,
            Err(_) => return tracing::debug!("a connection without a request is closed"),
        },
        () = ended(&mut ending) => return,
    };
    let Patience { head, write } = server.patience;
    let connection = Arc::new(Connection { server, peer, used: AtomicBool::new(false), tails: Arc::default() });
    let service = {
        let connection = connection.clone();
        service_fn(move |request| {
            let connection = connection.clone();
            async move { Ok::<_, Infallible>(connection.answer(request).await) }
        })
    };
    let io = TokioIo::new(socket);
    match protocol {
        Protocol::Http1 => {
            let mut builder = http1::Builder::new();
            builder.timer(TokioTimer::new()).header_read_timeout(head).max_header_size(HEAD).max_buf_size(READ_BUFFER);
            let served = builder.serve_connection(io, service).with_upgrades();
            let overdue = async {
                connection.unused_at(deadline).await;
            };
            drive(served, http1::UpgradeableConnection::graceful_shutdown, overdue, ending).await;
        }
        Protocol::Http2 => {
            let mut builder = http2::Builder::new(Streams { limit: write });
            builder.timer(TokioTimer::new()).keep_alive_interval(Some(head)).keep_alive_timeout(head);
            builder.max_concurrent_streams(STREAMS).max_send_buf_size(SEND_BUFFER);
            builder.max_header_list_size(u32::try_from(HEAD).unwrap_or(u32::MAX));
            let served = builder.serve_connection(io, service);
            let overdue = async {
                tokio::select! {
                    () = connection.unused_at(deadline) => {}
                    () = connection.tails.stalled(write) => {}
                }
            };
            drive(served, http2::Connection::graceful_shutdown, overdue, ending).await;
        }
    }
}

/// Runs a connection to its end, or drops it when it is overdue.
async fn drive<C>(connection: C, finish: fn(Pin<&mut C>), overdue: impl Future<Output = ()>, mut ending: watch::Receiver<bool>)
where
    C: Future<Output = hyper::Result<()>>,
{
    let (mut connection, mut overdue) = (pin!(connection), pin!(overdue));
    tokio::select! {
        biased;
        result = connection.as_mut() => return report(result),
        () = overdue.as_mut() => return tracing::debug!("an overdue connection is closed"),
        () = ended(&mut ending) => {}
    }
    finish(connection.as_mut());
    tokio::select! {
        biased;
        result = connection => report(result),
        () = overdue => {}
    }
}

fn report(result: hyper::Result<()>) {
    if let Err(error) = result {
        // The client disconnected, did not read, or did not speak HTTP.
        tracing::debug!(cause = %error, "connection ended");
    }
}

async fn ended(ending: &mut watch::Receiver<bool>) {
    // An error means that the server is gone.
    let _ = ending.wait_for(|ending| *ending).await;
}

impl Connection {
    /// Returns at the deadline if no request has arrived, otherwise never.
    async fn unused_at(&self, deadline: Instant) {
        sleep_until(deadline).await;
        if self.used.load(Ordering::Relaxed) {
            pending::<()>().await;
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Unwritten> {
        self.used.store(true, Ordering::Relaxed);
        let version = request.version();
        let (mut request, unread) = early_answer::lend(request);
        request.extensions_mut().insert(ConnectInfo(self.peer));
        let mut response = match self.server.router.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        let reusable = !self.server.closing.is_cancelled() && unread.discard().await;
        if !reusable && version <= Version::HTTP_11 {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        Unwritten::wrap(response, version, &self.tails)
    }
}
