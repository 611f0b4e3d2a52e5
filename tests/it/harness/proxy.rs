//! TCP proxy that simulates outages of a database or of Redis.

use std::net::SocketAddr;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wire {
    Whole,
    /// All connections are closed, new connections at once.
    Cut,
    /// Connections stay open, but no data is forwarded.
    Silent,
}

/// State of the wire, and how often open connections were forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State {
    wire: Wire,
    forgotten: usize,
}

/// Forwards connections from its own port to the upstream, unless an outage is simulated.
pub struct Proxy {
    pub port: u16,
    state: watch::Sender<State>,
}

impl Proxy {
    pub async fn to(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy =
            Self { port: listener.local_addr().unwrap().port(), state: watch::Sender::new(State { wire: Wire::Whole, forgotten: 0 }) };
        let state = proxy.state.subscribe();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(forward(client, upstream, state.clone()));
            }
        });
        proxy
    }

    /// Starts a proxy in front of the service at this URL; returns the proxy and its URL.
    pub async fn before(url: &str) -> (Self, String) {
        let mut url = url::Url::parse(url).unwrap();
        let default = if url.scheme().starts_with("redis") { 6379 } else { 5432 };
        let host = url.host_str().unwrap_or("127.0.0.1").to_owned();
        let upstream = tokio::net::lookup_host((host, url.port().unwrap_or(default))).await.unwrap().next().unwrap();
        let proxy = Self::to(upstream).await;
        url.set_host(Some("127.0.0.1")).unwrap();
        url.set_port(Some(proxy.port)).unwrap();
        (proxy, url.to_string())
    }

    pub fn cut(&self) {
        self.state.send_modify(|state| state.wire = Wire::Cut);
    }

    pub fn silence(&self) {
        self.state.send_modify(|state| state.wire = Wire::Silent);
    }

    pub fn mend(&self) {
        self.state.send_modify(|state| state.wire = Wire::Whole);
    }

    /// Drops what open connections send from now on, as a network does that lost track of them: they stay open and silent for
    /// ever, while new connections work.
    pub fn forget(&self) {
        self.state.send_modify(|state| state.forgotten += 1);
    }
}

async fn forward(mut client: TcpStream, upstream: SocketAddr, mut state: watch::Receiver<State>) {
    let start = *state.borrow();
    if start.wire == Wire::Whole {
        let Ok(mut server) = TcpStream::connect(upstream).await else { return };
        tokio::select! {
            _ = copy_bidirectional(&mut client, &mut server) => return,
            _ = state.wait_for(|state| *state != start) => {}
        }
        if state.borrow().forgotten != start.forgotten {
            // An error means that the proxy was dropped.
            let _ = state.wait_for(|_| false).await;
            return;
        }
    }
    // Bytes may have been lost, so a connection that was silent is never used again.
    let _ = state.wait_for(|state| state.wire != Wire::Silent).await;
}
