//! Job functions of this binary, by name; filled by the features' `jobs` hooks.
//!
//! The queue needs only their [`Catalog`]: names, limits, checks. The worker holds their code, as [`Functions`].

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::fail::Fail;
use super::job::Job;
use super::model::Run;

/// A running attempt.
pub(super) type Attempt = Pin<Box<dyn Future<Output = Result<Value, Fail>> + Send>>;

/// Metadata of a function.
pub(super) struct Function {
    pub name: &'static str,
    pub max_attempts: i32,
    pub limit: Duration,
    secrets: &'static [&'static str],
    shown_result: Option<&'static [&'static str]>,
    check: fn(&str) -> Result<(), serde_json::Error>,
}

/// Metadata of every function, by name.
#[derive(Default)]
pub struct Catalog(BTreeMap<&'static str, Function>);

/// Every function of every feature, with its code.
pub struct Registry<A> {
    catalog: Catalog,
    start: Starts<A>,
}

/// How each function is started, by name.
type Starts<A> = BTreeMap<&'static str, fn(A, Run, &str) -> Attempt>;

/// Starts functions for a worker.
pub(super) trait Functions: Send + Sync {
    /// `None` for a name that this binary does not know.
    fn start(&self, name: &str, run: Run, payload: &str) -> Option<Attempt>;
}

/// The code of the functions together with the application that it runs with.
pub(super) struct Bound<A> {
    pub app: A,
    pub start: Arc<Starts<A>>,
}

impl<A> Default for Registry<A> {
    fn default() -> Self {
        Self { catalog: Catalog::default(), start: BTreeMap::new() }
    }
}

impl<A: 'static> Registry<A> {
    /// Adds a function. Panics if the name is taken.
    pub fn add<J: Job<A>>(&mut self) {
        let function = Function {
            name: J::NAME,
            max_attempts: J::MAX_ATTEMPTS,
            limit: J::LIMIT,
            secrets: J::SECRETS,
            shown_result: J::SHOWN_RESULT,
            check: |payload| parse::<A, J>(payload).map(|_| ()),
        };
        assert!(self.catalog.0.insert(J::NAME, function).is_none(), "two functions are called {}", J::NAME);
        self.start.insert(J::NAME, start::<A, J>);
    }

    /// Splits into the part for the queue and the part for the worker.
    pub fn split(self) -> (Catalog, Code<A>) {
        (self.catalog, Code(Arc::new(self.start)))
    }
}

/// The code of every function. Cheap to clone (`Arc`).
pub struct Code<A>(pub(super) Arc<Starts<A>>);

impl<A> Clone for Code<A> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<A: Clone + Send + Sync + 'static> Functions for Bound<A> {
    fn start(&self, name: &str, run: Run, payload: &str) -> Option<Attempt> {
        self.start.get(name).map(|start| start(self.app.clone(), run, payload))
    }
}

impl Catalog {
    /// Finds a function by its name, or by its name in the service that we take over (`app.jobs.<module>.<name>`).
    pub(super) fn find(&self, name: &str) -> Option<&Function> {
        let short = name.strip_prefix("app.jobs.").and_then(|path| path.split_once('.')).map_or(name, |(_, short)| short);
        self.0.get(short)
    }

    pub fn names(&self) -> Vec<&'static str> {
        self.0.keys().copied().collect()
    }

    /// The members of a function's payload that are secrets.
    pub fn secrets(&self, function: &str) -> &'static [&'static str] {
        self.find(function).map_or(&[], |function| function.secrets)
    }

    /// Returns an outcome for display: without the members of the result that its function hides.
    pub fn shown_outcome(&self, function: &str, mut outcome: Value) -> Value {
        if let (Some(shown), Value::Object(members)) = (self.find(function).and_then(|function| function.shown_result), &mut outcome) {
            members.retain(|name, _| shown.contains(&name.as_str()));
        }
        outcome
    }

    /// Returns a payload for display: members that its function declares as secrets are masked. An invalid payload becomes
    /// an empty object.
    pub fn shown(&self, function: &str, payload: &str) -> Value {
        let Ok(Value::Object(mut members)) = serde_json::from_str(payload) else { return serde_json::json!({}) };
        let secrets = self.secrets(function);
        for (name, value) in &mut members {
            if secrets.contains(&name.as_str()) {
                *value = "***".into();
            }
        }
        Value::Object(members)
    }
}

impl Function {
    /// Fails unless the payload fits this function.
    pub fn check(&self, payload: &str) -> Result<(), serde_json::Error> {
        (self.check)(payload)
    }
}

fn start<A: 'static, J: Job<A>>(app: A, run: Run, payload: &str) -> Attempt {
    match parse::<A, J>(payload) {
        Ok(job) => Box::pin(job.run(app, run)),
        Err(error) => Box::pin(std::future::ready(Err(Fail::Dead(format!("payload: {error}"))))),
    }
}

/// Parses a JSON object; rejects arrays, from which serde would also read a struct.
fn parse<A, J: Job<A>>(payload: &str) -> Result<J, serde_json::Error> {
    if !payload.trim_start().starts_with('{') {
        return Err(serde::de::Error::custom("not a JSON object"));
    }
    // Serde's message repeats the invalid value. If the payload may hold secrets, only the column is reported.
    serde_json::from_str(payload).map_err(|error| match error.classify() {
        serde_json::error::Category::Data if J::SECRETS.is_empty() => error,
        _ => serde::de::Error::custom(format!("does not fit at column {}", error.column())),
    })
}
