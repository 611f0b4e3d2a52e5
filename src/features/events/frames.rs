//! Server-sent events as bytes. Data is JSON on one line.

use std::fmt::{Display, Write as _};
use std::time::Duration;

use super::position::Position;

/// A comment, while there is nothing to say and no id to tell.
pub const KEEP_ALIVE: &str = ": keep-alive\n\n";

/// Writes an event.
pub fn event(out: &mut String, name: &str, id: Position, data: &impl Display) {
    let _ = write!(out, "event: {name}\nid: {id}\ndata: {data}\n\n");
}

/// Writes an id without data: the client remembers it, and nothing is dispatched
/// (<https://html.spec.whatwg.org/multipage/server-sent-events.html#dispatchMessage>).
pub fn heartbeat(out: &mut String, id: Position) {
    let _ = write!(out, ": keep-alive\nid: {id}\n\n");
}

/// Writes the time after which the client reconnects.
pub fn retry(out: &mut String, after: Duration) {
    let _ = write!(out, "retry: {}\n\n", after.as_millis());
}
