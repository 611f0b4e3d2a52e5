//! News for a user's other devices: a changed resource, or a notice. Features report them inside the transaction that makes them
//! true; other features pass them on, such as to open sockets.

use serde_json::Value;

use super::App;
use crate::platform::db::Tx;
use crate::platform::error::Result;
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

impl App {
    /// Reports a change of a resource, in the transaction that makes it.
    pub async fn changed(&self, tx: &mut Tx, change: &Change) -> Result<()> {
        for feature in &self.features {
            feature.changed(self, tx, change).await?;
        }
        Ok(())
    }

    /// Tells a user something, once the transaction is committed.
    pub async fn notify(&self, tx: &mut Tx, notice: &Notice) -> Result<()> {
        for feature in &self.features {
            feature.notify(self, tx, notice).await?;
        }
        Ok(())
    }
}
