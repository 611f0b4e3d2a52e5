//! What every handler, job and command works with: the [`App`], made once from the configuration.

pub mod config;
pub mod feature;
pub mod jobs;
pub mod migrate;
pub mod secret_key;

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use chrono::TimeDelta;

use crate::platform::auth::own::OpenSession;
use crate::platform::auth::passwords::Passwords;
use crate::platform::auth::presence::Presence;
use crate::platform::auth::{Identity, Verifier};
use crate::platform::cache::Cache;
use crate::platform::clock::Clock;
use crate::platform::crypto::Keys;
use crate::platform::db::Db;
use crate::platform::http::cursor::Cursors;
use crate::platform::rate_limit::Limiter;
use crate::platform::redis::Redis;
use crate::providers::email::mailer::Mailer;
use crate::providers::storage::Storage;
use config::Config;
use feature::Feature;
use jobs::cron::Schedules;
use jobs::{Queue, Registry};

/// Routes of a feature.
pub type Routes = crate::platform::http::Routes<App>;

/// How old what authorisation knows of a user or a session may be where no write has dropped it.
const IDENTITY_LIFE: TimeDelta = TimeDelta::seconds(5);
const IDENTITIES: u64 = 50_000;

/// The service; a clone is one counter.
#[derive(Clone)]
pub struct App(Arc<AppInner>);

/// Public, so that a test can put something else in one of the places.
pub struct AppInner {
    pub config: Config,
    pub clock: Clock,
    pub db: Db,
    pub redis: Option<Redis>,
    pub keys: Keys,
    pub verifier: Verifier,
    pub limiter: Limiter,
    pub cursors: Cursors,
    pub identities: Cache<Identity>,
    /// Open sessions of our own accounts by their ids; `None` for those that have ended.
    pub sessions: Cache<Option<OpenSession>>,
    pub passwords: Passwords,
    pub presence: Presence,
    pub jobs: Queue,
    pub mailer: Mailer,
    pub storage: Storage,
    pub schedules: Schedules,
    /// Whose hooks are asked: for a user's data, for what goes away with time.
    pub features: Vec<Feature>,
    pub phase: Phase,
}

impl Deref for App {
    type Target = AppInner;

    fn deref(&self) -> &AppInner {
        &self.0
    }
}

impl App {
    /// Puts everything together. Nothing outside is asked for anything but the database file.
    pub async fn new(config: Config, clock: Clock, features: Vec<Feature>) -> anyhow::Result<Self> {
        let url = config.database.url.as_ref().context("DATABASE_URL is not set")?;
        let db = Db::connect(&config.database, url).await?;
        let redis = Redis::connect(&config.redis)?;
        let keys = Keys::new(config.core.secret_key.as_ref().context("SECRET_KEY is not set")?);
        let http = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(5))
            .timeout(Duration::from_secs(30))
            .user_agent(concat!("omnistack/", env!("CARGO_PKG_VERSION")))
            .build()?;
        let (mut registry, mut schedules) = (Registry::default(), Schedules::default());
        for feature in &features {
            (feature.jobs)(&mut registry);
            (feature.cron)(&mut schedules);
        }
        let mailer = Mailer::new(&config.email, &config.core.project_name, &config.core.data_dir, &http)?;
        let storage = Storage::new(&config.storage, &keys, &http)?;
        Ok(Self(Arc::new(AppInner {
            verifier: Verifier::new(&config.auth, &keys, http, clock.clone()),
            limiter: Limiter::new(config.rate_limit.clone(), redis.clone()),
            cursors: Cursors::new(&keys),
            identities: Cache::new("identity", IDENTITIES, IDENTITY_LIFE, redis.clone()),
            sessions: Cache::new("session", IDENTITIES, IDENTITY_LIFE, redis.clone()),
            passwords: Passwords::new(config.auth.passwords)?,
            presence: Presence::default(),
            jobs: Queue::new(clock.clone(), registry),
            mailer,
            storage,
            schedules,
            features,
            phase: Phase::default(),
            config,
            clock,
            db,
            redis,
            keys,
        })))
    }
}

impl App {
    /// Ends what the process has with others: what it has told them is sent, its connections are closed.
    pub async fn close(&self) {
        if let Some(redis) = &self.redis {
            redis.flush().await;
        }
        self.db.close().await;
    }
}

/// Whether the process wants requests: only between its start and the signal to stop.
#[derive(Debug, Default)]
pub struct Phase(AtomicBool);

impl Phase {
    pub fn set_ready(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    pub fn set_stopping(&self) {
        self.0.store(false, Ordering::SeqCst);
    }

    pub fn is_ready(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}
