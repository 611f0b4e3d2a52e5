//! URLs that the payment pages lead back to. Only known hosts: otherwise a link to our checkout could end at a page that looks
//! like ours.

use url::Url;

use super::config::Host;
use crate::platform::error::{Error, FieldError, Result};

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
    let authority = text.split("://").nth(1).and_then(|rest| rest.split(['/', '?', '#']).next()).unwrap_or_default();
    if authority.contains('@') {
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
    use crate::platform::config::Value;

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
}
