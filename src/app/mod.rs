//! The application: shared state of handlers, jobs and commands, built once from the configuration.

pub mod config;
pub mod feature;
pub mod jobs;
pub mod migrate;
pub mod news;
mod phase;
pub mod secret_key;

use std::ops::Deref;
use std::sync::Arc;

use anyhow::Context;
use chrono::{DateTime, Utc};
use http::Extensions;

use crate::platform::auth::Verifier;
use crate::platform::clock::Clock;
use crate::platform::crypto::{KeyRing, Keys};
use crate::platform::db::{Db, Tx};
use crate::platform::error::Result;
use crate::platform::http::cursor::Cursors;
use crate::platform::http::idempotency;
use crate::platform::outgoing::Outgoing;
use crate::platform::rate_limit::Limiter;
use crate::platform::redis::Redis;
use crate::platform::telemetry::metrics::Metrics;
use crate::platform::usage::Usage;
use crate::providers::email::Mailer;
use crate::providers::storage::Storage;
use crate::providers::vendor::Outside;
use config::Config;
use feature::{AccessCheck, Feature, Setup};
use jobs::worker::{Settings, Worker};
use jobs::{Code, Queue, Registry, Schedules};
use news::{Change, Notice};
use phase::Phase;

/// A feature of this application.
pub type DynFeature = dyn Feature<App>;

/// The application. Cheap to clone (`Arc`).
#[derive(Clone)]
pub struct App(Arc<AppInner>);

/// The parts of the application.
pub struct AppInner {
    pub config: Config,
    pub clock: Clock,
    pub started_at: DateTime<Utc>,
    pub metrics: Metrics,
    pub usage: Usage,
    pub db: Db,
    pub redis: Option<Redis>,
    pub keys: Keys,
    pub verifier: Verifier,
    pub limiter: Limiter,
    pub cursors: Cursors,
    /// Keys of stored answers of repeated requests.
    answer_keys: KeyRing,
    pub outgoing: Outgoing,
    pub jobs: Queue,
    pub code: Code<App>,
    pub schedules: Schedules<App>,
    pub mailer: Mailer,
    pub storage: Storage,
    pub features: Vec<&'static DynFeature>,
    pub access_checks: Vec<Box<dyn AccessCheck<App>>>,
    /// In-memory state of features, by type.
    states: Extensions,
    pub phase: Phase,
}

impl Deref for App {
    type Target = AppInner;

    fn deref(&self) -> &AppInner {
        &self.0
    }
}

impl App {
    /// Builds the application. Opens a SQLite file; contacts nothing else.
    pub async fn new(config: Config, clock: Clock, features: Vec<&'static DynFeature>) -> anyhow::Result<Self> {
        let url = config.database.url.as_ref().context("DATABASE_URL is not set")?;
        let metrics = Metrics::default();
        let db = Db::connect(&config.database, url, &metrics).await?;
        let redis = Redis::connect(&config.redis)?;
        let keys =
            Keys::with_previous(config.core.secret_key.as_ref().context("SECRET_KEY is not set")?, &config.core.previous_secret_keys);
        let outgoing = Outgoing::new(&metrics)?;
        let outside = Outside { outgoing: outgoing.clone(), keys: keys.clone(), metrics: metrics.clone() };
        let usage = Usage::new(&clock, &metrics);
        let (mut registry, mut schedules) = (Registry::default(), Schedules::default());
        let mut setup = Setup {
            config: &config,
            clock: &clock,
            keys: &keys,
            metrics: &metrics,
            usage: &usage,
            outgoing: &outgoing,
            redis: redis.as_ref(),
            states: Extensions::new(),
        };
        for feature in &features {
            feature.jobs(&mut registry);
            feature.schedules(&config, &mut schedules);
            feature.setup(&mut setup).with_context(|| format!("feature {}", feature.name()))?;
        }
        let states = setup.states;
        let (catalog, code) = registry.split();
        Ok(Self(Arc::new(AppInner {
            verifier: Verifier::new(&config.auth, &keys, &outgoing, clock.clone(), metrics.clone()),
            limiter: Limiter::new(redis.clone()),
            cursors: Cursors::new(&keys),
            answer_keys: keys.ring(idempotency::PURPOSE),
            jobs: Queue::new(clock.clone(), catalog, &metrics, &usage),
            mailer: Mailer::new(&config.email, &config.core.project_name, &config.core.data_dir, &outside)?,
            storage: Storage::new(&config.storage, &outside)?,
            access_checks: features.iter().filter_map(|feature| feature.access_check(&config)).collect(),
            code,
            schedules,
            features,
            states,
            phase: Phase::default(),
            outgoing,
            config,
            started_at: clock.now(),
            clock,
            metrics,
            usage,
            db,
            redis,
            keys,
        })))
    }

    /// A feature's state, kept by its `setup`. Panics if that feature is not installed: features that others stand on must be.
    #[expect(clippy::expect_used, reason = "an application without the feature is put together wrongly, which the first test shows")]
    pub fn state<T: Clone + Send + Sync + 'static>(&self) -> &T {
        self.states.get().expect("the feature is installed")
    }

    /// A feature's settings. Panics if that feature is not installed, as [`App::state`].
    #[expect(clippy::expect_used, reason = "an application without the feature is put together wrongly, which the first test shows")]
    pub fn settings<T: Clone + Send + Sync + 'static>(&self) -> &T {
        self.config.feature().expect("the feature is installed")
    }

    /// Reports a change of a resource, in the transaction that makes it.
    pub async fn changed(&self, tx: &mut Tx, change: &Change) -> Result<()> {
        for feature in &self.features {
            feature.changed(self, tx, change).await?;
        }
        Ok(())
    }

    /// Tells a user something, once the transaction is committed.
    pub async fn notify(&self, tx: &mut Tx, notice: &Notice) -> Result<()> {
        for feature in &self.features {
            feature.notify(self, tx, notice).await?;
        }
        Ok(())
    }

    /// Where answers of repeated requests are kept.
    pub fn answers(&self) -> idempotency::Store<'_> {
        idempotency::Store { db: &self.db, keys: &self.answer_keys, now: self.clock.now() }
    }

    /// Creates a worker for this application's jobs.
    pub fn worker(&self, settings: Settings) -> Arc<Worker> {
        Worker::new(self.clone(), &self.code, self.jobs.clone(), &self.db, settings)
    }

    /// Flushes Redis publishes and closes connections.
    pub async fn close(&self) {
        if let Some(redis) = &self.redis {
            redis.flush().await;
        }
        self.db.close().await;
    }
}
