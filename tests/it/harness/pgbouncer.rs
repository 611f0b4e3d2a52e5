//! A real `PgBouncer` in transaction mode in front of the Postgres server.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sqlx::postgres::PgConnectOptions;

use super::services;

/// A running pooler; ended with the value.
pub struct PgBouncer {
    child: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl PgBouncer {
    /// `None` where it is not installed; with `REQUIRE_SERVICES=1` that fails.
    pub fn start() -> Option<Self> {
        let path = format!("{}:/usr/sbin", std::env::var("PATH").unwrap());
        let installed = Command::new("pgbouncer").arg("--version").env("PATH", &path).output().is_ok();
        assert!(installed || std::env::var("REQUIRE_SERVICES").is_err(), "pgbouncer is required, but not installed");
        if !installed {
            return None;
        }
        let server: PgConnectOptions = services::postgres()?.parse().unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pgbouncer.ini");
        let text = format!(
            "[databases]\n* = host={} port={} user={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
             auth_type = any\npool_mode = transaction\ndefault_pool_size = 5\nmax_client_conn = 500\n",
            server.get_host(),
            server.get_port(),
            server.get_username(),
        );
        std::fs::write(&file, text).unwrap();
        let mut command = Command::new("pgbouncer");
        command.arg("-q").env("PATH", &path).stdout(Stdio::null()).stderr(Stdio::null());
        // It refuses to run as root, and reads its file before it changes the user.
        if Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n") {
            std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
            command.args(["-u", "nobody"]);
        }
        let child = command.arg(&file).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "pgbouncer does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(Self { child, port, _folder: folder })
    }

    /// The URL of this database through the pooler.
    pub fn before(&self, url: &str) -> String {
        let mut url = url::Url::parse(url).unwrap();
        url.set_host(Some("127.0.0.1")).unwrap();
        url.set_port(Some(self.port)).unwrap();
        url.set_query(Some("sslmode=disable"));
        url.to_string()
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
