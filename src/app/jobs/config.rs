//! Settings of the worker.

use std::time::Duration;

use crate::platform::config::{Env, Section};

#[derive(Debug, Clone)]
pub struct Config {
    /// Whether `serve` runs jobs itself.
    pub enabled: bool,
    /// Jobs that run at once in one process.
    pub concurrency: usize,
    /// How long a claimed job is left to a worker that no longer says that it lives.
    pub lease: Duration,
}

impl Section for Config {
    fn read(env: &mut Env) -> Self {
        env.section("Jobs");
        Self {
            enabled: env.var("WORKER_ENABLED", "Run jobs in the `serve` process; otherwise run `omnistack worker`").or(true),
            concurrency: env.var("WORKER_CONCURRENCY", "Maximum number of jobs that run at the same time in one process").checked(
                10,
                |n| (1..=1000).contains(n),
                "from 1 to 1000",
            ),
            lease: env.var("WORKER_LEASE_SECONDS", "Lease of a running job; another worker takes it over if it is not renewed").checked(
                Duration::from_secs(30),
                |d| (1..=3600).contains(&d.as_secs()),
                "from 1 to 3600",
            ),
        }
    }
}
