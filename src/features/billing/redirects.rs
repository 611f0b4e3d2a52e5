//! URLs that the payment pages lead back to. Only known hosts: otherwise a link to our checkout could end at a page that looks
//! like ours.

use url::{Position, Url};

use crate::platform::config::{Origin, Value};
use crate::platform::error::{Error, FieldError, Result};

/// A host that is allowed, with any port or with one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    name: String,
    port: Option<u16>,
}

impl Host {
    /// The hosts of web origins, with any port.
    pub fn of_origins(origins: &[Origin]) -> Vec<Self> {
        let host = |origin: &Origin| {
            let url = Url::parse(&origin.0).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
            Some(Self { name: url.host_str()?.to_owned(), port: None })
        };
        origins.iter().filter_map(host).collect()
    }

    fn fits(&self, url: &Url) -> bool {
        url.host_str() == Some(self.name.as_str()) && self.port.is_none_or(|port| url.port_or_known_default() == Some(port))
    }
}

impl Value for Host {
    fn parse(text: &str) -> Result<Self, String> {
        let wants = || "a list of hosts such as app.example.com or localhost:3000, without scheme, path and wildcards".to_owned();
        if text.contains(['*', '/', '\\', '@', '?', '#']) {
            return Err(wants());
        }
        // Each scheme leaves out its own port.
        let parse = |scheme: &str| Url::parse(&format!("{scheme}://{text}"));
        let (http, https) = (parse("http").map_err(|_| wants())?, parse("https").map_err(|_| wants())?);
        let name = http.host_str().filter(|name| !name.is_empty()).ok_or_else(wants)?;
        Ok(Self { name: name.to_owned(), port: http.port().or(https.port()) })
    }

    fn show(&self) -> String {
        self.port.map_or_else(|| self.name.clone(), |port| format!("{}:{port}", self.name))
    }
}

/// Checks URLs that are http or https already, each with the name of its field.
pub fn check<const N: usize>(allowed: &[Host], urls: [(&str, &str); N]) -> Result<()> {
    let problems: Vec<FieldError> = urls.into_iter().filter_map(|(field, text)| problem(allowed, field, text)).collect();
    if problems.is_empty() { Ok(()) } else { Err(Error::Invalid(problems)) }
}

fn problem(allowed: &[Host], field: &str, text: &str) -> Option<FieldError> {
    // Parsers differ on backslashes and white space, and the browser's is not ours.
    let plain = !text.contains(|c: char| c == '\\' || c.is_whitespace());
    let Some(url) = Url::parse(text).ok().filter(|url| plain && matches!(url.scheme(), "http" | "https")) else {
        return Some(FieldError::new(field, "format", "Must be an absolute http or https URL"));
    };
    if !url[Position::BeforeUsername..Position::BeforeHost].is_empty() {
        return Some(FieldError::new(field, "format", "Must not hold a user name or password"));
    }
    if !allowed.iter().any(|host| host.fits(&url)) {
        return Some(FieldError::new(field, "not_allowed", "Must lead to an allowed host"));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(text: &str) -> Vec<Host> {
        text.split(',').map(|host| Host::parse(host).unwrap()).collect()
    }

    fn is_allowed(allowed: &[Host], url: &str) -> bool {
        check(allowed, [("url", url)]).is_ok()
    }

    #[test]
    fn redirects_follow_host_and_port() {
        let allowed = hosts("app.example.com,localhost:3000,secure.example:443,plain.example:80,[::1]:8080,MÜLLER.example");
        for url in [
            "https://app.example.com/ok?session_id={CHECKOUT_SESSION_ID}",
            "http://app.example.com:8443",
            "https://APP.example.com/",
            "http://localhost:3000/x",
            "https://secure.example/",
            "http://plain.example/",
            "http://[::1]:8080/",
            "https://müller.example/",
        ] {
            assert!(is_allowed(&allowed, url), "{url}");
        }
        for url in [
            "http://localhost:3001/",
            "http://localhost/",
            "http://secure.example/",
            "https://plain.example/",
            "https://evil.example/x",
            "https://app.example.com.evil.example/",
            "https://evil.example/app.example.com",
            "https://app.example.com./",
        ] {
            assert!(!is_allowed(&allowed, url), "{url}");
        }
    }

    #[test]
    fn tricks_are_refused() {
        let allowed = hosts("localhost");
        for url in [
            "javascript:alert(1)",
            "javascript://localhost/%0aalert(1)",
            "not a url",
            "/relative",
            "//localhost/x",
            "",
            "http://localhost:3000@evil.example/",
            "http://evil.example@localhost/",
            "http://:x@localhost/",
            "http://@localhost/",
            "http://evil.example\\@localhost/",
            "http://localhost\\@evil.example/",
            "http://evil.example#@localhost/",
            "http://evil.example?@localhost/",
            " http://localhost/",
            "http://localhost/a b",
            "ftp://localhost/",
            "data:text/html,localhost",
        ] {
            assert!(!is_allowed(&allowed, url), "{url}");
        }
    }

    #[test]
    fn hosts_of_origins_take_any_port() {
        let origins = ["http://localhost:3000", "https://app.example.com", "capacitor://localhost.app", "*"];
        let allowed = Host::of_origins(&origins.map(|origin| Origin(origin.to_owned())));
        assert_eq!(allowed.iter().map(Value::show).collect::<Vec<_>>(), ["localhost", "app.example.com"]);
        assert!(is_allowed(&allowed, "http://localhost:5173/"));
    }

    #[test]
    fn host_settings_are_hosts_only() {
        for wrong in
            ["*.example.com", "https://app.example.com", "app.example.com/x", "u@app.example.com", "", ":80", "a b", "app:port", "app?x"]
        {
            assert!(Host::parse(wrong).is_err(), "{wrong}");
        }
    }
}
