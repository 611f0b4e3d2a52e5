//! `generate_daily_report`.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::app::App;
use crate::app::jobs::{Fail, Job, Run};
use crate::features::users;

#[derive(Debug, Default, Serialize, Deserialize)]
pub struct GenerateDailyReport {}

impl Job<App> for GenerateDailyReport {
    const NAME: &'static str = "generate_daily_report";

    async fn run(self, app: App, _: Run) -> Result<Value, Fail> {
        let figures = users::service::figures(&app).await?;
        let report = json!({
            "date": app.clock.now().date_naive(),
            "total_users": figures.total,
            "active_users_24h": figures.active_24h,
            "new_users_today": figures.new_today,
        });
        tracing::info!(%report, "daily report");
        Ok(report)
    }
}
