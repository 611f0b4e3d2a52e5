//! Environment of a measurement: creates databases, starts and pins servers, and removes everything afterwards.

use std::env::current_exe;
use std::fs::{File, OpenOptions};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, SqliteConnection};
use tempfile::TempDir;
use url::Url;

use crate::driver;

/// Secret that signs the tokens of the benchmark; passed to both servers.
pub const JWT_SECRET: &str = "bench-token-secret-0123456789-abcdefghij";
const SECRET_KEY: &str = "bench-server-secret-0123456789-abcdefghij";

/// Used if `BENCH_DATABASE_URL` is not set.
const USUAL_POSTGRES: &str = "postgres://root@127.0.0.1:5432/postgres?sslmode=disable";
const START_LIMIT: Duration = Duration::from_mins(1);

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Engine {
    Sqlite,
    Postgres,
}

impl Engine {
    pub fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgres => "Postgres",
        }
    }

    /// Runs statements over a connection of their own.
    pub async fn execute(self, database: &str, text: &str) -> Result<()> {
        let text = AssertSqlSafe(text.to_owned());
        match self {
            Self::Postgres => PgConnection::connect(database).await?.execute(text).await.map(drop)?,
            Self::Sqlite => SqliteConnection::connect(database).await?.execute(text).await.map(drop)?,
        }
        Ok(())
    }

    /// Runs a query that returns one number.
    pub async fn number(self, database: &str, text: &str) -> Result<i64> {
        let text = AssertSqlSafe(text.to_owned());
        let (number,): (i64,) = match self {
            Self::Postgres => sqlx::query_as(text).fetch_one(&mut PgConnection::connect(database).await?).await?,
            Self::Sqlite => sqlx::query_as(text).fetch_one(&mut SqliteConnection::connect(database).await?).await?,
        };
        Ok(number)
    }
}

/// The server under test and its configuration.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// The bare server of `floor.rs`.
    Floor,
    /// Our server with every layer on, quiet logs, and a rate limit that is never reached.
    Ours,
    /// Our server with default settings.
    Defaults,
}

impl Role {
    pub fn name(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::Ours => "ours",
            Self::Defaults => "defaults",
        }
    }
}

/// Assignment of CPUs to servers and driver.
#[derive(Clone)]
pub struct Pinning {
    server_cpu: Option<String>,
    pub told: String,
}

impl Pinning {
    /// Pins the driver to the second available CPU and reserves the first for the servers. Must be called while the process has
    /// one thread: later threads inherit the affinity.
    pub fn settle() -> Self {
        let cpus = allowed_cpus();
        let [server, driver, ..] = cpus.as_slice() else {
            return Self::none("not pinned: fewer than two CPUs");
        };
        let pinned = Command::new("taskset")
            .args(["-p", "-c", driver, &std::process::id().to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if pinned.is_ok_and(|status| status.success()) {
            let told = format!("servers pinned to CPU {server}, driver to CPU {driver}");
            Self { server_cpu: Some(server.clone()), told }
        } else {
            Self::none("not pinned: no usable `taskset`")
        }
    }

    fn none(told: &str) -> Self {
        Self { server_cpu: None, told: told.to_owned() }
    }

    fn command(&self, program: &Path) -> Command {
        if let Some(cpu) = &self.server_cpu {
            let mut command = Command::new("taskset");
            command.args(["-c", cpu]).arg(program);
            command
        } else {
            Command::new(program)
        }
    }
}

/// Returns the CPUs this process may run on, from Linux's list format ("0-3,8").
fn allowed_cpus() -> Vec<String> {
    let ranges = status_line("self", "Cpus_allowed_list:").unwrap_or_default();
    let mut cpus = Vec::new();
    for part in ranges.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.trim().parse::<u32>(), last.trim().parse::<u32>()) {
            cpus.extend((first..=last).map(|cpu| cpu.to_string()));
        }
    }
    cpus
}

fn status_line(process: &str, name: &str) -> Option<String> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim().to_owned())
}

/// Temporary directory and databases of one engine.
pub struct Site {
    pub engine: Engine,
    pub pinning: Pinning,
    directory: TempDir,
    /// Postgres only: the URL used to create databases, and the names of created databases.
    admin: Option<Url>,
    made: Vec<String>,
}

impl Site {
    /// Returns `None` if Postgres is not reachable and was not requested explicitly; errors if it was.
    pub async fn open(engine: Engine, asked_for: bool, pinning: &Pinning) -> Result<Option<Self>> {
        let admin = match engine {
            Engine::Sqlite => None,
            Engine::Postgres => {
                let stated = std::env::var("BENCH_DATABASE_URL").ok().filter(|url| !url.is_empty());
                let url = stated.as_deref().unwrap_or(USUAL_POSTGRES);
                match PgConnection::connect(url).await {
                    Ok(connection) => connection.close().await?,
                    Err(_) if stated.is_none() && !asked_for => return Ok(None),
                    Err(error) if stated.is_none() => {
                        return Err(error).context("no Postgres on the usual port; set BENCH_DATABASE_URL");
                    }
                    Err(error) => return Err(error).context("BENCH_DATABASE_URL cannot be reached"),
                }
                Some(Url::parse(url).context("BENCH_DATABASE_URL is not a URL")?)
            }
        };
        let directory = tempfile::Builder::new().prefix("omnistack-bench-").tempdir()?;
        Ok(Some(Self { engine, pinning: pinning.clone(), directory, admin, made: Vec::new() }))
    }

    /// Creates an empty database and returns its `DATABASE_URL`.
    pub async fn database(&mut self, role: Role) -> Result<String> {
        let Some(admin) = &self.admin else {
            return Ok(format!("sqlite:///{}", self.directory.path().join(role.name()).with_extension("db").display()));
        };
        let name = format!("omnistack_bench_{}_{}", std::process::id(), role.name());
        let mut connection = PgConnection::connect(admin.as_str()).await?;
        // Database names cannot be bound as parameters. This name contains no external input.
        sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut connection).await?;
        connection.close().await?;
        let mut url = admin.clone();
        url.set_path(&name);
        self.made.push(name);
        Ok(url.into())
    }

    /// Drops the databases; the directory is removed on drop. Stop the servers first.
    pub async fn close(self) -> Result<()> {
        if let Some(admin) = &self.admin {
            let mut connection = PgConnection::connect(admin.as_str()).await?;
            for name in &self.made {
                let drop = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
                sqlx::query(AssertSqlSafe(drop)).execute(&mut connection).await?;
            }
            connection.close().await?;
        }
        Ok(())
    }
}

/// A running server; killed on drop.
pub struct Server {
    pub role: Role,
    pub address: SocketAddr,
    /// Time from the start of the process to the first 200 of the readiness probe.
    pub ready_after: Duration,
    child: Child,
    log: PathBuf,
}

impl Server {
    /// Starts a server and waits until it is ready.
    pub async fn start(site: &Site, role: Role, database: &str) -> Result<Self> {
        Self::start_with(site, role, database, &[]).await
    }

    /// Same as [`Self::start`], with variables that win over those of the role.
    pub async fn start_with(site: &Site, role: Role, database: &str, variables: &[(&str, String)]) -> Result<Self> {
        let directory = site.directory.path().join(role.name());
        std::fs::create_dir_all(&directory)?;
        let log = directory.join("log");
        // Opened for appending, so that the file can be truncated while the server writes to it.
        let output = OpenOptions::new().create(true).append(true).open(&log)?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));

        let mut command = match role {
            Role::Floor => {
                let mut command = site.pinning.command(&current_exe()?);
                command.arg("floor").envs([("OAUTH_JWT_SECRET", JWT_SECRET)]);
                command
            }
            Role::Ours | Role::Defaults => {
                let mut command = site.pinning.command(Path::new(env!("CARGO_BIN_EXE_omnistack")));
                command.arg("serve");
                command
            }
        };
        command.env_clear();
        for name in ["PATH", "HOME"] {
            command.envs(std::env::var_os(name).map(|value| (name, value)));
        }
        if role != Role::Defaults {
            command.envs([
                ("ENVIRONMENT", "local"),
                ("AUTH_PROVIDER", "custom"),
                ("OAUTH_JWT_SECRET", JWT_SECRET),
                ("SECRET_KEY", SECRET_KEY),
                ("RATE_LIMIT_ENABLED", "true"),
                ("RATE_LIMIT_DEFAULT", "100000000/minute"),
                // The free plan allows only a few projects.
                ("PLAN_LIMITS_ENABLED", "false"),
                ("LOG_LEVEL", "WARNING"),
                ("TOKIO_WORKER_THREADS", "1"),
            ]);
        }
        command
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .env("DATABASE_URL", database)
            .env("HOST", address.ip().to_string())
            .env("PORT", address.port().to_string())
            .env("DATA_DIR", directory.join("data"))
            .current_dir(&directory)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);

        let started = Instant::now();
        let child = command.spawn().with_context(|| format!("starting {}", role.name()))?;
        let mut server = Self { role, address, ready_after: Duration::ZERO, child, log };
        server.wait_until_ready(started).await?;
        Ok(server)
    }

    async fn wait_until_ready(&mut self, started: Instant) -> Result<()> {
        let probe = driver::request("GET", "/api/v1/public/health/ready", None, None);
        let mut last = String::from("nothing listens");
        while started.elapsed() < START_LIMIT {
            match driver::call(self.address, &probe).await {
                Ok((200, _)) => {
                    self.ready_after = started.elapsed();
                    return Ok(());
                }
                Ok((status, body)) => last = format!("{status} {}", driver::excerpt(&body)),
                Err(_) => self.check()?,
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        bail!("{} was not ready within {START_LIMIT:?} ({last}); its log ends:\n{}", self.role.name(), self.log_end())
    }

    /// Errors if the process has ended.
    pub fn check(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("{} ended with {status}; its log ends:\n{}", self.role.name(), self.log_end());
        }
        Ok(())
    }

    /// Resident memory in MiB; `None` on systems without `/proc`.
    pub fn resident(&self) -> Option<f64> {
        self.memory("VmRSS:")
    }

    /// Peak resident memory since the start, in MiB.
    pub fn peak(&self) -> Option<f64> {
        self.memory("VmHWM:")
    }

    fn memory(&self, name: &str) -> Option<f64> {
        let line = status_line(&self.child.id().to_string(), name)?;
        let kibibytes: u32 = line.strip_suffix("kB")?.trim().parse().ok()?;
        Some(f64::from(kibibytes) / 1024.0)
    }

    /// Truncates the log, because a server that logs every request would fill the disk.
    pub fn empty_log(&self) -> Result<()> {
        File::options().write(true).open(&self.log)?.set_len(0)?;
        Ok(())
    }

    fn log_end(&self) -> String {
        let log = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&log[log.len().saturating_sub(2000)..]).into_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Fails only for a process that has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns a port that is currently free.
fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}
