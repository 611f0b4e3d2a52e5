//! Settings of billing. Those of Stripe itself are read by `providers::payments::stripe`.

use url::Url;

use crate::platform::config::{Env, List, Origin, Section, Value};

#[derive(Debug, Clone)]
pub struct Settings {
    /// `None`: the hosts of `BACKEND_CORS_ORIGINS`.
    pub redirect_hosts: Option<Vec<Host>>,
}

impl Section for Settings {
    fn read(env: &mut Env) -> Self {
        env.section("Payments");
        let help = "Hosts that checkout and portal may lead back to: `host` (any port) or `host:port`, separated by commas";
        let shown = "`the hosts of BACKEND_CORS_ORIGINS`";
        let redirect_hosts = env.var("BILLING_ALLOWED_REDIRECT_HOSTS", help).shown_default(shown).optional::<List<Host>>();
        Self { redirect_hosts: redirect_hosts.map(|list| list.0) }
    }
}

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

    /// Whether the URL leads to this host.
    pub fn fits(&self, url: &Url) -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_origins_take_any_port() {
        let origins = ["http://localhost:3000", "https://app.example.com", "capacitor://localhost.app", "*"];
        let allowed = Host::of_origins(&origins.map(|origin| Origin(origin.to_owned())));
        assert_eq!(allowed.iter().map(Value::show).collect::<Vec<_>>(), ["localhost", "app.example.com"]);
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
