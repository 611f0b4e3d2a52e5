//! `export_user_data`.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::app::App;
use crate::app::jobs::{Fail, Job, Run};
use crate::platform::id::UserId;

#[derive(Debug, Serialize, Deserialize)]
pub struct ExportUserData {
    pub user_id: UserId,
}

impl Job<App> for ExportUserData {
    const NAME: &'static str = "export_user_data";

    async fn run(self, app: App, _: Run) -> Result<Value, Fail> {
        let mut document = Map::new();
        for feature in &app.features {
            document.extend(feature.export(&app, &self.user_id).await?);
        }
        if !document.contains_key("user") {
            return Ok(json!({"error": "User not found"}));
        }
        document.insert("exported_at".to_owned(), json!(app.clock.now()));
        Ok(Value::Object(document))
    }
}
