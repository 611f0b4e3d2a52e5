//! Settings of WebSockets.

use std::time::Duration;

use crate::platform::config::{Choice, Env, Section};

/// Outgoing frames of a connection that wait at most, and their bytes.
pub const QUEUED_FRAMES: usize = 256;
const QUEUED_BYTES: usize = 1 << 20;
/// What a frame has beside the content that a client sent.
const ENVELOPE: usize = 1024;

#[derive(Debug, Clone)]
pub struct Settings {
    /// Largest message of a client, in bytes.
    pub message_bytes: usize,
    /// Connections of a user to one instance.
    pub connections_per_user: usize,
    pub subscriptions: usize,
    /// Frames of a client per second; twice as many may come at once.
    pub message_rate: u32,
    pub ping_interval: Duration,
    /// Who may follow who is online.
    pub presence: Audience,
    /// Whether there are channels without a rule of their own.
    pub open_rooms: bool,
}

/// Who may subscribe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    All,
    Admins,
    Off,
}

impl Choice for Audience {
    const NAMES: &'static [(&'static str, Self)] = &[("all", Self::All), ("admins", Self::Admins), ("off", Self::Off)];
}

impl Section for Settings {
    fn read(env: &mut Env) -> Self {
        env.section("WebSockets");
        let settings = Self {
            message_bytes: env.var("WS_MAX_MESSAGE_BYTES", "Largest message of a client; a larger one closes the connection").checked(
                65_536,
                |bytes| (128..=1 << 20).contains(bytes),
                "from 128 to 1048576",
            ),
            connections_per_user: env.var("WS_MAX_CONNECTIONS_PER_USER", "Open connections of one user to an instance").checked(
                10,
                |connections| (1..=10_000).contains(connections),
                "from 1 to 10000",
            ),
            subscriptions: env.var("WS_MAX_SUBSCRIPTIONS", "Channels that a connection may subscribe to").checked(
                100,
                |channels| (1..=10_000).contains(channels),
                "from 1 to 10000",
            ),
            message_rate: env.var("WS_MESSAGE_RATE", "Messages of a connection per second; twice as many may come at once").checked(
                50,
                |rate| (1..=10_000).contains(rate),
                "from 1 to 10000",
            ),
            ping_interval: env.var("WS_PING_INTERVAL", "Seconds between pings; a connection that misses two is closed").checked(
                Duration::from_secs(30),
                |interval| (1..=3600).contains(&interval.as_secs()),
                "from 1 to 3600",
            ),
            presence: env.var("WS_PRESENCE", "Who may see who is online: `all`, `admins` or `off`").or(Audience::All),
            open_rooms: env.var("WS_OPEN_ROOMS", "Any user may use any channel that has no rule of its own, such as `room:lobby`").or(true),
        };
        if env.environment().is_production() {
            if settings.presence == Audience::All {
                env.warning("WS_PRESENCE", "is `all`: every user sees who is online", "Set `admins` or `off`, unless that is wanted");
            }
            if settings.open_rooms {
                env.warning(
                    "WS_OPEN_ROOMS",
                    "is true: users can talk to each other on channels of their own choice",
                    "Set it to false, unless that is wanted",
                );
            }
        }
        settings
    }
}

impl Settings {
    /// Most bytes that wait to be sent on one connection: more than the largest frame.
    pub fn queued_bytes(&self) -> usize {
        QUEUED_BYTES.max(self.message_bytes + ENVELOPE)
    }
}
