//! `export_user_data`.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::app::App;
use crate::app::jobs::{Fail, Job, Run};

#[derive(Debug, Serialize, Deserialize)]
pub struct ExportUserData {
    pub user_id: String,
}

impl Job for ExportUserData {
    const NAME: &'static str = "export_user_data";

    async fn run(self, app: App, _: Run) -> Result<Value, Fail> {
        // There from the start, so that the document has one shape whatever features are installed.
        let mut document: Map<String, Value> = ["projects", "files"].map(|name| (name.to_owned(), json!([]))).into_iter().collect();
        for feature in &app.features {
            document.extend((feature.export)(app.clone(), self.user_id.clone()).await?);
        }
        if !document.contains_key("user") {
            return Ok(json!({"error": "User not found"}));
        }
        document.insert("exported_at".to_owned(), json!(app.clock.now()));
        Ok(Value::Object(document))
    }
}
