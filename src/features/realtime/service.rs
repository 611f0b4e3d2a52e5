//! What other features and the hooks send: to a user, to a channel, to everybody; and the status.

use serde_json::{Value, json};

use super::bridge::Target;
use super::channel;
use super::frames::{Frame, Kind};
use super::model::SocketStatus;
use super::state::State;
use crate::app::App;
use crate::app::news::{Action, Change, Notice};
use crate::platform::actor::CurrentUser;
use crate::platform::auth::Role;
use crate::platform::id::UserId;

/// Something that the server sends without being asked. Send it once the change is committed: `tx.after_commit`.
#[derive(Debug, Clone)]
pub enum Push {
    Notification { title: String, body: String, data: Option<Value> },
    Update { resource: String, action: Action, resource_id: String, data: Option<Value> },
}

impl Push {
    fn frame(&self, app: &App, channel: Option<&str>) -> Frame {
        let (kind, mut content, data) = match self {
            Self::Notification { title, body, data } => (Kind::Notification, json!({"title": title, "body": body}), data),
            Self::Update { resource, action, resource_id, data } => {
                (Kind::Update, json!({"resource": resource, "action": action.name(), "resource_id": resource_id}), data)
            }
        };
        if let Some(data) = data {
            content["data"] = data.clone();
        }
        Frame::new(kind, content, channel, app.clock.now())
    }
}

/// Sends to every connection of a user, whatever they are subscribed to.
pub fn send_to_user(app: &App, user: &UserId, push: &Push) {
    app.state::<State>().running().bridge.send(&Target::User(user.clone()), &push.frame(app, None), None);
}

/// Sends to every subscriber of a channel but the connections of one user.
pub fn send_to_channel(app: &App, channel: &str, push: &Push, but: Option<&UserId>) {
    let frame = push.frame(app, Some(channel));
    app.state::<State>().running().bridge.send(&Target::Channel(channel.to_owned()), &frame, but);
}

/// Sends to every connection.
pub fn broadcast(app: &App, push: &Push) {
    app.state::<State>().running().bridge.send(&Target::All, &push.frame(app, None), None);
}

/// Sends a change of a resource to those who listen to it, and to the other connections of its owner.
pub fn send_change(app: &App, change: &Change) {
    let (name, content, now) = (channel::of_resource(change.resource, &change.id), change.content(), app.clock.now());
    let frame = |channel| Frame::new(Kind::Update, &content, channel, now);
    app.state::<State>().running().bridge.send_change(&change.owner, &name, &frame(Some(name.as_str())), &frame(None));
}

pub fn send_notice(app: &App, notice: &Notice) {
    let frame = Frame::new(Kind::Notification, notice.content(), None, app.clock.now());
    app.state::<State>().running().bridge.send(&Target::User(notice.user.clone()), &frame, None);
}

/// The state of this instance, and of all together. Only administrators see who is online.
pub async fn status(app: &App, user: &CurrentUser) -> SocketStatus {
    let state = app.state::<State>();
    let online = state.running().presence.online().await;
    SocketStatus {
        status: "running",
        local_connections: state.hub().connections(),
        local_users: state.hub().users(),
        total_online_users: online.total,
        online_user_ids: if user.role >= Role::Admin { online.users } else { Vec::new() },
    }
}

/// Ends the connections of a user who is no more.
pub fn end(app: &App, user: &UserId) {
    app.state::<State>().hub().end(user);
}

/// Asks the connections of a user to check whether they may still be open.
pub fn check(app: &App, user: &UserId) {
    app.state::<State>().hub().check(user);
}
