//! Postgres under the addresses that clouds hand out: a Unix socket beside a user, and an IPv6 literal. Both lead through a
//! relay to the server of the tests.

use omnistack::platform::db::query;
use omnistack::sql;
use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use url::Url;

use crate::harness::Backend;
use crate::harness::database::{Database, connect};

async fn relay(mut client: impl AsyncRead + AsyncWrite + Unpin, server: String) {
    let mut server = TcpStream::connect(server).await.unwrap();
    let _ = copy_bidirectional(&mut client, &mut server).await;
}

#[tokio::test]
async fn postgres_answers_at_socket_and_ipv6_addresses() {
    if !Backend::Postgres.is_available() {
        return;
    }
    let database = Database::create(Backend::Postgres).await;
    let known = Url::parse(&database.url).unwrap();
    let server = format!("{}:{}", known.host_str().unwrap(), known.port().unwrap_or(5432));
    let user = if known.username().is_empty() { whoami::username().unwrap() } else { known.username().to_owned() };
    let password = known.password().unwrap_or("unused%");
    let name = known.path();

    let folder = tempfile::tempdir().unwrap();
    let socket = UnixListener::bind(folder.path().join(".s.PGSQL.5432")).unwrap();
    let behind_socket = server.clone();
    tokio::spawn(async move {
        while let Ok((client, _)) = socket.accept().await {
            tokio::spawn(relay(client, behind_socket.clone()));
        }
    });
    let folder = folder.path().display().to_string();
    let mut addresses = vec![
        format!("postgresql://{user}:{password}@{name}?host={folder}"),
        format!("postgresql+asyncpg://{user}:{password}@{}{name}", folder.replace('/', "%2F")),
        format!("postgresql+pg8000://{user}:{password}@{name}?unix_sock={folder}/.s.PGSQL.5432"),
        format!("postgres://{user}:{password}@{server}{name}?channel_binding=prefer&connect_timeout=5&sslmode=prefer"),
    ];
    // A machine may have no IPv6.
    if let Ok(ipv6) = TcpListener::bind("[::1]:0").await {
        let port = ipv6.local_addr().unwrap().port();
        addresses.push(format!("postgres://{user}:{password}@[::1]:{port}{name}"));
        addresses.push(format!("postgres://{user}:{password}@[::1]:{port},[::2]:1{name}"));
        tokio::spawn(async move {
            while let Ok((client, _)) = ipv6.accept().await {
                tokio::spawn(relay(client, server.clone()));
            }
        });
    }
    for address in addresses {
        let (db, _) = connect(&address).await;
        let (users,): (i64,) = query(&db, sql!("SELECT COUNT(*) FROM users")).fetch_one().await.unwrap();
        assert_eq!(users, 0, "{address}");
        db.close().await;
    }
}
