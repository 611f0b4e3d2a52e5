//! Frames of clients.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::frames::Refused;

/// Longest `id` of a message, in characters.
const ID: usize = 64;

/// What a client asks for.
#[derive(Debug)]
pub enum Request<'a> {
    Ping,
    Auth {
        token: String,
    },
    Subscribe {
        channel: String,
    },
    Unsubscribe {
        channel: String,
    },
    /// `data` is passed on as it was written.
    Message {
        channel: String,
        data: &'a RawValue,
        id: Option<String>,
    },
}

impl Request<'_> {
    /// For metrics and usage.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::Auth { .. } => "auth",
            Self::Subscribe { .. } => "subscribe",
            Self::Unsubscribe { .. } => "unsubscribe",
            Self::Message { .. } => "message",
        }
    }
}

/// A frame that was read: what it asks for, and how errors refer to it.
pub struct Read<'a> {
    pub request: Result<Request<'a>, Refused>,
    pub about: Value,
}

impl<'a> Read<'a> {
    pub fn of(text: &'a str) -> Self {
        // As a value first: it refuses what other clients could not read, such as half of a surrogate pair.
        let object = match serde_json::from_str(text) {
            Ok(Value::Object(object)) => object,
            Ok(_) => return Self { request: Err(Refused::InvalidRequest("The frame is not a JSON object")), about: Value::Null },
            Err(_) => return Self { request: Err(Refused::InvalidJson), about: Value::Null },
        };
        let about = about(&object);
        Self { request: read(text, &object), about }
    }
}

/// What of a frame is repeated in an error: the type, and channel and id as far as they are valid.
fn about(object: &Map<String, Value>) -> Value {
    let short = |name: &str, most: usize| object.get(name).and_then(Value::as_str).filter(|text| text.len() <= most);
    let mut about = Map::new();
    for (name, most) in [("type", 32), ("channel", 128), ("id", ID * 4)] {
        if let Some(text) = short(name, most) {
            about.insert(name.to_owned(), json!(text));
        }
    }
    if about.is_empty() { Value::Null } else { Value::Object(about) }
}

fn read<'a>(text: &'a str, object: &Map<String, Value>) -> Result<Request<'a>, Refused> {
    let text_of = |name: &str| object.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned);
    let channel = || text_of("channel").ok_or(Refused::InvalidRequest("`channel` must be a text that is not empty"));
    match object.get("type").and_then(Value::as_str) {
        Some("ping") => Ok(Request::Ping),
        Some("auth") => {
            let token = text_of("token").ok_or(Refused::InvalidRequest("`token` must be a text that is not empty"))?;
            Ok(Request::Auth { token })
        }
        Some("subscribe") => Ok(Request::Subscribe { channel: channel()? }),
        Some("unsubscribe") => Ok(Request::Unsubscribe { channel: channel()? }),
        Some("message") => {
            let channel = channel()?;
            if object.get("data").is_none_or(Value::is_null) {
                return Err(Refused::InvalidRequest("`data` must be there, and not null"));
            }
            let id = match object.get("id") {
                None | Some(Value::Null) => None,
                Some(Value::String(id)) if (1..=ID).contains(&id.chars().count()) => Some(id.clone()),
                Some(_) => return Err(Refused::InvalidRequest("`id` must be a text of 1 to 64 characters")),
            };
            let mut parts: HashMap<Cow<str>, &RawValue> = serde_json::from_str(text).map_err(|_| Refused::InvalidJson)?;
            let data = parts.remove("data").ok_or(Refused::InvalidJson)?;
            Ok(Request::Message { channel, data, id })
        }
        _ => Err(Refused::UnknownEvent),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_passed_on_as_written() {
        for data in [r#"{"a":1,"a":2}"#, "12345678901234567890123.50", "false", "\"\"", "[ ]", r#""\u00e9""#] {
            let text = format!(r#"{{"type":"message","channel":"c","data":{data},"id":"1"}}"#);
            let Ok(Request::Message { data: read, .. }) = Read::of(&text).request else { panic!("{text}") };
            assert_eq!(read.get(), data);
        }
    }

    #[test]
    fn frames_that_are_no_requests_are_refused() {
        let deep = format!(r#"{{"type":"ping","x":{}{}}}"#, "[".repeat(5000), "]".repeat(5000));
        for (text, code) in [
            ("", "INVALID_JSON"),
            ("{", "INVALID_JSON"),
            (&deep, "INVALID_JSON"),
            (r#"{"type":"message","channel":"c","data":"\ud800"}"#, "INVALID_JSON"),
            ("[]", "INVALID_REQUEST"),
            ("null", "INVALID_REQUEST"),
            ("{}", "UNKNOWN_EVENT"),
            (r#"{"type":7}"#, "UNKNOWN_EVENT"),
            (r#"{"type":"Ping"}"#, "UNKNOWN_EVENT"),
            (r#"{"type":"subscribe"}"#, "INVALID_REQUEST"),
            (r#"{"type":"subscribe","channel":""}"#, "INVALID_REQUEST"),
            (r#"{"type":"subscribe","channel":3}"#, "INVALID_REQUEST"),
            (r#"{"type":"message","channel":"c"}"#, "INVALID_REQUEST"),
            (r#"{"type":"message","channel":"c","data":null}"#, "INVALID_REQUEST"),
            (r#"{"type":"message","channel":"c","data":1,"id":7}"#, "INVALID_REQUEST"),
            (r#"{"type":"auth"}"#, "INVALID_REQUEST"),
        ] {
            let read = Read::of(text);
            let Err(refused) = read.request else { panic!("{text}") };
            let frame = refused.frame(read.about, chrono::DateTime::UNIX_EPOCH);
            assert!(frame.text.contains(code), "{text}: {}", frame.text);
        }
    }
}
