//! Limits on the number of connections: of the whole server, and of one peer, so that one address cannot take them all.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ipnet::IpNet;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::platform::rate_limit::network;

/// Interval of the warning about peers at their limit.
const WARNING: Duration = Duration::from_secs(60);

/// The open connections, counted.
pub struct Peers {
    all: Arc<Semaphore>,
    maximum: usize,
    /// Maximum number of connections of one peer.
    per_peer: usize,
    /// Proxies: each of their connections serves many clients, so only the limit of the server holds for them.
    trusted: Vec<IpNet>,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    by_peer: HashMap<IpAddr, usize>,
    warned: Option<Instant>,
}

/// A connection that is counted until it is dropped.
pub struct Admission {
    _place: OwnedSemaphorePermit,
    _peer: Option<Counted>,
}

struct Counted {
    peers: Arc<Peers>,
    network: IpAddr,
}

impl Peers {
    pub fn new(maximum: usize, per_peer: usize, trusted: Vec<IpNet>) -> Arc<Self> {
        Arc::new(Self { all: Arc::new(Semaphore::new(maximum)), maximum, per_peer, trusted, open: Mutex::default() })
    }

    /// Waits for a free place.
    pub async fn place(&self) -> Option<OwnedSemaphorePermit> {
        // Never closed, so never `None`.
        self.all.clone().acquire_owned().await.ok()
    }

    /// Takes a free place, if there is one.
    pub fn free_place(&self) -> Option<OwnedSemaphorePermit> {
        self.all.clone().try_acquire_owned().ok()
    }

    /// Counts a connection. `None` if its peer has too many.
    pub fn admit(self: &Arc<Self>, address: IpAddr, place: OwnedSemaphorePermit) -> Option<Admission> {
        let address = address.to_canonical();
        if self.trusted.iter().any(|proxies| proxies.contains(&address)) {
            return Some(Admission { _place: place, _peer: None });
        }
        let network = network(address);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.by_peer.entry(network).or_default();
        if *count >= self.per_peer {
            if open.warned.is_none_or(|at| at.elapsed() >= WARNING) {
                open.warned = Some(Instant::now());
                tracing::warn!(peer = %network, limit = self.per_peer,
                    "a peer has too many connections, further ones are closed; if it is a proxy, add it to TRUSTED_PROXIES");
            }
            return None;
        }
        *count += 1;
        drop(open);
        Some(Admission { _place: place, _peer: Some(Counted { peers: self.clone(), network }) })
    }

    /// Whether no connection is open.
    pub fn is_idle(&self) -> bool {
        self.all.available_permits() == self.maximum
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut open = self.peers.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.by_peer.get_mut(&self.network) {
            *count -= 1;
            if *count == 0 {
                open.by_peer.remove(&self.network);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peer_at_its_limit_is_refused_until_one_closes() {
        let peers = Peers::new(100, 2, vec!["10.0.0.0/8".parse().unwrap()]);
        let admit = |text: &str| peers.admit(text.parse().unwrap(), peers.free_place().unwrap());
        for (first, second) in [("192.0.2.1", "::ffff:192.0.2.1"), ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2")] {
            let held = [admit(first), admit(second)];
            assert!(held.iter().all(Option::is_some), "{first}");
            assert!(admit(first).is_none() && admit(second).is_none(), "{first}");
            drop(held);
            assert!(admit(first).is_some(), "{first}");
        }
        let other = [admit("192.0.2.2"), admit("2001:db8:0:2::1")];
        assert!(other.iter().all(Option::is_some));
        let proxied: Vec<_> = (0..20).map(|_| admit("::ffff:10.1.2.3")).collect();
        assert!(proxied.iter().all(Option::is_some), "a trusted proxy has no limit of its own");
        drop((other, proxied));
        assert!(peers.is_idle() && peers.open.lock().unwrap().by_peer.is_empty(), "nothing is kept of closed connections");
    }
}
