//! Parsing of variables, and display of their values.

use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use url::Url;

/// A type that a variable can have.
pub trait Value: Sized {
    /// Reads the trimmed text; the error completes "must be …" and never repeats the text.
    fn parse(text: &str) -> Result<Self, String>;

    /// Returns the value for display, without secrets.
    fn show(&self) -> String;
}

/// A value that goes by one of a few names.
pub trait Choice: Copy + PartialEq + 'static {
    /// Every value once.
    const NAMES: &'static [(&'static str, Self)];

    fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, value)| *value == self).map_or("", |(name, _)| *name)
    }
}

impl<T: Choice> Value for T {
    fn parse(text: &str) -> Result<Self, String> {
        let found = Self::NAMES.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
        found.ok_or_else(|| format!("one of {}", Self::NAMES.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")))
    }

    fn show(&self) -> String {
        self.name().to_owned()
    }
}

macro_rules! numbers {
    ($($number:ty),*) => {$(
        impl Value for $number {
            fn parse(text: &str) -> Result<Self, String> {
                text.parse().map_err(|_| format!("a whole number from {} to {}", Self::MIN, Self::MAX))
            }

            fn show(&self) -> String {
                self.to_string()
            }
        }
    )*};
}

numbers!(u16, u32, u64, usize);

impl Value for bool {
    fn parse(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Ok(true),
            "false" | "0" | "no" | "off" => Ok(false),
            _ => Err("one of true, false, 1, 0, yes, no, on, off".to_owned()),
        }
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Value for String {
    fn parse(text: &str) -> Result<Self, String> {
        Ok(text.to_owned())
    }

    fn show(&self) -> String {
        self.clone()
    }
}

impl Value for PathBuf {
    fn parse(text: &str) -> Result<Self, String> {
        Ok(text.into())
    }

    fn show(&self) -> String {
        self.display().to_string()
    }
}

/// Whole seconds.
impl Value for Duration {
    fn parse(text: &str) -> Result<Self, String> {
        text.parse()
            .ok()
            .filter(|seconds| *seconds <= 100 * 365 * 86_400)
            .map(Self::from_secs)
            .ok_or_else(|| "a whole number of seconds".to_owned())
    }

    fn show(&self) -> String {
        self.as_secs().to_string()
    }
}

impl Value for Url {
    fn parse(text: &str) -> Result<Self, String> {
        Url::parse(text)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
            .ok_or_else(|| "an http or https URL".to_owned())
    }

    fn show(&self) -> String {
        let mut shown = self.clone();
        if shown.password().is_some() {
            // Fails only for URLs that cannot have a password.
            let _ = shown.set_password(Some("***"));
        }
        shown.to_string()
    }
}

impl Value for IpNet {
    fn parse(text: &str) -> Result<Self, String> {
        text.parse::<Self>()
            .or_else(|_| text.parse::<std::net::IpAddr>().map(Self::from))
            .map_err(|_| "a list of networks such as 10.0.0.0/8".to_owned())
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

/// Several values: a JSON list of strings, or separated by commas.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct List<T>(pub Vec<T>);

impl<T: Value> Value for List<T> {
    fn parse(text: &str) -> Result<Self, String> {
        let parts: Vec<String> = if text.starts_with('[') {
            serde_json::from_str(text).map_err(|_| "a JSON list of strings, or a comma-separated list".to_owned())?
        } else {
            text.split(',').map(str::to_owned).collect()
        };
        parts.iter().map(|part| part.trim()).filter(|part| !part.is_empty()).map(T::parse).collect::<Result<_, _>>().map(Self)
    }

    fn show(&self) -> String {
        self.0.iter().map(Value::show).collect::<Vec<_>>().join(",")
    }
}

/// An origin as a browser or web view sends it: scheme, host and port, without a path; `*` stands for any. Custom schemes are
/// those of app shells, such as `capacitor://localhost`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin(pub String);

impl Origin {
    /// Returns whether its pages are loaded over plain HTTP, where anybody on the way can change them.
    pub fn is_plain_http(&self) -> bool {
        self.0.starts_with("http://")
    }
}

impl Value for Origin {
    fn parse(text: &str) -> Result<Self, String> {
        if text == "*" {
            return Ok(Self(text.to_owned()));
        }
        if text.contains('*') {
            return Err("a list of whole origins: no part of one can be `*`; name each, such as https://app.example.com".to_owned());
        }
        if text.eq_ignore_ascii_case("null") {
            return Err("a list of origins: `null` is sent by any sandboxed page and local file, so it cannot be allowed".to_owned());
        }
        let wants = || "a list of origins such as https://app.example.com or capacitor://localhost".to_owned();
        let (scheme, rest) = text.split_once("://").ok_or_else(wants)?;
        match scheme.to_ascii_lowercase().as_str() {
            "http" | "https" => {}
            "ws" | "wss" => return Err("a list of origins: the origin of a WebSocket starts with http:// or https://".to_owned()),
            "file" => return Err("a list of origins: pages from files send `null`, which cannot be allowed".to_owned()),
            scheme => return custom_origin(scheme, rest).map(Self).ok_or_else(wants),
        }
        let url = <Url as Value>::parse(text).map_err(|_| wants())?;
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() || url.password().is_some()
        {
            return Err("a list of origins without a path".to_owned());
        }
        Ok(Self(url.origin().ascii_serialization()))
    }

    fn show(&self) -> String {
        self.0.clone()
    }
}

/// Scheme and host of an origin outside of the web, in lower case. Standards give it no form, so it is compared as it is sent.
fn custom_origin(scheme: &str, rest: &str) -> Option<String> {
    let host = rest.strip_suffix('/').unwrap_or(rest).to_ascii_lowercase();
    let known = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':');
    (known && !host.is_empty() && host.bytes().all(plain)).then(|| format!("{scheme}://{host}"))
}

/// Returns whether the host of a URL is this machine's loopback interface.
pub fn is_loopback(host: &str) -> bool {
    let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.to_canonical().is_loopback())
}

/// The environment that the process runs in; production has stricter requirements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Environment {
    Local,
    Staging,
    Production,
}

impl Environment {
    pub fn is_production(self) -> bool {
        self == Self::Production
    }
}

impl Choice for Environment {
    const NAMES: &'static [(&'static str, Self)] = &[("local", Self::Local), ("staging", Self::Staging), ("production", Self::Production)];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_parse_as_json_or_comma_separated() {
        let json = List::<Origin>::parse(r#"["http://localhost:3000", "https://a.example"]"#).unwrap();
        let commas = List::<Origin>::parse("http://localhost:3000,https://a.example/").unwrap();
        assert_eq!(json, commas);
        assert!(List::<Origin>::parse("https://a.example/path").is_err());
        assert!(List::<Origin>::parse("a.example").is_err());
        assert!(List::<Origin>::parse("[1]").is_err());
    }

    #[test]
    fn origins_are_normalised_as_clients_send_them() {
        for (text, sent) in [
            ("HTTPS://Example.com:443", "https://example.com"),
            ("http://localhost:80/", "http://localhost"),
            ("https://a.example:8443", "https://a.example:8443"),
            ("https://müller.example", "https://xn--mller-kva.example"),
            ("http://[::1]:3000", "http://[::1]:3000"),
            ("capacitor://localhost", "capacitor://localhost"),
            ("Tauri://localhost/", "tauri://localhost"),
            ("ionic://localhost", "ionic://localhost"),
            ("app://x", "app://x"),
            ("chrome-extension://abcdefghijklmnop", "chrome-extension://abcdefghijklmnop"),
            ("*", "*"),
        ] {
            assert_eq!(Origin::parse(text), Ok(Origin(sent.to_owned())), "{text}");
        }
    }

    #[test]
    fn origins_that_can_never_match_are_refused() {
        for (text, reason) in [
            ("https://*.example.com", "`*`"),
            ("*.example.com", "`*`"),
            ("http://localhost:*", "`*`"),
            ("capacitor://*", "`*`"),
            ("null", "`null`"),
            ("file://", "from files"),
            ("file:///app/index.html", "from files"),
            ("wss://a.example", "WebSocket"),
            ("https://a.example/path", "without a path"),
            ("https://u:p@a.example", "without a path"),
            ("https://:p@a.example", "without a path"),
            ("capacitor://", "such as"),
            ("capacitor://localhost/path", "such as"),
            ("capacitor:localhost", "such as"),
            ("app://u@x", "such as"),
            ("1app://x", "such as"),
            ("https://", "such as"),
        ] {
            let refused = Origin::parse(text).unwrap_err();
            assert!(refused.contains(reason), "{text}: {refused}");
        }
    }

    #[test]
    fn bool_parse_accepts_common_spellings() {
        assert!(["true", "1", "yes", "ON"].iter().all(|t| bool::parse(t) == Ok(true)));
        assert!(["false", "0", "No", "off"].iter().all(|t| bool::parse(t) == Ok(false)));
        assert!(bool::parse("maybe").is_err());
    }

    #[test]
    fn url_show_masks_password() {
        assert_eq!(<Url as Value>::parse("https://u:secret@h/").unwrap().show(), "https://u:***@h/");
    }

    #[test]
    fn ip_networks_parse_single_addresses() {
        assert_eq!(List::<IpNet>::parse("10.0.0.0/8, ::1").unwrap().show(), "10.0.0.0/8,::1/128");
        assert!(List::<IpNet>::parse("ten").is_err());
    }
}
