//! What a test can have besides SQLite: a Postgres and a Redis, named by `TEST_DATABASE_URL` and
//! `TEST_REDIS_URL`, else whatever answers on loopback at the usual ports. With `REQUIRE_SERVICES=1` their
//! absence fails the tests; otherwise their half is skipped.

use std::net::TcpStream;
use std::sync::LazyLock;
use std::time::Duration;

static POSTGRES: LazyLock<Option<String>> =
    LazyLock::new(|| find("Postgres", "TEST_DATABASE_URL", "127.0.0.1:5432", &format!("postgres://{}@127.0.0.1:5432/postgres", user())));
static REDIS: LazyLock<Option<String>> = LazyLock::new(|| find("Redis", "TEST_REDIS_URL", "127.0.0.1:6379", "redis://127.0.0.1:6379/0"));

/// A URL under which databases can be made.
pub fn postgres() -> Option<&'static str> {
    POSTGRES.as_deref()
}

/// A URL of a Redis; tests use it under prefixes of their own.
pub fn redis() -> Option<&'static str> {
    REDIS.as_deref()
}

fn user() -> String {
    std::env::var("PGUSER").or_else(|_| std::env::var("USER")).unwrap_or_else(|_| "root".to_owned())
}

fn find(name: &str, variable: &str, address: &str, url: &str) -> Option<String> {
    if let Ok(url) = std::env::var(variable) {
        return Some(url);
    }
    let reachable = address.parse().is_ok_and(|address| TcpStream::connect_timeout(&address, Duration::from_millis(500)).is_ok());
    if reachable {
        return Some(url.to_owned());
    }
    assert!(std::env::var("REQUIRE_SERVICES").is_err(), "{name} is required, but neither {variable} nor {address} gives one");
    eprintln!("skipped: no {name} ({variable} is unset and {address} does not answer)");
    None
}
