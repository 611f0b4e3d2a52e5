//! Pages for developers, such as the mailbox: only for the machine that the server runs on, and only under a name of that
//! machine. Without the second check any web page could read them by DNS rebinding: its own host name resolves to 127.0.0.1, and
//! to the browser the answer is then of the page's own origin.

use std::net::{IpAddr, SocketAddr};

use axum::extract::ConnectInfo;
use http::uri::Authority;
use http::{HeaderName, Request, header};
use ipnet::IpNet;
use url::Url;

use crate::platform::error::{Error, Result};

/// Headers by which a proxy says that the request is not its own.
const FORWARDED: [HeaderName; 3] =
    [HeaderName::from_static("forwarded"), HeaderName::from_static("x-forwarded-for"), HeaderName::from_static("x-real-ip")];

/// Who may open pages for developers.
pub struct Developers<'c> {
    /// Clients on other machines too.
    pub remote: bool,
    /// Its host is allowed beside those of the loopback interface.
    pub public_base_url: Option<&'c Url>,
    pub trusted_proxies: &'c [IpNet],
}

impl Developers<'_> {
    /// Refuses (403) requests that do not come from a developer. `client` is the address as far as it can be trusted.
    pub fn check<B>(&self, request: &Request<B>, client: IpAddr) -> Result<()> {
        if !self.remote && (!client.is_loopback() || self.is_forwarded_by_stranger(request)) {
            return Err(Error::Forbidden("This page answers only the machine that the server runs on; set MAILBOX_REMOTE=true for others"));
        }
        if !self.is_named(request) {
            return Err(Error::Forbidden("This page answers only at localhost and at the host of PUBLIC_BASE_URL"));
        }
        Ok(())
    }

    /// Whether a proxy that is not trusted passes on somebody else's request: its address says nothing about the client.
    fn is_forwarded_by_stranger<B>(&self, request: &Request<B>) -> bool {
        let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0.ip().to_canonical());
        let trusted = peer.is_some_and(|peer| self.trusted_proxies.iter().any(|network| network.contains(&peer)));
        !trusted && FORWARDED.iter().any(|name| request.headers().contains_key(name))
    }

    /// Whether every host that the request names is allowed: `:authority` in HTTP/2, the target and each `Host` header in HTTP/1.
    fn is_named<B>(&self, request: &Request<B>) -> bool {
        let headers = request.headers().get_all(header::HOST).iter().map(|value| Authority::try_from(value.as_bytes()).ok());
        let mut hosts = headers.chain(request.uri().authority().cloned().map(Some)).peekable();
        hosts.peek().is_some() && hosts.all(|host| host.is_some_and(|host| self.allows(&host)))
    }

    fn allows(&self, authority: &Authority) -> bool {
        if authority.as_str().contains('@') {
            return false;
        }
        let host = authority.host();
        let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        let is_public = self.public_base_url.and_then(Url::host_str).is_some_and(|public| public.eq_ignore_ascii_case(host));
        host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback()) || is_public
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct From<'r> {
        peer: &'r str,
        client: &'r str,
        headers: &'r [(&'r str, &'r str)],
        target: &'r str,
    }

    const HERE: From = From { peer: "127.0.0.1", client: "127.0.0.1", headers: &[("host", "localhost:8000")], target: "/dev" };

    fn is_let_in(from: &From, remote: bool) -> bool {
        let mut request = Request::builder().uri(from.target);
        for (name, value) in from.headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(()).unwrap();
        request.extensions_mut().insert(ConnectInfo(SocketAddr::new(from.peer.parse().unwrap(), 1234)));
        let (url, proxies) = (Url::parse("https://dev.example.com/api").unwrap(), ["10.0.0.0/8".parse().unwrap()]);
        let developers = Developers { remote, public_base_url: Some(&url), trusted_proxies: &proxies };
        developers.check(&request, from.client.parse().unwrap()).is_ok()
    }

    #[test]
    fn developer_page_answers_only_loopback_clients() {
        let let_in = |peer, client, remote| is_let_in(&From { peer, client, ..HERE }, remote);
        assert!(let_in("127.0.0.1", "127.0.0.1", false) && let_in("127.0.0.9", "127.0.0.9", false) && let_in("::1", "::1", false));
        for (peer, client) in [("192.168.0.7", "192.168.0.7"), ("127.0.0.1", "203.0.113.5"), ("2001:db8::1", "2001:db8::1")] {
            assert!(!let_in(peer, client, false) && let_in(peer, client, true), "{client}");
        }
    }

    #[test]
    fn developer_page_behind_unknown_proxy_is_refused() {
        for name in ["forwarded", "x-forwarded-for", "x-real-ip"] {
            let headers = [("host", "localhost"), (name, "127.0.0.1")];
            assert!(!is_let_in(&From { headers: &headers, ..HERE }, false), "{name}");
            assert!(is_let_in(&From { headers: &headers, peer: "10.0.0.1", ..HERE }, false), "{name}: a trusted proxy on its machine");
        }
    }

    #[test]
    fn developer_page_needs_host_of_this_machine() {
        let let_in = |hosts: &[&str], target| {
            let headers: Vec<_> = hosts.iter().map(|host| ("host", *host)).collect();
            let from = From { headers: &headers, target, ..HERE };
            assert_eq!(is_let_in(&from, false), is_let_in(&from, true), "MAILBOX_REMOTE does not matter here");
            is_let_in(&from, false)
        };
        for host in
            ["localhost", "LOCALHOST:8000", "127.0.0.1", "127.9.9.9:1", "[::1]:8000", "[::1]", "Dev.Example.com", "dev.example.com:81"]
        {
            assert!(let_in(&[host], "/dev"), "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "evil.example:8000",
            "localhost@evil.example",
            "evil.example@localhost",
            "0.0.0.0:8000",
            "192.168.0.7",
            "[::2]",
            "api.dev.example.com",
            "",
            "a b",
        ] {
            assert!(!let_in(&[host], "/dev"), "{host}");
        }
        assert!(!let_in(&[], "/dev"), "no host at all");
        assert!(!let_in(&["localhost", "evil.example"], "/dev") && !let_in(&["evil.example", "localhost"], "/dev"));
        // HTTP/2 has the host in the target, and absolute targets of HTTP/1 have one beside the header.
        assert!(let_in(&[], "http://localhost:8000/dev") && let_in(&["localhost"], "http://127.0.0.1/dev"));
        assert!(!let_in(&[], "http://evil.example/dev") && !let_in(&["localhost"], "http://evil.example/dev"));
        assert!(!let_in(&["evil.example"], "http://localhost/dev"));
    }
}
