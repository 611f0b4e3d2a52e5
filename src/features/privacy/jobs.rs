//! `export_user_data`.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::service::document;
use crate::app::App;
use crate::app::jobs::{Fail, Job, Run};
use crate::platform::id::UserId;

#[derive(Debug, Serialize, Deserialize)]
pub struct ExportUserData {
    pub user_id: UserId,
}

impl Job<App> for ExportUserData {
    const NAME: &'static str = "export_user_data";
    const LIMIT: Duration = document::LIMIT;
    // Earlier versions kept the document itself in the result: it is only for the user.
    const SHOWN_RESULT: Option<&'static [&'static str]> = Some(&["bytes", "expires_at", "error"]);

    async fn run(self, app: App, run: Run) -> Result<Value, Fail> {
        Ok(match document::store(&app, run.id, &self.user_id).await? {
            Some(export) => json!({"bytes": export.bytes, "expires_at": export.expires_at}),
            None => json!({"error": "User not found"}),
        })
    }
}
