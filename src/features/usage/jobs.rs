//! `warn_of_usage`: tells a user that a monthly quota comes to its end.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::app::App;
use crate::app::jobs::{Fail, Job, Run};
use crate::app::news::Notice;
use crate::features::emails::service::{permit, unsent};
use crate::features::users::service as users;
use crate::platform::id::UserId;

/// Sends a mail, and tells the features that reach the user in other ways.
#[derive(Debug, Serialize, Deserialize)]
pub struct WarnOfUsage {
    pub user_id: UserId,
    pub metric: String,
    /// The month, such as `2026-11`.
    pub period: String,
    pub plan: String,
    /// Percent of the limit that are used.
    pub threshold: i64,
}

impl Job<App> for WarnOfUsage {
    const NAME: &'static str = "warn_of_usage";

    async fn run(self, app: App, run: Run) -> Result<Value, Fail> {
        let Some(email) = users::accounts::email(&app.db, &self.user_id).await? else { return Ok(unsent()) };
        let (subject, message) = self.texts();
        let sent = match permit(&app, &run, &self.purpose(), &email).await? {
            Some(permit) => {
                let data = json!({"title": subject, "message": message});
                permit.send_template(&app, subject.clone(), "notification", data).await?
            }
            None => unsent(),
        };
        let notice = Notice { user: self.user_id.clone(), kind: "usage_warning", title: subject, text: message, data: json!(self) };
        crate::transaction!(app.db, |tx| { app.notify(tx, &notice).await })?;
        Ok(sent)
    }
}

impl WarnOfUsage {
    /// Warnings about one metric never hold back those about another.
    fn purpose(&self) -> String {
        format!("usage_warning_{}", self.metric)
    }

    fn texts(&self) -> (String, String) {
        let what = if self.metric == "ai_requests" { "AI requests" } else { "API requests" };
        let plan = &self.plan;
        if self.threshold >= 100 {
            let then = "The count starts again on the first of next month (UTC).";
            let message = format!("All {what} that the plan {plan} includes each month are used. {then}");
            (format!("You have used all {what} of this month"), message)
        } else {
            let used = self.threshold;
            let message = format!("{used} % of the {what} that the plan {plan} includes each month are used.");
            (format!("You have used {used} % of your {what}"), message)
        }
    }
}
