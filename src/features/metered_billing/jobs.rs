//! The job that reports usage: one round of writing reports down and sending them.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::config::Settings;
use super::freeze::freeze;
use super::round::Round;
use crate::app::App;
use crate::app::jobs::{Fail, Job, New, Run};
use crate::features::billing::service as billing;
use crate::platform::id::UserId;

/// Time for writing reports down, and for sending them. A further job does the rest.
const FREEZING: Duration = Duration::from_secs(300);
const SENDING: Duration = Duration::from_secs(1200);

/// Reports what was used since the round before.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct ReportUsage {
    /// The last customer of the job before, if its time ran out.
    #[serde(default)]
    pub after: Option<UserId>,
    /// Whether the job before has written all reports down.
    #[serde(default)]
    pub written: bool,
}

impl Job<App> for ReportUsage {
    const NAME: &'static str = "report_usage";
    const LIMIT: Duration = Duration::from_secs(1800);

    async fn run(self, app: App, run: Run) -> Result<Value, Fail> {
        let stripe = billing::stripe(&app);
        let Some(stripe) = stripe.filter(|_| app.settings::<Settings>().reports(true)) else { return Ok(json!({"enabled": false})) };
        let rest = if self.written { None } else { freeze(&app, self.after, Instant::now() + FREEZING).await? };
        let mut round = Round::new(&app, stripe);
        let is_cut = round.run(Instant::now() + SENDING).await?;
        if rest.is_some() || is_cut {
            let next = Self { written: rest.is_none(), after: rest };
            let new = New { dedupe_key: Some(format!("report_usage:{}", run.key())), ..New::default() };
            app.jobs.enqueue(&app.db, &next, new).await?;
        }
        Ok(round.result())
    }
}
