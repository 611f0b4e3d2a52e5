//! Test harness: a real server per test, with its own port and database and a clock that only the test advances.
//!
//! `on_both_backends![name, …]` generates `sqlite::name` and `postgres::name` from `async fn name(b: Backend)`.
//! A function that is missing from the list is dead code, which clippy rejects.

pub mod accounts;
mod client;
pub mod database;
mod documented;
pub mod files;
pub mod functions;
pub mod gate;
pub mod issuer;
pub mod pgbouncer;
pub mod process;
pub mod proxy;
pub mod raw;
pub mod services;
mod statements;
pub mod tokens;
pub mod webhooks;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use omnistack::app::config::Config;
use omnistack::app::jobs::worker::{Settings, Worker};
use omnistack::app::jobs::{JobId, operator};
use omnistack::app::{App, DynFeature};
use omnistack::boot::listener::Limits;
use omnistack::boot::{listener, router};
use omnistack::features::{privacy, users};
use omnistack::platform::actor::Actor;
use omnistack::platform::clock::Clock;
use omnistack::platform::config::Env;
use omnistack::platform::http::Route;
use omnistack::platform::id::UserId;
use serde_json::Value;
use tokio::net::TcpListener;

pub use client::{Call, Client, Reply, ids};
use database::Database;
use documented::Documented;
pub use statements::statements;

/// The database engine that a test runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    Sqlite,
    Postgres,
}

impl Backend {
    /// Whether the engine is available. Without Postgres its tests are skipped with a message.
    pub fn is_available(self) -> bool {
        self == Self::Sqlite || services::postgres().is_some()
    }
}

/// As [`on_both_backends!`], for tests whose requests are refused before the database matters: they run once.
#[macro_export]
macro_rules! on_sqlite {
    ($($test:ident),+ $(,)?) => {
        mod once {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test($crate::harness::Backend::Sqlite).await;
            })+
        }
    };
}

#[macro_export]
macro_rules! on_both_backends {
    ($($test:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test($crate::harness::Backend::Sqlite).await;
            })+
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                if $crate::harness::Backend::Postgres.is_available() {
                    super::$test($crate::harness::Backend::Postgres).await;
                }
            })+
        }
    };
}

/// Secret of the default issuer; tests sign tokens with it.
pub const SECRET: &str = "a-secret-for-tests-of-32-characters-or-more";

/// Waits until the condition is true; panics after 20 seconds.
pub async fn eventually(what: &str, happened: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !happened().await {
        assert!(Instant::now() < deadline, "timed out waiting for: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A running worker.
pub struct Working {
    pub worker: Arc<Worker>,
    ended: tokio::task::JoinHandle<anyhow::Result<()>>,
}

impl Working {
    /// Stops it and waits until it has ended.
    pub async fn stop(self) {
        self.worker.stop().cancel();
        self.ended.await.unwrap().unwrap();
    }
}

/// A running server. Dropping it removes its database.
pub struct TestApp {
    pub app: App,
    pub clock: Clock,
    pub url: String,
    pub routes: Vec<Arc<Route>>,
    /// Triggers the stages of a shutdown.
    pub stop: listener::Stop,
    /// Fails the test that meets an answer which the OpenAPI document does not describe.
    pub documented: Documented,
    database: Database,
    /// Features of this test alone.
    more: Vec<&'static DynFeature>,
    _data: tempfile::TempDir,
}

impl TestApp {
    /// Starts a server with default settings and tokens from an issuer with the secret [`SECRET`].
    pub async fn start(backend: Backend) -> Self {
        Self::with(backend, &[]).await
    }

    /// Like [`TestApp::start`], with these variables; an empty value unsets a variable.
    pub async fn with(backend: Backend, vars: &[(&str, &str)]) -> Self {
        let database = Database::create(backend).await;
        Self::on(database, vars).await
    }

    /// Another instance on the same database, like a second process.
    pub async fn second(&self, vars: &[(&str, &str)]) -> Self {
        let data = tempfile::tempdir().unwrap();
        Self::run_with(self.database.shared(), data, vars, self.clock.clone(), &self.more, |_| {}, |_| {}).await
    }

    /// Like [`TestApp::with`], with an additional feature.
    pub async fn with_feature(backend: Backend, feature: &'static DynFeature, vars: &[(&str, &str)]) -> Self {
        Self::with_limits(backend, feature, vars, |_| {}).await
    }

    /// Like [`TestApp::with_feature`], with other limits on connections.
    pub async fn with_limits(backend: Backend, feature: &'static DynFeature, vars: &[(&str, &str)], change: fn(&mut Limits)) -> Self {
        let (database, data) = (Database::create(backend).await, tempfile::tempdir().unwrap());
        Self::run_with(database, data, vars, Clock::manual(), &[feature], |_| {}, change).await
    }

    /// Like [`TestApp::with`], with a change of the configuration that no variable makes.
    pub async fn with_config(backend: Backend, vars: &[(&str, &str)], change: impl FnOnce(&mut Config)) -> Self {
        let (database, data) = (Database::create(backend).await, tempfile::tempdir().unwrap());
        Self::run_with(database, data, vars, Clock::manual(), &[], change, |_| {}).await
    }

    /// Starts a server that reaches Postgres through a proxy.
    pub async fn behind_proxy(vars: &[(&str, &str)]) -> (Self, proxy::Proxy) {
        let database = Database::create(Backend::Postgres).await;
        let (proxy, url) = proxy::Proxy::before(&database.url).await;
        let vars: Vec<_> = vars.iter().copied().chain([("DATABASE_URL", url.as_str())]).collect();
        (Self::on(database, &vars).await, proxy)
    }

    /// Like [`TestApp::with`], on an existing database.
    pub async fn on(database: Database, vars: &[(&str, &str)]) -> Self {
        let data = tempfile::tempdir().unwrap();
        Self::run(database, data, vars, Clock::manual()).await
    }

    async fn run(database: Database, data: tempfile::TempDir, vars: &[(&str, &str)], clock: Clock) -> Self {
        Self::run_with(database, data, vars, clock, &[], |_| {}, |_| {}).await
    }

    async fn run_with(
        database: Database,
        data: tempfile::TempDir,
        vars: &[(&str, &str)],
        clock: Clock,
        more: &[&'static DynFeature],
        change: impl FnOnce(&mut Config),
        limit: fn(&mut Limits),
    ) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let storage = data.path().join("storage");
        let mut all: HashMap<String, String> = [
            ("DATABASE_URL", database.url.as_str()),
            ("DB_POOL_SIZE", "4"),
            ("DATA_DIR", data.path().to_str().unwrap()),
            ("LOCAL_STORAGE_DIR", storage.to_str().unwrap()),
            ("SECRET_KEY", "a-service-secret-for-tests-of-32-characters"),
            ("AUTH_PROVIDER", "custom"),
            ("OAUTH_JWT_SECRET", SECRET),
            ("RATE_LIMIT_DEFAULT", "1000000/minute"),
            ("RATE_LIMIT_AI", "1000000/minute"),
            ("RATE_LIMIT_WEBHOOK", "1000000/minute"),
            ("PLAN_LIMITS_ENABLED", "false"),
            ("LOG_LEVEL", "ERROR"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        all.extend(vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let mut features = omnistack::features::all();
        features.push(&functions::Functions);
        features.extend(more);
        let mut loaded = Config::load(Env::from_vars(all), &features).unwrap_or_else(|found| panic!("{:?}", found.problems));
        change(&mut loaded.config);
        let app = App::new(loaded.config, clock.clone(), features).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        let stop = listener::Stop::default();
        let grace = app.config.core.shutdown_grace;
        app.phase.set_ready();
        let built = router::build(&app);
        let (documented, router) = Documented::watch(&built);
        let mut limits = Limits::new(&app.config.core.trusted_proxies);
        limit(&mut limits);
        tokio::spawn(listener::run(listener, router, stop.clone(), grace, limits));
        Self {
            routes: built.routes,
            app,
            clock,
            url: format!("http://{address}"),
            stop,
            documented,
            database,
            more: more.to_vec(),
            _data: data,
        }
    }

    /// The URL of the test's database, without a proxy.
    pub fn database_url(&self) -> &str {
        &self.database.url
    }

    /// A client without a token.
    pub fn anonymous(&self) -> Client {
        Client::new(&self.url, None)
    }

    /// A user with the name as id, created by a first request.
    pub async fn user(&self, name: &str) -> Client {
        let token = tokens::claims(name, &self.clock).sign(SECRET);
        let client = Client::new(&self.url, Some(token));
        client.get("/app/users/me").await.expect(200);
        client
    }

    /// Like [`TestApp::user`], with the role stored in the database.
    pub async fn user_with_role(&self, name: &str, role: &str) -> Client {
        let client = self.user(name).await;
        self.sql(&format!("UPDATE users SET role = '{role}' WHERE id = '{name}'")).await;
        self.forget_identity(name);
        client
    }

    pub async fn admin(&self) -> Client {
        self.user_with_role("the-admin", "admin").await
    }

    /// A client with this token, valid or not.
    pub fn with_token(&self, token: &str) -> Client {
        Client::new(&self.url, Some(token.to_owned()))
    }

    /// Starts a worker of this instance.
    pub fn worker(&self, settings: Settings) -> Working {
        let worker = self.app.worker(settings);
        Working { worker: worker.clone(), ended: tokio::spawn(worker.run()) }
    }

    /// The default worker settings.
    pub fn settings(&self) -> Settings {
        Settings::new(&self.app.config.jobs, self.app.config.core.shutdown_grace)
    }

    /// Runs one function as the command line does; returns the job id, and the result or the error.
    pub async fn run_function(&self, name: &str, payload: Value) -> omnistack::platform::error::Result<(JobId, Result<Value, String>)> {
        operator::run(self.app.clone(), &self.app.code, &self.app.jobs, &self.app.db, name, payload).await
    }

    /// Invalidates the cached identity, so the next request of this user reads the database.
    pub fn forget_identity(&self, user: &str) {
        users::service::invalidate(&self.app, &UserId::parse(user).unwrap());
    }

    /// Erases a user and all their data, as the admin endpoint does.
    pub async fn erase(&self, user: &str) -> omnistack::platform::error::Result<u64> {
        privacy::service::erase(&self.app, &Actor::operator(), &UserId::parse(user).unwrap()).await
    }

    /// Runs every due job, including jobs that these jobs enqueue.
    pub async fn run_jobs(&self) {
        let working = self.worker(Settings { poll: Duration::from_millis(10), ..self.settings() });
        eventually("no job is due", async || {
            self.app.jobs.waiting(&self.app.db).await.unwrap() == 0
                && self.number("SELECT COUNT(*) FROM jobs WHERE status = 'running'").await == 0
        })
        .await;
        working.stop().await;
    }

    /// Executes SQL statements.
    pub async fn sql(&self, text: &str) {
        self.database.execute(&self.app.db, text).await;
    }

    /// Runs a query that returns one number.
    pub async fn number(&self, text: &str) -> i64 {
        self.database.number(&self.app.db, text).await
    }

    /// The columns of a table, without binary columns.
    pub async fn columns(&self, table: &str) -> Vec<String> {
        let text = if self.app.db.is_postgres() {
            format!(
                "SELECT CAST(column_name AS TEXT) FROM information_schema.columns
                 WHERE table_schema = current_schema() AND table_name = '{table}' AND data_type <> 'bytea'"
            )
        } else {
            format!("SELECT name FROM pragma_table_info('{table}') WHERE type <> 'BLOB'")
        };
        self.texts(&text).await
    }

    /// The last column of every row of a query, which must be text.
    pub async fn texts(&self, text: &str) -> Vec<String> {
        self.database.texts(&self.app.db, text).await
    }
}
