//! News for a user's other devices: a changed resource, or a notice. Features report them inside the transaction that makes them
//! true; other features pass them on, such as to open sockets.

use serde_json::{Value, json};

use crate::platform::id::UserId;

/// A change of one resource: [`Feature::changed`](super::feature::Feature::changed).
#[derive(Debug, Clone)]
pub struct Change {
    pub owner: UserId,
    /// The kind of resource, one of its feature's [`resources`](super::feature::Feature::resources): `project`.
    pub resource: &'static str,
    pub action: Action,
    pub id: String,
    /// The resource as its owner reads it; `None` if it is deleted.
    pub data: Option<Value>,
}

impl Change {
    /// What clients get: `resource`, `action`, `resource_id`; `data` unless the resource is deleted.
    pub fn content(&self) -> Value {
        let mut content = json!({"resource": self.resource, "action": self.action.name(), "resource_id": self.id});
        if let Some(data) = &self.data {
            content["data"] = data.clone();
        }
        content
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Created,
    Updated,
    Deleted,
}

impl Action {
    pub fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Deleted => "deleted",
        }
    }
}

/// Something to tell a user: [`Feature::notify`](super::feature::Feature::notify).
#[derive(Debug, Clone)]
pub struct Notice {
    pub user: UserId,
    /// What it is about, for programs: `usage_warning`.
    pub kind: &'static str,
    pub title: String,
    pub text: String,
    pub data: Value,
}

impl Notice {
    /// What clients get: `title`, `body`, and `data` with the `kind` and its `details`.
    pub fn content(&self) -> Value {
        json!({"title": self.title, "body": self.text, "data": {"kind": self.kind, "details": self.data}})
    }
}
