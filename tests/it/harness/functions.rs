//! Functions that misbehave as no feature's does, and what is known of their runs.

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

/// What a job does when it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Way {
    Succeed,
    /// For so many milliseconds.
    Sleep(u64),
    Fail,
    /// Once: not before so many milliseconds.
    FailFor(u64),
    FailForGood,
    Panic,
    NeverEnd,
    /// Holds its thread for so many milliseconds.
    Block(u64),
    /// Gives a text that Postgres does not keep.
    Nul,
}

/// Does what it is told.
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

/// As [`Act`], with little time and one attempt.
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

/// One run of a job, as the job itself saw it.
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

/// Every run of the job so far, the first one first.
pub fn runs(id: JobId) -> Vec<Seen> {
    with_seen(|seen| seen.get(&id).cloned().unwrap_or_default())
}

/// Notes the end whatever way the run ends.
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
