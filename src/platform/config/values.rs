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

/// A web origin as a browser sends it: scheme, host and port, without a path; `*` stands for any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin(pub String);

impl Value for Origin {
    fn parse(text: &str) -> Result<Self, String> {
        if text == "*" {
            return Ok(Self(text.to_owned()));
        }
        let url = <Url as Value>::parse(text).map_err(|_| "a list of origins such as https://app.example.com".to_owned())?;
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() {
            return Err("a list of origins without a path".to_owned());
        }
        Ok(Self(url.origin().ascii_serialization()))
    }

    fn show(&self) -> String {
        self.0.clone()
    }
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
