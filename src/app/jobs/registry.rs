//! The functions that this binary knows, by name; filled by the features' `jobs` hooks.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::model::Run;
use super::{Fail, Job};
use crate::app::App;

type Attempt = Pin<Box<dyn Future<Output = Result<Value, Fail>> + Send>>;

/// What is known of a function.
pub(super) struct Function {
    pub name: &'static str,
    pub max_attempts: i32,
    pub limit: Duration,
    secrets: &'static [&'static str],
    start: fn(App, Run, &str) -> Attempt,
    check: fn(&str) -> Result<(), serde_json::Error>,
}

/// Every function of every feature.
#[derive(Default)]
pub struct Registry(BTreeMap<&'static str, Arc<Function>>);

impl Registry {
    /// Adds a function. Two of one name panic here, at the start.
    pub fn add<J: Job>(&mut self) {
        let function = Function {
            name: J::NAME,
            max_attempts: J::MAX_ATTEMPTS,
            limit: J::LIMIT,
            secrets: J::SECRETS,
            start: start::<J>,
            check: |payload| parse::<J>(payload).map(|_| ()),
        };
        assert!(self.0.insert(J::NAME, Arc::new(function)).is_none(), "two functions are called {}", J::NAME);
    }

    /// By its name, or by one with the path that it once had before it.
    pub(super) fn find(&self, name: &str) -> Option<&Arc<Function>> {
        let short = name.strip_prefix("app.jobs.").and_then(|path| path.split_once('.')).map_or(name, |(_, short)| short);
        self.0.get(short)
    }

    pub fn names(&self) -> Vec<&'static str> {
        self.0.keys().copied().collect()
    }

    /// A payload as it may be shown: what its function declares a secret is masked, and so is what nobody can read.
    pub fn shown(&self, function: &str, payload: &str) -> Value {
        let Ok(Value::Object(mut members)) = serde_json::from_str(payload) else { return serde_json::json!({}) };
        let secrets = self.find(function).map_or(&[][..], |function| function.secrets);
        for (name, value) in &mut members {
            if secrets.contains(&name.as_str()) {
                *value = "***".into();
            }
        }
        Value::Object(members)
    }
}

impl Function {
    pub fn start(&self, app: App, run: Run, payload: &str) -> Attempt {
        (self.start)(app, run, payload)
    }

    /// Whether the payload is one of this function's.
    pub fn check(&self, payload: &str) -> Result<(), serde_json::Error> {
        (self.check)(payload)
    }
}

fn start<J: Job>(app: App, run: Run, payload: &str) -> Attempt {
    match parse::<J>(payload) {
        Ok(job) => Box::pin(job.run(app, run)),
        Err(error) => Box::pin(std::future::ready(Err(Fail::Dead(format!("payload: {error}"))))),
    }
}

/// An object only: serde would read a struct from an array too.
fn parse<J: Job>(payload: &str) -> Result<J, serde_json::Error> {
    if !payload.trim_start().starts_with('{') {
        return Err(serde::de::Error::custom("not a JSON object"));
    }
    // Serde names the value it stumbled over, which may be a secret: only where, not what, is told.
    serde_json::from_str(payload).map_err(|error| match error.classify() {
        serde_json::error::Category::Data if J::SECRETS.is_empty() => error,
        _ => serde::de::Error::custom(format!("does not fit at column {}", error.column())),
    })
}
