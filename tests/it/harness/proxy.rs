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

/// Forwards connections from its own port to the upstream, unless an outage is simulated.
pub struct Proxy {
    pub port: u16,
    wire: watch::Sender<Wire>,
}

impl Proxy {
    pub async fn to(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Self { port: listener.local_addr().unwrap().port(), wire: watch::Sender::new(Wire::Whole) };
        let wire = proxy.wire.subscribe();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(forward(client, upstream, wire.clone()));
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
        self.wire.send_replace(Wire::Cut);
    }

    pub fn silence(&self) {
        self.wire.send_replace(Wire::Silent);
    }

    pub fn mend(&self) {
        self.wire.send_replace(Wire::Whole);
    }
}

async fn forward(mut client: TcpStream, upstream: SocketAddr, mut wire: watch::Receiver<Wire>) {
    if *wire.borrow() == Wire::Whole {
        let Ok(mut server) = TcpStream::connect(upstream).await else { return };
        tokio::select! {
            _ = copy_bidirectional(&mut client, &mut server) => return,
            _ = wire.wait_for(|wire| *wire != Wire::Whole) => {}
        }
    }
    // Bytes may have been lost, so a connection that was silent is never used again. An error means that the proxy
    // was dropped.
    let _ = wire.wait_for(|wire| *wire != Wire::Silent).await;
}
