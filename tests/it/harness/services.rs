//! Optional services for tests: Postgres and Redis, from `TEST_DATABASE_URL` and `TEST_REDIS_URL`, otherwise from the
//! default ports on loopback if they accept a connection without a password. Tests of a missing service are skipped;
//! with `REQUIRE_SERVICES=1` they fail.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::str::FromStr;
use std::sync::LazyLock;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{Connection, Row};

const WAIT: Duration = Duration::from_secs(2);

static POSTGRES: LazyLock<Option<String>> = LazyLock::new(|| {
    let url = "postgres://127.0.0.1:5432/postgres?sslmode=disable";
    find("Postgres", "TEST_DATABASE_URL", url, || makes_databases(url))
});
static REDIS: LazyLock<Option<String>> =
    LazyLock::new(|| find("Redis", "TEST_REDIS_URL", "redis://127.0.0.1:6379/0", || says_pong("127.0.0.1:6379")));

/// URL of a Postgres server whose user may create databases.
pub fn postgres() -> Option<&'static str> {
    POSTGRES.as_deref()
}

/// URL of a Redis server; each test uses its own key prefix.
pub fn redis() -> Option<&'static str> {
    REDIS.as_deref()
}

fn find(name: &str, variable: &str, usual: &str, answers: impl FnOnce() -> bool) -> Option<String> {
    if let Ok(url) = std::env::var(variable) {
        return Some(url);
    }
    if answers() {
        return Some(usual.to_owned());
    }
    assert!(std::env::var("REQUIRE_SERVICES").is_err(), "{name} is required, but {variable} is unset and {usual} cannot be used");
    // Written to stderr directly: the test runner would capture `eprintln!`, and skipped tests must be visible.
    let _ = writeln!(std::io::stderr(), "SKIPPED: the tests on {name} ({variable} is unset and {usual} cannot be used)");
    None
}

/// Whether a login succeeds and the user may create databases.
fn makes_databases(url: &str) -> bool {
    let options = PgConnectOptions::from_str(url).unwrap();
    let asked = async move {
        let mut connection = PgConnection::connect_with(&options).await?;
        let row =
            sqlx::query("SELECT rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user").fetch_one(&mut connection).await?;
        Ok::<bool, sqlx::Error>(row.get(0))
    };
    // A separate thread, because the caller is inside a runtime.
    let answer = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { tokio::time::timeout(WAIT, asked).await })
    });
    matches!(answer.join(), Ok(Ok(Ok(true))))
}

fn says_pong(address: &str) -> bool {
    let ping = || {
        let mut stream = TcpStream::connect_timeout(&address.parse::<SocketAddr>().ok()?, WAIT).ok()?;
        stream.set_read_timeout(Some(WAIT)).ok()?;
        stream.write_all(b"PING\r\n").ok()?;
        let mut answer = [0; 5];
        stream.read_exact(&mut answer).ok()?;
        Some(answer)
    };
    ping() == Some(*b"+PONG")
}
