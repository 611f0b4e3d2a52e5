//! Frames of the server: one JSON object each, serialised once for all receivers.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use serde_json::Value;

use crate::platform::http::websocket::Utf8Bytes;
use crate::platform::id::UserId;

/// Types of frames that the server sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    Connected,
    Authenticated,
    Expiring,
    Subscribed,
    Unsubscribed,
    Pong,
    Ack,
    Message,
    UserOnline,
    UserOffline,
    Notification,
    Update,
    Error,
}

impl Kind {
    pub const ALL: [Self; 13] = [
        Self::Connected,
        Self::Authenticated,
        Self::Expiring,
        Self::Subscribed,
        Self::Unsubscribed,
        Self::Pong,
        Self::Ack,
        Self::Message,
        Self::UserOnline,
        Self::UserOffline,
        Self::Notification,
        Self::Update,
        Self::Error,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Authenticated => "authenticated",
            Self::Expiring => "expiring",
            Self::Subscribed => "subscribed",
            Self::Unsubscribed => "unsubscribed",
            Self::Pong => "pong",
            Self::Ack => "ack",
            Self::Message => "message",
            Self::UserOnline => "user_online",
            Self::UserOffline => "user_offline",
            Self::Notification => "notification",
            Self::Update => "update",
            Self::Error => "error",
        }
    }
}

/// A serialised frame. Cheap to clone: receivers share its bytes.
#[derive(Debug, Clone)]
pub struct Frame {
    /// `None` for a type that this version does not know, sent by another instance.
    pub kind: Option<Kind>,
    pub text: Utf8Bytes,
}

#[derive(Serialize)]
struct Shape<'a, D> {
    r#type: &'static str,
    data: D,
    timestamp: String,
    channel: Option<&'a str>,
}

impl Frame {
    pub fn new(kind: Kind, data: impl Serialize, channel: Option<&str>, now: DateTime<Utc>) -> Self {
        let timestamp = now.to_rfc3339_opts(SecondsFormat::Micros, true);
        // Maps with keys that are no strings cannot be written: none of the frames has one.
        let text = serde_json::to_string(&Shape { r#type: kind.name(), data, timestamp, channel }).unwrap_or_default();
        Self { kind: Some(kind), text: text.into() }
    }
}

/// Why a client's frame had no effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    InvalidJson,
    InvalidRequest(&'static str),
    UnknownEvent,
    InvalidChannel,
    Forbidden,
    NotSubscribed,
    SubscriptionLimit(usize),
    RateLimited(u32),
    /// The service cannot answer at the moment.
    Unavailable,
}

#[derive(Serialize)]
struct Problem {
    code: &'static str,
    message: String,
    details: Value,
}

impl Refused {
    fn code(self) -> &'static str {
        match self {
            Self::InvalidJson => "INVALID_JSON",
            Self::InvalidRequest(_) => "INVALID_REQUEST",
            Self::UnknownEvent => "UNKNOWN_EVENT",
            Self::InvalidChannel => "INVALID_CHANNEL",
            Self::Forbidden => "FORBIDDEN",
            Self::NotSubscribed => "NOT_SUBSCRIBED",
            Self::SubscriptionLimit(_) => "SUBSCRIPTION_LIMIT",
            Self::RateLimited(_) => "RATE_LIMITED",
            Self::Unavailable => "SERVICE_UNAVAILABLE",
        }
    }

    fn message(self) -> String {
        match self {
            Self::InvalidJson => "The frame is not JSON".to_owned(),
            Self::InvalidRequest(why) => why.to_owned(),
            Self::UnknownEvent => "The type is none of ping, subscribe, unsubscribe, message, auth".to_owned(),
            Self::InvalidChannel => "A channel has 1 to 128 characters of A-Z a-z 0-9 _ . : | @ -".to_owned(),
            Self::Forbidden => "You may not use this channel in this way".to_owned(),
            Self::NotSubscribed => "Subscribe to the channel first".to_owned(),
            Self::SubscriptionLimit(most) => format!("A connection may subscribe to {most} channels"),
            Self::RateLimited(rate) => format!("More than {rate} messages per second: this one was dropped"),
            Self::Unavailable => "The service cannot answer at the moment: try again".to_owned(),
        }
    }

    /// The `error` frame. `about` tells which frame of the client it answers, or is null.
    pub fn frame(self, about: Value, now: DateTime<Utc>) -> Frame {
        Frame::new(Kind::Error, Problem { code: self.code(), message: self.message(), details: about }, None, now)
    }
}

/// The data of `user_online` and `user_offline`.
#[derive(Serialize)]
pub struct Presence<'a> {
    pub user_id: &'a UserId,
}
