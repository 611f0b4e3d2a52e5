//! `export_user_data` and `remove_exports`.

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
    // Earlier versions kept the document itself in the result: it is only for the user.
    const SHOWN_RESULT: Option<&'static [&'static str]> = Some(&["bytes", "expires_at", "error"]);

    async fn run(self, app: App, run: Run) -> Result<Value, Fail> {
        Ok(match document::store(&app, run.id, &self.user_id).await? {
            Some(export) => json!({"bytes": export.bytes, "expires_at": export.expires_at}),
            None => json!({"error": "User not found"}),
        })
    }
}

/// Removes the documents of an erased user.
#[derive(Debug, Serialize, Deserialize)]
pub struct RemoveExports {
    pub keys: Vec<String>,
}

impl Job<App> for RemoveExports {
    const NAME: &'static str = "remove_exports";
    // High, because a store may be down for hours and the keys are stored nowhere else.
    const MAX_ATTEMPTS: i32 = 20;

    async fn run(self, app: App, _: Run) -> Result<Value, Fail> {
        for key in &self.keys {
            app.storage.delete(key).await?;
        }
        Ok(json!({"removed": self.keys.len()}))
    }
}
