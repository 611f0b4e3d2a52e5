//! Client address. Forwarding headers count only from trusted proxies.

use std::net::{IpAddr, SocketAddr};

use axum::extract::ConnectInfo;
use http::{HeaderName, Request};
use ipnet::IpNet;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Returns the peer's address; behind trusted proxies, the right-most forwarded address that is not a trusted proxy.
pub fn client_ip<B>(request: &Request<B>, trusted_proxies: &[IpNet]) -> IpAddr {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map_or(IpAddr::from([0, 0, 0, 0]), |peer| peer.0.ip().to_canonical());
    let trusted = |address: &IpAddr| trusted_proxies.iter().any(|network| network.contains(address));
    if !trusted(&peer) {
        return peer;
    }
    let forwarded: Vec<&str> = request
        .headers()
        .get_all(X_FORWARDED_FOR)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .collect();
    // Stops at the first unreadable address: everything to the left of it may be forged.
    let addresses = forwarded.iter().rev().map_while(|text| address(text.trim()));
    let mut nearest = peer;
    for address in addresses {
        nearest = address;
        if !trusted(&address) {
            break;
        }
    }
    nearest
}

/// Reads an address with or without a port or brackets, as proxies write them.
fn address(text: &str) -> Option<IpAddr> {
    let plain = text.parse::<IpAddr>().or_else(|_| text.parse::<SocketAddr>().map(|socket| socket.ip()));
    plain.or_else(|_| text.trim_matches(['[', ']']).parse()).ok().map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen_from(peer: &str, trusted: &[&str], forwarded: &[&str]) -> String {
        let trusted: Vec<IpNet> = trusted.iter().map(|net| net.parse().unwrap()).collect();
        let mut request = Request::builder();
        for value in forwarded {
            request = request.header(X_FORWARDED_FOR, *value);
        }
        let mut request = request.body(()).unwrap();
        request.extensions_mut().insert(ConnectInfo(SocketAddr::new(peer.parse().unwrap(), 1234)));
        client_ip(&request, &trusted).to_string()
    }

    #[test]
    fn client_ip_is_forwarded_only_by_trusted_proxies() {
        assert_eq!(seen_from("9.9.9.9", &[], &["1.2.3.4"]), "9.9.9.9");
        assert_eq!(seen_from("9.9.9.9", &["10.0.0.0/8"], &["1.2.3.4"]), "9.9.9.9");
        assert_eq!(seen_from("10.0.0.1", &["10.0.0.0/8"], &[]), "10.0.0.1");
        assert_eq!(seen_from("10.0.0.1", &["10.0.0.0/8"], &["6.6.6.6, 1.2.3.4, 10.0.0.2"]), "1.2.3.4");
        assert_eq!(seen_from("10.0.0.1", &["10.0.0.0/8"], &["6.6.6.6", "1.2.3.4:5555"]), "1.2.3.4");
        assert_eq!(seen_from("10.0.0.1", &["10.0.0.0/8"], &["6.6.6.6, junk, 10.0.0.2"]), "10.0.0.2");
        assert_eq!(seen_from("10.0.0.1", &["10.0.0.0/8"], &["[2001:db8::1]:443"]), "2001:db8::1");
        assert_eq!(seen_from("::ffff:10.0.0.1", &["10.0.0.0/8"], &["1.2.3.4"]), "1.2.3.4");
    }
}
