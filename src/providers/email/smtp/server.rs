//! The mail server that `SMTP_URL` names.

use url::{Host, Url};

use crate::platform::config::is_loopback;

pub(super) const NAME: &str = "smtp";

/// Server settings parsed from the URL.
#[cfg_attr(not(any(feature = "smtp", test)), expect(dead_code, reason = "only the transport and tests use it"))]
pub(super) struct Server {
    pub host: String,
    pub port: u16,
    /// TLS from the first byte; otherwise STARTTLS is demanded unless the host is loopback.
    pub implicit_tls: bool,
    pub loopback: bool,
    pub user: Option<(String, String)>,
}

impl Server {
    pub fn parse(text: &str) -> Option<Self> {
        let url = Url::parse(text.trim()).ok()?;
        let (implicit_tls, port) = match url.scheme() {
            "smtp" => (false, 587),
            "smtps" => (true, 465),
            _ => return None,
        };
        let host = match url.host()? {
            Host::Domain(name) => name.to_ascii_lowercase(),
            Host::Ipv4(address) => address.to_string(),
            Host::Ipv6(address) => address.to_string(),
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
        if host.is_empty() || !host.chars().all(plain) {
            return None;
        }
        let decoded = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8().ok().map(std::borrow::Cow::into_owned);
        let user = match url.username() {
            "" => None,
            name => Some((decoded(name)?, decoded(url.password().unwrap_or_default())?)),
        };
        Some(Self { port: url.port().unwrap_or(port), loopback: is_loopback(&host), host, implicit_tls, user })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_parse_reads_host_port_tls_and_user() {
        let of = |url: &str| Server::parse(url).map(|s| (s.host, s.port, s.implicit_tls, s.loopback, s.user));
        let user = Some(("ada@example.com".to_owned(), "p:/ä".to_owned()));
        assert_eq!(
            of("smtps://ada%40example.com:p%3A%2F%C3%A4@Mail.example.com"),
            Some(("mail.example.com".to_owned(), 465, true, false, user))
        );
        assert_eq!(of("smtp://127.0.0.1:1025"), Some(("127.0.0.1".to_owned(), 1025, false, true, None)));
        assert_eq!(of("smtp://[::1]"), Some(("::1".to_owned(), 587, false, true, None)));
        assert_eq!(of("smtp://LOCALHOST").map(|s| s.3), Some(true));
        // Names that only begin like loopback are not.
        assert_eq!(of("smtp://127.0.0.1.example.com").map(|s| s.3), Some(false));
        assert_eq!(of("smtp://localhost.example.com").map(|s| s.3), Some(false));
        for bad in ["", "mail.example.com", "http://mail.example.com", "smtp:mail", "smtp://", "smtp://a%0d%0ab", "smtp://x:99999"] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }
}
