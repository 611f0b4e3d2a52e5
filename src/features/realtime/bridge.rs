//! Delivery on all instances: at once on this one, on the others through one Redis channel. An instance ignores its own messages.
//! While Redis is down, delivery is to this instance alone.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::watch;
use tokio::time::{Duration, timeout};

use super::channel;
use super::frames::{Frame, Kind};
use super::hub::Hub;
use crate::platform::id::UserId;
use crate::platform::redis::{Heard, Redis};

const CHANNEL: &str = "ws:messages";
/// How long a subscription waits for the first connection to Redis.
const FIRST_LINK: Duration = Duration::from_secs(2);

/// Receivers of a frame.
#[derive(Debug, Clone)]
pub enum Target {
    All,
    User(UserId),
    Channel(String),
}

pub struct Bridge {
    hub: Arc<Hub>,
    /// The id of this instance.
    origin: String,
    shared: Option<(Redis, watch::Receiver<Link>)>,
}

/// Whether messages of other instances arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    /// Not known yet.
    Opening,
    Up,
    Down,
}

/// A message between instances.
#[derive(Serialize, Deserialize)]
struct Envelope<'a> {
    origin: &'a str,
    target: &'a str,
    #[serde(borrow)]
    message: &'a RawValue,
    exclude_user_id: Option<UserId>,
}

/// What the delivery needs to know of another instance's frame.
#[derive(Deserialize)]
struct Outline {
    r#type: String,
    data: Option<About>,
}

#[derive(Deserialize)]
struct About {
    resource: Option<String>,
    resource_id: Option<String>,
}

impl Bridge {
    /// Begins to listen to the other instances.
    pub fn new(hub: Arc<Hub>, origin: String, redis: Option<Redis>) -> Self {
        let shared = redis.map(|redis| {
            let (link, state) = watch::channel(Link::Opening);
            let (listening, own) = (hub.clone(), origin.clone());
            redis.listen(CHANNEL, move |heard| match heard {
                Heard::Connected => {
                    link.send_replace(Link::Up);
                }
                Heard::Lost => {
                    link.send_replace(Link::Down);
                }
                Heard::Message(text) => receive(&listening, &own, &text),
            });
            (redis, state)
        });
        Self { hub, origin, shared }
    }

    /// Waits until messages of other instances arrive, or are known not to.
    pub async fn armed(&self) {
        if let Some((_, link)) = &self.shared {
            let mut link = link.clone();
            // Otherwise Redis is too slow, which is as good as down.
            let _ = timeout(FIRST_LINK, link.wait_for(|link| *link != Link::Opening)).await;
        }
    }

    /// Sends a frame to its receivers on every instance, without those of `but`. Returns at once.
    pub fn send(&self, target: &Target, frame: &Frame, but: Option<&UserId>) {
        self.send_unless(target, frame, but, None);
    }

    /// As [`Bridge::send`]; connections that are subscribed to `unless` get it there.
    fn send_unless(&self, target: &Target, frame: &Frame, but: Option<&UserId>, unless: Option<&str>) {
        deliver(&self.hub, target, frame, but, unless);
        if let Some((redis, _)) = &self.shared {
            redis.publish(CHANNEL, self.envelope(target, frame, but));
        }
    }

    /// As [`Bridge::send`], but waits while too many messages wait for Redis.
    pub async fn send_in_turn(&self, target: &Target, frame: &Frame, but: Option<&UserId>) {
        deliver(&self.hub, target, frame, but, None);
        if let Some((redis, _)) = &self.shared {
            redis.publish_in_turn(CHANNEL, self.envelope(target, frame, but)).await;
        }
    }

    /// Sends a change of a resource to its channel, and to the other connections of its owner.
    pub fn send_change(&self, owner: &UserId, name: &str, on_channel: &Frame, to_owner: &Frame) {
        self.send(&Target::Channel(name.to_owned()), on_channel, None);
        self.send_unless(&Target::User(owner.clone()), to_owner, None, Some(name));
    }

    fn envelope(&self, target: &Target, frame: &Frame, but: Option<&UserId>) -> String {
        let name = match target {
            Target::All => "broadcast".to_owned(),
            Target::User(user) => format!("user:{}", user.as_str()),
            Target::Channel(channel) => format!("channel:{channel}"),
        };
        // Neither fails: the frame is JSON that was written here.
        let Ok(message) = serde_json::from_str(&frame.text) else { return String::new() };
        let envelope = Envelope { origin: &self.origin, target: &name, message, exclude_user_id: but.cloned() };
        serde_json::to_string(&envelope).unwrap_or_default()
    }
}

fn deliver(hub: &Hub, target: &Target, frame: &Frame, but: Option<&UserId>, unless: Option<&str>) {
    match target {
        Target::All => hub.to_all(frame, but),
        Target::User(user) => hub.to_user(user, frame, unless),
        Target::Channel(channel) => hub.to_channel(channel, frame, but),
    }
}

/// Delivers a message of another instance.
fn receive(hub: &Hub, own: &str, text: &str) {
    let Ok(envelope) = serde_json::from_str::<Envelope>(text) else {
        tracing::debug!("a message on the channel of the instances is not understood");
        return;
    };
    if envelope.origin == own {
        return;
    }
    let target = match envelope.target.split_once(':') {
        None if envelope.target == "broadcast" => Target::All,
        Some(("user", id)) => match UserId::parse(id) {
            Some(user) => Target::User(user),
            None => return,
        },
        Some(("channel", channel)) => Target::Channel(channel.to_owned()),
        _ => return,
    };
    let Ok(outline) = serde_json::from_str::<Outline>(envelope.message.get()) else { return };
    let kind = Kind::ALL.into_iter().find(|kind| kind.name() == outline.r#type);
    let frame = Frame { kind, text: envelope.message.get().into() };
    // Connections that listen to the resource itself get its change there.
    let own_channel = match (kind, outline.data) {
        (Some(Kind::Update), Some(About { resource: Some(resource), resource_id: Some(id) })) => Some(channel::of_resource(&resource, &id)),
        _ => None,
    };
    deliver(hub, &target, &frame, envelope.exclude_user_id.as_ref(), own_channel.as_deref());
}
