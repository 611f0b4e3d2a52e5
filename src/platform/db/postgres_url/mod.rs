//! Postgres URLs as clouds and other drivers write them, turned into the one form that sqlx reads.
//!
//! Read by libpq's rules where they are clear (<https://www.postgresql.org/docs/current/libpq-connect.html>), and leniently
//! where a password holds characters that should be percent-encoded. sqlx itself reads no IPv6 literal, no empty host beside
//! a user and no list of hosts, and logs the values of parameters that it does not know.

use std::fmt;
use std::ops::Deref;

use percent_encoding::percent_decode_str;
use url::form_urlencoded;

use crate::platform::config::is_loopback;

const PORT: &str = "a Postgres URL with a port from 1 to 65535 after the host";
const HOST: &str = "a Postgres URL with a host, as in postgres://user:password@host:5432/name";
const IPV6: &str = "a Postgres URL with its IPv6 address in brackets, as in postgres://user@[::1]:5432/name";
const ENCODING: &str = "a Postgres URL whose percent-encoded characters are UTF-8 (a `%` itself is %25)";
const AMBIGUOUS: &str = "a Postgres URL that can be read in one way: in user and password, write `/` as %2F, `?` as %3F and `@` as %40";
const DATABASE: &str = "a Postgres URL with `@` as %40 after the host";
const PARAMETER: &str = "a Postgres URL with parameters as in ?sslmode=require&application_name=api";
const SSLMODE: &str = "a Postgres URL with an sslmode of disable, allow, prefer, require, verify-ca or verify-full";

/// Parameters of other drivers that may be named in a warning. The name of another one could be part of a password.
const NAMEABLE: &[&str] = &[
    "channel_binding",
    "command_timeout",
    "connect_timeout",
    "connection_limit",
    "fallback_application_name",
    "gssencmode",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "load_balance_hosts",
    "max_conns",
    "passfile",
    "pgbouncer",
    "pool_timeout",
    "pool_max_conns",
    "prepared_statements",
    "schema",
    "service",
    "socket_timeout",
    "sslaccept",
    "sslcompression",
    "sslnegotiation",
    "statement_cache_size",
    "supa",
    "target_session_attrs",
    "tcp_user_timeout",
];

/// A parsed Postgres URL. Dereferences to the URL for sqlx, which holds the password; it is shown without.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct PostgresUrl {
    user: Option<String>,
    password: Option<String>,
    /// Name, address without brackets, or the folder of a Unix socket. `None`: libpq's default.
    host: Option<String>,
    port: Option<u16>,
    database: Option<String>,
    /// Lower case; `None`: TLS if the server supports it.
    sslmode: Option<String>,
    /// Further parameters that sqlx reads.
    parameters: Vec<(String, String)>,
    /// Names of parameters that sqlx does not read.
    dropped: Vec<String>,
    /// The URL named several hosts; the first is used.
    many_hosts: bool,
    for_sqlx: String,
}

type Parsed<T> = Result<T, &'static str>;

impl PostgresUrl {
    /// Reads what follows `postgres:`.
    pub(super) fn parse(text: &str) -> Parsed<Self> {
        let body = text.strip_prefix("//").ok_or(HOST)?;
        let authority = &body[..body.find(['/', '?']).unwrap_or(body.len())];
        let strict = Self::split_at(body, authority.rfind('@'));
        let mut url = match strict {
            Ok(url) => url,
            Err(reason) => {
                // A `/` or `?` in the password looks like the end of the host. Another `@` may be the one before the host.
                let mut others = body.match_indices('@').filter_map(|(at, _)| Self::split_at(body, Some(at)).ok());
                match (others.next(), others.next()) {
                    (Some(url), None) => url,
                    (Some(_), Some(_)) => return Err(AMBIGUOUS),
                    (None, _) => return Err(reason),
                }
            }
        };
        // TLS to the same host costs about 90 ms per start and protects nothing. Over a socket libpq never uses it, and sqlx
        // finds no name to check.
        let is_socket = url.host.as_deref().is_some_and(|host| host.starts_with('/'));
        if is_socket || (url.sslmode.is_none() && url.host.as_deref().is_some_and(is_loopback)) {
            url.sslmode = Some("disable".to_owned());
        }
        url.for_sqlx = format!("postgres:///?{}", url.query());
        Ok(url)
    }

    /// Reads the URL with the host after this `@`, or without a user.
    fn split_at(body: &str, at: Option<usize>) -> Parsed<Self> {
        let mut url = Self::default();
        if let Some(at) = at {
            let (user, password) = body[..at].split_once(':').unwrap_or((&body[..at], ""));
            (url.user, url.password) = (decoded(user)?, decoded(password)?);
        }
        let rest = &body[at.map_or(0, |at| at + 1)..];
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (hosts, database) = rest.split_once('/').unwrap_or((rest, ""));
        if database.contains('@') {
            return Err(DATABASE);
        }
        url.database = decoded(database)?;
        url.read_hosts(hosts)?;
        url.read_query(query)?;
        Ok(url)
    }

    fn read_hosts(&mut self, text: &str) -> Parsed<()> {
        // A percent-encoded path is the folder of a socket.
        if text.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("%2F")) {
            let port = text.rsplit_once(':').filter(|(_, port)| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()));
            self.port = port.map(|(_, port)| read_port(port)).transpose()?;
            self.host = decoded(port.map_or(text, |(folder, _)| folder))?;
            return Ok(());
        }
        self.many_hosts = text.contains(',');
        for (n, part) in text.split(',').enumerate() {
            let (host, port) = host_and_port(part)?;
            if n == 0 {
                (self.host, self.port) = (decoded(host)?, port);
            }
        }
        Ok(())
    }

    fn read_query(&mut self, query: &str) -> Parsed<()> {
        if query.split('&').any(|pair| !pair.is_empty() && !pair.contains('=')) {
            return Err(PARAMETER);
        }
        let (mut address, mut system_roots) = (None, false);
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let value = value.into_owned();
            let first = || value.split(',').next().unwrap_or_default().to_owned();
            match &*name {
                "host" => {
                    self.many_hosts |= value.contains(',');
                    self.host = Some(first().trim_matches(['[', ']']).to_owned()).filter(|host| !host.is_empty());
                }
                "hostaddr" => address = Some(first()),
                // The socket itself, as pg8000 names it.
                "unix_sock" => self.host = value.rsplit_once("/.s.PGSQL.").map(|(folder, _)| folder.to_owned()).or(Some(value)),
                "port" => self.port = Some(read_port(&first())?),
                "user" => self.user = Some(value),
                "password" => self.password = Some(value),
                "dbname" | "database" => self.database = Some(value),
                // Other drivers spell it `ssl`.
                "sslmode" | "ssl-mode" | "ssl" => self.sslmode = Some(sslmode(&value)?.to_owned()),
                // libpq's word for the public authorities, which sqlx trusts if no file is named.
                "sslrootcert" if value == "system" => system_roots = true,
                "statement-cache-capacity" if value.parse::<usize>().is_err() => self.dropped.push(name.into_owned()),
                "sslrootcert"
                | "ssl-root-cert"
                | "ssl-ca"
                | "sslcert"
                | "ssl-cert"
                | "sslkey"
                | "ssl-key"
                | "statement-cache-capacity"
                | "application_name"
                | "options" => self.parameters.push((name.into_owned(), value)),
                option if option.starts_with("options[") => self.parameters.push((name.into_owned(), value)),
                _ => self.dropped.push(name.into_owned()),
            }
        }
        self.host = self.host.take().or(address);
        if system_roots {
            self.sslmode = Some("verify-full".to_owned());
        }
        Ok(())
    }

    /// Everything as parameters, which is the one form in which sqlx reads every host.
    fn query(&self) -> String {
        let port = self.port.map(|port| port.to_string());
        let fixed = [
            ("host", self.host.as_deref()),
            ("port", port.as_deref()),
            ("user", self.user.as_deref()),
            ("password", self.password.as_deref()),
            ("dbname", self.database.as_deref()),
            ("sslmode", self.sslmode.as_deref()),
        ];
        let fixed = fixed.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let further = self.parameters.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        form_urlencoded::Serializer::new(String::new()).extend_pairs(fixed.chain(further)).finish()
    }

    /// Returns whether the connection leaves this machine without a demand for TLS. A missing host counts as this machine.
    pub fn is_unprotected(&self) -> bool {
        let remote = self.host.as_deref().is_some_and(|host| !host.starts_with('/') && !is_loopback(host));
        remote && !matches!(self.sslmode.as_deref(), Some("require" | "verify-ca" | "verify-full"))
    }

    /// What the URL asks for and does not get: the reason, and the remedy.
    pub fn warnings(&self) -> Vec<(String, &'static str)> {
        let mut warnings = Vec::new();
        if self.many_hosts {
            let remedy = "Name the primary, or an address that follows it";
            warnings.push(("names several hosts: only the first is used".to_owned(), remedy));
        }
        if self.dropped.iter().any(|name| name == "pgbouncer") {
            let remedy = "Set DB_PGBOUNCER=true if the address is that of a transaction pooler";
            warnings.push(("has the parameter pgbouncer, which is not read here".to_owned(), remedy));
        }
        let dropped = self.dropped.iter().filter(|name| *name != "pgbouncer");
        let (mut names, others): (Vec<&str>, Vec<&str>) = dropped.map(String::as_str).partition(|name| NAMEABLE.contains(name));
        if !others.is_empty() {
            names.push("others");
        }
        if !names.is_empty() {
            warnings
                .push((format!("has parameters that are not read here: {}", names.join(", ")), "Remove them if nothing else needs them"));
        }
        warnings
    }

    /// `Postgres at host/name`, without user and password.
    pub fn describe(&self) -> String {
        let database = self.database.as_deref().unwrap_or_default();
        match self.host.as_deref() {
            None => format!("Postgres at the default address/{database}"),
            Some(host) if host.contains(':') && !host.starts_with('/') => format!("Postgres at [{host}]/{database}"),
            Some(host) => format!("Postgres at {host}/{database}"),
        }
    }

    /// The URL as it is used, with the password masked.
    pub fn show(&self) -> String {
        let mut shown = "postgres://".to_owned();
        if let Some(user) = &self.user {
            let masked = if self.password.is_some() { ":***" } else { "" };
            shown.extend([user.as_str(), masked, "@"]);
        }
        let mut parameters = form_urlencoded::Serializer::new(String::new());
        match self.host.as_deref() {
            Some(socket) if socket.starts_with('/') => drop(parameters.append_pair("host", socket)),
            Some(address) if address.contains(':') => shown.extend(["[", address, "]"]),
            host => shown.push_str(host.unwrap_or_default()),
        }
        shown.extend(self.port.map(|port| format!(":{port}")));
        shown.extend(["/", self.database.as_deref().unwrap_or_default()]);
        let mode = self.sslmode.as_deref().map(|mode| ("sslmode", mode));
        parameters.extend_pairs(mode.into_iter().chain(self.parameters.iter().map(|(name, value)| (name.as_str(), value.as_str()))));
        match parameters.finish() {
            parameters if parameters.is_empty() => shown,
            parameters => format!("{shown}?{parameters}"),
        }
    }
}

impl Deref for PostgresUrl {
    type Target = str;

    fn deref(&self) -> &str {
        &self.for_sqlx
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.show())
    }
}

/// Decodes percent-encoding; a `%` before anything else stands for itself. `None` for an empty text.
fn decoded(text: &str) -> Parsed<Option<String>> {
    let text = percent_decode_str(text).decode_utf8().map_err(|_| ENCODING)?;
    Ok(Some(text.into_owned()).filter(|text| !text.is_empty()))
}

fn host_and_port(text: &str) -> Parsed<(&str, Option<u16>)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or(IPV6)?;
            let address = host.split('%').next().unwrap_or_default();
            address.parse::<std::net::Ipv6Addr>().map_err(|_| IPV6)?;
            (host, if port.is_empty() { "" } else { port.strip_prefix(':').ok_or(PORT)? })
        }
        None if text.matches(':').count() > 1 => return Err(IPV6),
        None => {
            let (host, port) = text.split_once(':').unwrap_or((text, ""));
            if !host.chars().all(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | '_')) {
                return Err(HOST);
            }
            (host, port)
        }
    };
    Ok((host, if port.is_empty() { None } else { Some(read_port(port)?) }))
}

fn read_port(text: &str) -> Parsed<u16> {
    text.parse().ok().filter(|port| *port > 0).ok_or(PORT)
}

fn sslmode(value: &str) -> Parsed<&'static str> {
    Ok(match value.to_ascii_lowercase().as_str() {
        "disable" | "false" | "0" | "off" | "no" => "disable",
        "allow" => "allow",
        "prefer" => "prefer",
        "require" | "true" | "1" | "on" | "yes" | "no-verify" => "require",
        "verify-ca" => "verify-ca",
        "verify-full" => "verify-full",
        _ => return Err(SSLMODE),
    })
}

#[cfg(test)]
#[cfg(feature = "postgres")]
mod tests;
