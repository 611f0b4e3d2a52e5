//! The `Feature` trait: the hooks of a feature. No module below `features` refers to a single feature: router, documents,
//! metrics, jobs, configuration and commands call these hooks.

use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use http::Extensions;
use serde_json::{Map, Value};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::config::Config;
use super::jobs::{Registry, Schedules};
use super::news::{Change, Notice};
use crate::platform::actor::CurrentUser;
use crate::platform::clock::Clock;
use crate::platform::config::Env;
use crate::platform::crypto::Keys;
use crate::platform::db::{Db, Tx};
use crate::platform::error::Result;
use crate::platform::http::Endpoints;
use crate::platform::id::UserId;
use crate::platform::outgoing::Outgoing;
use crate::platform::redis::Redis;
use crate::platform::telemetry::metrics::Metrics;
use crate::platform::usage::Usage;

/// A feature of the application `A`. Every hook but the name has an empty default.
#[async_trait]
pub trait Feature<A: Send + Sync + 'static>: Send + Sync {
    /// The name of its folder.
    fn name(&self) -> &'static str;

    /// Reads its settings and stores them: `sections.insert(Config::read(env))`. Returned by [`Config::feature`].
    fn config(&self, _env: &mut Env, _sections: &mut Extensions) {}

    /// Reports problems between its settings and others.
    fn check_config(&self, _config: &Config, _env: &mut Env) {}

    /// Registers its metrics and creates its in-memory state: `setup.keep(State::new(..))`.
    fn setup(&self, _setup: &mut Setup<'_>) -> anyhow::Result<()> {
        Ok(())
    }

    /// Its groups in the OpenAPI document: name and description.
    fn tags(&self) -> &'static [(&'static str, &'static str)] {
        &[]
    }

    fn endpoints(&self) -> Endpoints<A> {
        Endpoints::new()
    }

    /// Functions that run in the background.
    fn jobs(&self, _registry: &mut Registry<A>) {}

    /// Work beside the requests of a server or the jobs of a worker, begun before the first one. `stop` is cancelled after the
    /// last one; the process then waits a few seconds for it to return.
    async fn run(&self, _app: &A, _stop: CancellationToken) {}

    /// Functions that are enqueued by the clock.
    fn schedules(&self, _config: &Config, _schedules: &mut Schedules<A>) {}

    /// An additional check on verified callers of guarded routes, run at each request. `None` costs nothing.
    fn access_check(&self, _config: &Config) -> Option<Box<dyn AccessCheck<A>>> {
        None
    }

    /// Refreshes gauges that are read from the database, before the metrics page is rendered.
    async fn refresh_metrics(&self, _app: &A) -> Result<()> {
        Ok(())
    }

    /// Returns this feature's members of a user's data export.
    async fn export(&self, _app: &A, _user: &UserId) -> Result<Map<String, Value>> {
        Ok(Map::new())
    }

    /// The kinds of its resources that have one owner each, such as `project`.
    fn resources(&self) -> &'static [&'static str] {
        &[]
    }

    /// Whether the user owns a resource of one of its kinds that is not deleted.
    async fn owns(&self, _app: &A, _user: &UserId, _resource: &str, _id: &str) -> Result<bool> {
        Ok(false)
    }

    /// Passes a change on to the owner's other devices, once the transaction is committed.
    async fn changed(&self, _app: &A, _tx: &mut Tx, _change: &Change) -> Result<()> {
        Ok(())
    }

    /// Tells a user something, in a way of its own beside mail, such as a message on an open socket, once the transaction is
    /// committed. May run twice.
    async fn notify(&self, _app: &A, _tx: &mut Tx, _notice: &Notice) -> Result<()> {
        Ok(())
    }

    /// Bytes of the user's objects in the storage.
    async fn stored_bytes(&self, _app: &A, _user: &UserId) -> Result<i64> {
        Ok(0)
    }

    /// Removes all data of a user; returns the number of rows. The features run from the last to the first of the list, in
    /// one transaction: a feature runs after those that depend on it.
    async fn erase(&self, _app: &A, _tx: &mut Tx, _user: &UserId) -> Result<u64> {
        Ok(0)
    }

    /// Ends the access of a user who is being deactivated, in the same transaction.
    async fn deactivate(&self, _app: &A, _tx: &mut Tx, _user: &UserId) -> Result<()> {
        Ok(())
    }

    /// Creates example data for a demonstration user; returns what it created, or `None` if it exists already.
    async fn seed(&self, _app: &A, _user: &CurrentUser) -> Result<Option<String>> {
        Ok(None)
    }

    /// Removes a bounded number of expired records; called again until it removes none.
    async fn cleanup(&self, _app: &A, _when: When) -> Result<Removed> {
        Ok(Removed::default())
    }

    /// Checks what the feature needs outside of this process, such as its vendors. Run by `omnistack doctor`, and beside the
    /// start, which shows the warnings. It may use the network: its callers give it a few seconds. A feature with nothing to
    /// check returns at once.
    async fn diagnose(&self, _app: &A) -> Vec<Finding> {
        Vec::new()
    }

    /// Rows of the start banner: name and value. Without network access.
    fn banner(&self, _app: &A) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// Completes rows of other versions where SQL alone is not enough. Runs after the migrations and at every start, so it
    /// must be cheap when nothing is left to do.
    async fn after_migrations(&self, _db: &Db) -> anyhow::Result<()> {
        Ok(())
    }
}

/// A check on verified callers, such as "the session is still open".
#[async_trait]
pub trait AccessCheck<A>: Send + Sync {
    /// Returns an error if the caller must be rejected.
    async fn check(&self, app: &A, user: &CurrentUser) -> Result<()>;
}

/// What a feature can use while the application is being made.
pub struct Setup<'a> {
    pub config: &'a Config,
    pub clock: &'a Clock,
    pub keys: &'a Keys,
    pub metrics: &'a Metrics,
    pub usage: &'a Usage,
    pub outgoing: &'a Outgoing,
    pub redis: Option<&'a Redis>,
    pub(super) states: Extensions,
}

impl Setup<'_> {
    /// Keeps a feature's state; found again by its type. Cheap to clone, because every clone of the application shares it.
    pub fn keep<T: Clone + Send + Sync + 'static>(&mut self, state: T) {
        self.states.insert(state);
    }

    /// A state that was kept before, for states that several features add to.
    pub fn kept<T: Clone + Send + Sync + 'static>(&self) -> Option<T> {
        self.states.get().cloned()
    }
}

/// A result of [`Feature::diagnose`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub level: Level,
    /// What was checked, in a word or two.
    pub what: &'static str,
    /// What was found. Holds no secret, because it is printed and logged.
    pub text: String,
    /// What to do; empty with [`Level::Ok`].
    pub remedy: String,
}

impl Finding {
    pub fn ok(what: &'static str, text: impl Into<String>) -> Self {
        Self { level: Level::Ok, what, text: text.into(), remedy: String::new() }
    }

    pub fn warn(what: &'static str, text: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { level: Level::Warn, what, text: text.into(), remedy: remedy.into() }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    Ok,
    /// The service runs, with less than it is configured for.
    Warn,
    /// The service cannot do its work.
    Fail,
}

/// Runs the checks of all features at the same time. A feature that does not return within the limit is a finding itself.
pub async fn diagnose<A: Send + Sync + 'static>(app: &A, features: &[&'static dyn Feature<A>], limit: Duration) -> Vec<Finding> {
    let checks = features.iter().map(|feature| async {
        timeout(limit, feature.diagnose(app)).await.unwrap_or_else(|_| {
            let text = format!("its checks did not end within {} s", limit.as_secs());
            vec![Finding::warn(feature.name(), text, "Check the network, and that its vendors can be reached from this host")]
        })
    });
    join_all(checks).await.into_iter().flatten().collect()
}

/// How soon data is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Expired data without further use: every hour.
    Expired,
    /// Data kept for a while on purpose: every week.
    Old,
}

/// Result of a clean-up.
#[derive(Debug, Clone, Copy, Default)]
pub struct Removed {
    pub records: u64,
    /// Bytes freed outside of the database.
    pub bytes: u64,
}

impl Removed {
    pub fn records(records: u64) -> Self {
        Self { records, bytes: 0 }
    }
}
