//! Frames that break the protocol, byte by byte. None harms another connection.

use super::{connect, connections};
use tokio::io::AsyncReadExt;

use crate::harness::raw::{Raw, within};
use crate::harness::{Backend, Client, TestApp, eventually};

crate::on_sqlite![
    client_that_closes_while_frames_are_sent_gets_a_reply,
    broken_frames_close_with_the_code_of_their_fault,
    close_frames_are_answered,
    frames_in_single_bytes_and_fragments_are_read,
    connection_lost_within_a_frame_leaves_nothing,
];

pub const TEXT: u8 = 0x81;
pub const CLOSE: u8 = 0x88;
pub const PING: u8 = 0x89;
const PONG: u8 = 0x8a;

/// Opens a connection of the client's user. Nothing that the server sends is answered.
pub async fn open(t: &TestApp, client: &Client) -> Raw {
    let mut raw = Raw::open(&t.url).await;
    let request = format!(
        "GET /api/v1/app/ws?token={} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        client.token.as_ref().unwrap()
    );
    raw.send(request.as_bytes()).await;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(within("the server upgrades", raw.stream.read_u8()).await.unwrap());
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    assert!(head.starts_with("http/1.1 101") && head.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="), "{head}");
    assert_eq!(next(&mut raw).await.0, TEXT, "the first frame");
    raw
}

/// The next frame of the server, which must be short.
async fn next(raw: &mut Raw) -> (u8, Vec<u8>) {
    let read = async {
        let (first, length) = (raw.stream.read_u8().await?, raw.stream.read_u8().await?);
        let length = if length == 126 { raw.stream.read_u16().await? } else { length.into() };
        let mut payload = vec![0; length.into()];
        raw.stream.read_exact(&mut payload).await?;
        Ok::<_, std::io::Error>((first, payload))
    };
    within("the server sends a frame", read).await.unwrap()
}

/// A frame of a client.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [7, 0, 255, 129];
    let mut bytes = vec![first];
    match payload.len() {
        length @ ..126 => bytes.push(0x80 | u8::try_from(length).unwrap()),
        length => {
            bytes.push(0xfe);
            bytes.extend(u16::try_from(length).unwrap().to_be_bytes());
        }
    }
    bytes.extend(mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// The frames of the server: the first byte of each, and its payload.
pub fn frames(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut frames = Vec::new();
    while let [first, length, rest @ ..] = bytes {
        let (length, rest) = match length {
            126 => (usize::from(u16::from_be_bytes([rest[0], rest[1]])), &rest[2..]),
            length => (usize::from(*length), rest),
        };
        frames.push((*first, rest[..length].to_vec()));
        bytes = &rest[length..];
    }
    frames
}

fn code(payload: &[u8]) -> Option<u16> {
    Some(u16::from_be_bytes([*payload.first()?, *payload.get(1)?]))
}

async fn client_that_closes_while_frames_are_sent_gets_a_reply(b: Backend) {
    let t = TestApp::start(b).await;
    let amy = t.user("amy").await;
    let (ping, close) = (frame(TEXT, br#"{"type":"ping"}"#), frame(CLOSE, &1000_u16.to_be_bytes()));
    for _ in 0..20 {
        // The replies wait to be sent when the close is read.
        let got = answers(&t, &amy, &[ping.repeat(3), close.clone()].concat()).await;
        let last = got.last().map(|(first, payload)| (*first, code(payload)));
        assert_eq!(last, Some((CLOSE, Some(1000))), "{got:?}");
    }
}

/// Sends these bytes after the first frame; returns the frames that follow.
async fn answers(t: &TestApp, client: &Client, bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut raw = open(t, client).await;
    raw.try_send(bytes).await;
    frames(&raw.rest().await)
}

async fn broken_frames_close_with_the_code_of_their_fault(b: Backend) {
    let t = TestApp::start(b).await;
    let (amy, bob) = (t.user("amy").await, t.user("bob").await);
    let mut other = connect(&t, &bob).await;
    let ping = br#"{"type":"ping"}"#;
    let close = |code: u16| frame(CLOSE, &code.to_be_bytes());
    let unmasked = [&[TEXT, 15][..], ping].concat();
    let half = [frame(0x01, b"a"), frame(TEXT, ping)].concat();
    let split = [frame(0x01, &[0xc3]), frame(0x80, &[0x28])].concat();
    let huge = [&[TEXT, 0xff][..], &u64::MAX.to_be_bytes(), &[0; 4]].concat();
    let large = [&[TEXT, 0xff][..], &(1_u64 << 40).to_be_bytes(), &[0; 4]].concat();
    let longer = [frame(0x01, &b" ".repeat(40_000)), frame(0x80, &b" ".repeat(40_000))].concat();
    for (name, bytes, expected) in [
        ("not UTF-8", frame(TEXT, &[0xff, 0xfe]), 1007),
        ("half of a surrogate pair", frame(TEXT, &[0xed, 0xa0, 0x80]), 1007),
        ("an overlong character", frame(TEXT, &[0xc0, 0xaf]), 1007),
        ("an unfinished character", frame(TEXT, &[0xe2, 0x82]), 1007),
        ("not UTF-8 in two frames", split, 1007),
        ("the first reserved bit", frame(TEXT | 0x40, ping), 1002),
        ("the last reserved bit", frame(TEXT | 0x10, ping), 1002),
        ("a reserved kind", frame(0x83, ping), 1002),
        ("a reserved control kind", frame(0x8b, b""), 1002),
        ("not masked", unmasked, 1002),
        ("a fragment of a ping", frame(0x09, b""), 1002),
        ("a fragment of a close", frame(0x08, b""), 1002),
        ("a long ping", frame(PING, &[0; 126]), 1002),
        ("a continuation of nothing", frame(0x80, b"x"), 1002),
        ("a text within another", half, 1002),
        ("a close of one byte", frame(CLOSE, &[3]), 1002),
        ("a close with code 999", close(999), 1002),
        ("a close with code 1004", close(1004), 1002),
        ("a close with code 1005", close(1005), 1002),
        ("a close with code 1006", close(1006), 1002),
        ("a close with code 1015", close(1015), 1002),
        ("a close with code 2999", close(2999), 1002),
        ("a close with code 65535", close(65_535), 1002),
        ("a frame of 2^64 bytes", huge, 1009),
        ("a frame of 2^40 bytes", large, 1009),
        ("a message of two frames", longer, 1009),
    ] {
        let got = answers(&t, &amy, &bytes).await;
        assert_eq!(got.iter().map(|(first, payload)| (*first, code(payload))).collect::<Vec<_>>(), [(CLOSE, Some(expected))], "{name}");
        other.is_quiet().await;
    }
    eventually("only one is left", async || connections(&bob).await == 1).await;
}

async fn close_frames_are_answered(b: Backend) {
    let t = TestApp::start(b).await;
    let amy = t.user("amy").await;
    for sent in [1000_u16, 1001, 3000, 4999] {
        let bytes = frame(CLOSE, &[&sent.to_be_bytes()[..], "bye ä".as_bytes()].concat());
        let got = answers(&t, &amy, &bytes).await;
        assert_eq!((got.len(), got[0].0, code(&got[0].1)), (1, CLOSE, Some(sent)));
    }
    let got = answers(&t, &amy, &frame(CLOSE, b"")).await;
    assert_eq!(got, [(CLOSE, Vec::new())]);
    // What follows a close is not read.
    let got = answers(&t, &amy, &[frame(CLOSE, &1000_u16.to_be_bytes()), frame(TEXT, br#"{"type":"ping"}"#)].concat()).await;
    assert_eq!(got.len(), 1, "{got:?}");
    let got = answers(&t, &amy, &frame(CLOSE, &[3, 232, 0xff])).await;
    assert!([1002, 1007].contains(&code(&got[0].1).unwrap()), "{got:?}");
}

async fn frames_in_single_bytes_and_fragments_are_read(b: Backend) {
    let t = TestApp::start(b).await;
    let mut raw = open(&t, &t.user("amy").await).await;
    let text = frame(TEXT, br#"{"type":"ping"}"#);
    // A ping of the protocol between the fragments of a message.
    let parts = [frame(0x01, br#"{"type""#), frame(PING, b"now"), frame(0x00, b""), frame(0x80, br#":"ping"}"#)].concat();
    for byte in [text, parts].concat() {
        raw.send(&[byte]).await;
    }
    let got = [next(&mut raw).await, next(&mut raw).await, next(&mut raw).await];
    let pongs = got.iter().filter(|(first, text)| *first == TEXT && String::from_utf8_lossy(text).contains(r#""type":"pong""#)).count();
    assert_eq!(pongs, 2, "{got:?}");
    assert!(got.contains(&(PONG, b"now".to_vec())), "{got:?}");
    raw.send(&frame(CLOSE, &1000_u16.to_be_bytes())).await;
    assert_eq!(frames(&raw.rest().await), [(CLOSE, 1000_u16.to_be_bytes().to_vec())]);
}

async fn connection_lost_within_a_frame_leaves_nothing(b: Backend) {
    let t = TestApp::start(b).await;
    let (amy, bob) = (t.user("amy").await, t.user("bob").await);
    let mut other = connect(&t, &bob).await;
    other.subscribe("presence").await;
    let whole = frame(TEXT, br#"{"type":"subscribe","channel":"room:a"}"#);
    for sent in [0, 1, 2, 5, whole.len() - 1] {
        let mut raw = open(&t, &amy).await;
        raw.send(&whole[..sent]).await;
        drop(raw);
    }
    eventually("only one is left", async || connections(&bob).await == 1).await;
    other.send(serde_json::json!({"type": "ping"})).await;
    other.skip_to("pong").await;
}
