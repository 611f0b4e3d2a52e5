//! Changes and notices as the data of events, in the form that WebSocket frames have, too.

use serde_json::{Value, json};

use crate::app::news::{Change, Notice};

pub const UPDATE: &str = "update";
pub const NOTIFICATION: &str = "notification";

/// `resource`, `action`, `resource_id`; `data` unless the resource is deleted.
pub fn update(change: &Change) -> Value {
    let mut update = json!({"resource": change.resource, "action": change.action.name(), "resource_id": change.id});
    if let (Some(members), Some(data)) = (update.as_object_mut(), &change.data) {
        members.insert("data".to_owned(), data.clone());
    }
    update
}

/// `title`, `body`, and `data` with the notice's `kind` and `details`.
pub fn notification(notice: &Notice) -> Value {
    json!({"title": notice.title, "body": notice.text, "data": {"kind": notice.kind, "details": notice.data}})
}
