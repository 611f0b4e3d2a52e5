//! Job functions that succeed, fail, panic or hang on request, and a record of their runs.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use omnistack::app::App;
use omnistack::app::feature::Feature;
use omnistack::app::jobs::{Fail, Job, JobId, Registry, Run};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub struct Functions;

impl Feature<App> for Functions {
    fn name(&self) -> &'static str {
        "functions"
    }

    fn jobs(&self, registry: &mut Registry<App>) {
        registry.add::<Act>();
        registry.add::<Brief>();
    }
}

/// Behaviour of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Way {
    Succeed,
    /// Sleeps for this number of milliseconds.
    Sleep(u64),
    Fail,
    /// Fails once and asks for a retry after this number of milliseconds.
    FailFor(u64),
    FailForGood,
    Panic,
    NeverEnd,
    /// Blocks its thread for this number of milliseconds.
    Block(u64),
    /// Returns text with a NUL character, which Postgres cannot store.
    Nul,
}

/// Job that behaves as `way` says.
#[derive(Debug, Serialize, Deserialize)]
pub struct Act {
    pub way: Way,
    #[serde(default)]
    pub password: Option<String>,
}

impl Act {
    pub fn new(way: Way) -> Self {
        Self { way, password: None }
    }
}

/// Like [`Act`], with a short time limit and a single attempt.
#[derive(Debug, Serialize, Deserialize)]
pub struct Brief {
    pub way: Way,
}

impl Job<App> for Act {
    const NAME: &'static str = "act";
    const SECRETS: &'static [&'static str] = &["password"];

    async fn run(self, _: App, run: Run) -> Result<Value, Fail> {
        act(self.way, &run).await
    }
}

impl Job<App> for Brief {
    const NAME: &'static str = "brief";
    const MAX_ATTEMPTS: i32 = 1;
    const LIMIT: Duration = Duration::from_millis(300);

    async fn run(self, _: App, run: Run) -> Result<Value, Fail> {
        act(self.way, &run).await
    }
}

async fn act(way: Way, run: &Run) -> Result<Value, Fail> {
    let _seen = Seen::start(run);
    match way {
        Way::Sleep(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
        Way::FailFor(ms) if run.attempt == 1 => return Err(Fail::RetryAfter("later".to_owned(), Duration::from_millis(ms))),
        Way::Succeed | Way::FailFor(_) => {}
        Way::Fail => return Err(Fail::Retry("boom".to_owned())),
        Way::FailForGood => return Err(Fail::Dead("never".to_owned())),
        Way::Panic => panic!("kaboom"),
        Way::NeverEnd => std::future::pending().await,
        Way::Block(ms) => std::thread::sleep(Duration::from_millis(ms)),
        Way::Nul => return Ok(json!({"text": "a\0b"})),
    }
    Ok(json!({"attempt": run.attempt}))
}

/// One run of a job, recorded by the job itself.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    id: JobId,
    pub attempt: i32,
    pub started: Instant,
    pub ended: Option<Instant>,
}

static SEEN: LazyLock<Mutex<HashMap<JobId, Vec<Seen>>>> = LazyLock::new(Mutex::default);

fn with_seen<T>(act: impl FnOnce(&mut HashMap<JobId, Vec<Seen>>) -> T) -> T {
    act(&mut SEEN.lock().unwrap_or_else(PoisonError::into_inner))
}

/// All runs of the job, oldest first.
pub fn runs(id: JobId) -> Vec<Seen> {
    with_seen(|seen| seen.get(&id).cloned().unwrap_or_default())
}

/// Records the end of a run when dropped, also on panic and abort.
struct Ends(Seen);

impl Seen {
    fn start(run: &Run) -> Ends {
        let seen = Self { id: run.id, attempt: run.attempt, started: Instant::now(), ended: None };
        with_seen(|all| all.entry(run.id).or_default().push(seen));
        Ends(seen)
    }
}

impl Drop for Ends {
    fn drop(&mut self) {
        with_seen(|all| {
            if let Some(seen) = all.get_mut(&self.0.id).and_then(|runs| runs.iter_mut().find(|seen| seen.started == self.0.started)) {
                seen.ended = Some(Instant::now());
            }
        });
    }
}
