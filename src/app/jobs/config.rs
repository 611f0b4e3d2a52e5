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
            enabled: env.var("WORKER_ENABLED", "Whether `serve` runs jobs itself; if not, `omnistack worker` must run beside it").or(true),
            concurrency: env.var("WORKER_CONCURRENCY", "Jobs that run at once in one process").checked(
                10,
                |n| (1..=1000).contains(n),
                "from 1 to 1000",
            ),
            lease: env
                .var("WORKER_LEASE_SECONDS", "After this time without a sign of life from its worker, a job is started again elsewhere")
                .checked(Duration::from_secs(30), |d| (1..=3600).contains(&d.as_secs()), "from 1 to 3600"),
        }
    }
}
