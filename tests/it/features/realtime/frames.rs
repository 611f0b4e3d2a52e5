//! Frames of clients: subscriptions, messages and errors.

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::connect;
use crate::harness::{Backend, TestApp};

crate::on_sqlite![
    ping_is_answered_with_one_pong,
    subscribing_twice_and_unsubscribing_without_is_harmless,
    subscriptions_belong_to_one_connection,
    message_reaches_other_users_subscribers_exactly_once,
    message_content_is_passed_on_verbatim,
    message_with_id_is_acknowledged,
    refused_frames_have_their_code_and_keep_the_connection,
    refusal_repeats_type_channel_and_id,
    binary_frame_is_refused_and_keeps_the_connection,
];

async fn ping_is_answered_with_one_pong(b: Backend) {
    let t = TestApp::start(b).await;
    let mut amy = connect(&t, &t.user("amy").await).await;
    for text in [r#"{"type":"ping"}"#, r#" { "more": [1], "type" : "ping" } "#, r#"{"type":"\u0070ing"}"#] {
        amy.text(text).await;
        amy.expect("pong").await;
    }
    amy.is_quiet().await;
}

async fn subscribing_twice_and_unsubscribing_without_is_harmless(b: Backend) {
    let t = TestApp::start(b).await;
    let (mut amy, mut bob) = (connect(&t, &t.user("amy").await).await, connect(&t, &t.user("bob").await).await);
    let unsubscribe = json!({"type": "unsubscribe", "channel": "room:a"});
    for _ in 0..2 {
        amy.subscribe("room:a").await;
    }
    bob.subscribe("room:a").await;
    bob.publish("room:a", json!("once")).await;
    assert_eq!(amy.content().await, "once");
    amy.is_quiet().await;
    // One unsubscribe ends what was made twice.
    for _ in 0..2 {
        let reply = amy.ask(unsubscribe.clone()).await;
        let told = (&reply["type"], &reply["data"], &reply["channel"]);
        assert_eq!(told, (&json!("unsubscribed"), &json!({"channel": "room:a"}), &json!("room:a")));
        bob.publish("room:a", json!("unheard")).await;
        amy.is_quiet().await;
    }
    assert_eq!(amy.refusal(r#"{"type":"message","channel":"room:a","data":1}"#).await, "NOT_SUBSCRIBED");
    amy.subscribe("room:a").await;
    bob.publish("room:a", json!("again")).await;
    assert_eq!(amy.content().await, "again");
}

async fn subscriptions_belong_to_one_connection(b: Backend) {
    let t = TestApp::start(b).await;
    let (amy, bob) = (t.user("amy").await, t.user("bob").await);
    let (mut one, mut two, mut without) = (connect(&t, &amy).await, connect(&t, &amy).await, connect(&t, &amy).await);
    let mut bob = connect(&t, &bob).await;
    for socket in [&mut one, &mut two, &mut bob] {
        socket.subscribe("room:a").await;
    }
    bob.publish("room:a", json!(1)).await;
    for socket in [&mut one, &mut two] {
        assert_eq!(socket.content().await, 1);
        socket.is_quiet().await;
    }
    without.is_quiet().await;
    one.ask(json!({"type": "unsubscribe", "channel": "room:a"})).await;
    bob.publish("room:a", json!(2)).await;
    assert_eq!(two.content().await, 2);
    one.is_quiet().await;
    drop(one);
    drop(without);
    bob.publish("room:a", json!(3)).await;
    assert_eq!(two.content().await, 3);
    two.is_quiet().await;
}

async fn message_reaches_other_users_subscribers_exactly_once(b: Backend) {
    let t = TestApp::start(b).await;
    let (amy, bob, cat) = (t.user("amy").await, t.user("bob").await, t.user("cat").await);
    let (mut amy_1, mut amy_2) = (connect(&t, &amy).await, connect(&t, &amy).await);
    let (mut bob, mut cat) = (connect(&t, &bob).await, connect(&t, &cat).await);
    for socket in [&mut amy_1, &mut amy_2, &mut bob, &mut cat] {
        socket.subscribe("general").await;
        socket.subscribe("room:b").await;
    }
    for n in 0..20 {
        amy_1.publish("general", json!({"n": n})).await;
    }
    for socket in [&mut bob, &mut cat] {
        for n in 0..20 {
            let frame = socket.expect("message").await;
            assert_eq!((&frame["channel"], &frame["data"]), (&json!("general"), &json!({"from_user_id": "amy", "content": {"n": n}})));
        }
        socket.is_quiet().await;
    }
    for socket in [&mut amy_1, &mut amy_2] {
        socket.is_quiet().await;
    }
    bob.publish("general", json!("back")).await;
    for socket in [&mut amy_1, &mut amy_2, &mut cat] {
        assert_eq!(socket.content().await, "back");
        socket.is_quiet().await;
    }
}

async fn message_content_is_passed_on_verbatim(b: Backend) {
    let t = TestApp::start(b).await;
    let (mut amy, mut bob) = (connect(&t, &t.user("amy").await).await, connect(&t, &t.user("bob").await).await);
    amy.subscribe("room:a").await;
    bob.subscribe("room:a").await;
    let long = format!("\"{}\"", "ä".repeat(30_000));
    for data in ["0", "false", "\"\"", "[]", "{}", "[null]", "1e2", r#"{"type":"error","a":{"b":["é","\u0000","💥"]}}"#, &long] {
        amy.text(&format!(r#"{{"type":"message","channel":"room:a","data":{data}}}"#)).await;
        assert_eq!(bob.content().await, serde_json::from_str::<Value>(data).unwrap());
    }
    bob.is_quiet().await;
    amy.is_quiet().await;
}

async fn message_with_id_is_acknowledged(b: Backend) {
    let t = TestApp::start(b).await;
    let (mut amy, mut bob) = (connect(&t, &t.user("amy").await).await, connect(&t, &t.user("bob").await).await);
    amy.subscribe("room:a").await;
    bob.subscribe("room:a").await;
    let message = |id: Value| json!({"type": "message", "channel": "room:a", "data": 1, "id": id});
    for id in ["1".to_owned(), "ä".repeat(64), "a b\"\\".to_owned()] {
        let reply = amy.ask(message(json!(id))).await;
        assert_eq!((&reply["type"], &reply["data"], &reply["channel"]), (&json!("ack"), &json!({"id": id}), &Value::Null));
        assert_eq!(bob.content().await, 1, "it was handed on");
    }
    for id in [json!("x".repeat(65)), json!(7), json!({})] {
        assert_eq!(amy.refusal(&message(id).to_string()).await, "INVALID_REQUEST");
    }
    bob.is_quiet().await;
    // No id, no reply.
    amy.send(json!({"type": "message", "channel": "room:a", "data": 2})).await;
    amy.is_quiet().await;
    assert_eq!(bob.content().await, 2);
}

async fn refused_frames_have_their_code_and_keep_the_connection(b: Backend) {
    let t = TestApp::with(b, &[("WS_MESSAGE_RATE", "1000")]).await;
    let mut amy = connect(&t, &t.user("amy").await).await;
    amy.subscribe("room:a").await;
    let subscribe = |channel: &str| json!({"type": "subscribe", "channel": channel}).to_string();
    let too_long = subscribe(&"x".repeat(129));
    for (code, texts) in [
        ("INVALID_JSON", vec!["", " ", "{", "ping", "{\"type\":\"ping\"} {}", "\u{feff}{\"type\":\"ping\"}", "{\"type\":\"\\ud800\"}"]),
        ("INVALID_REQUEST", vec!["[]", "null", "1", "\"ping\"", "true"]),
        ("INVALID_REQUEST", vec![r#"{"type":"subscribe"}"#, r#"{"type":"subscribe","channel":""}"#, r#"{"type":"subscribe","channel":7}"#]),
        ("INVALID_REQUEST", vec![r#"{"type":"unsubscribe"}"#, r#"{"type":"unsubscribe","channel":null}"#]),
        ("INVALID_REQUEST", vec![r#"{"type":"message","data":1}"#, r#"{"type":"message","channel":[],"data":1}"#]),
        ("INVALID_REQUEST", vec![r#"{"type":"message","channel":"room:a"}"#, r#"{"type":"message","channel":"room:a","data":null}"#]),
        ("INVALID_REQUEST", vec![r#"{"type":"auth"}"#, r#"{"type":"auth","token":7}"#]),
        ("UNKNOWN_EVENT", vec!["{}", r#"{"type":null}"#, r#"{"type":"PING"}"#, r#"{"type":"connected"}"#, r#"{"channel":"room:a"}"#]),
        ("INVALID_CHANNEL", vec![r#"{"type":"subscribe","channel":"a b"}"#, r#"{"type":"subscribe","channel":"ä"}"#, &too_long]),
        ("INVALID_CHANNEL", vec![r#"{"type":"subscribe","channel":"a\u0000"}"#, r#"{"type":"unsubscribe","channel":"a/b"}"#]),
        ("INVALID_CHANNEL", vec![r#"{"type":"message","channel":"a*","data":1}"#]),
        ("FORBIDDEN", vec![r#"{"type":"subscribe","channel":"user:bob"}"#, r#"{"type":"message","channel":"system","data":1}"#]),
        ("NOT_SUBSCRIBED", vec![r#"{"type":"message","channel":"room:b","data":1}"#]),
    ] {
        for text in texts {
            assert_eq!(amy.refusal(text).await, code, "{text}");
        }
    }
    amy.subscribe(&"x".repeat(128)).await;
    amy.subscribe("A_z.0:9|@-").await;
    amy.is_quiet().await;
}

async fn refusal_repeats_type_channel_and_id(b: Backend) {
    let t = TestApp::start(b).await;
    let mut amy = connect(&t, &t.user("amy").await).await;
    let error = amy.ask(json!({"type": "message", "channel": "admin", "data": {"secret": 1}, "id": "7"})).await;
    assert_eq!(error["data"]["details"], json!({"type": "message", "channel": "admin", "id": "7"}));
    assert!(!error.to_string().contains("secret"), "{error}");
}

async fn binary_frame_is_refused_and_keeps_the_connection(b: Backend) {
    let t = TestApp::start(b).await;
    let mut amy = connect(&t, &t.user("amy").await).await;
    for bytes in [vec![], br#"{"type":"ping"}"#.to_vec(), vec![0xff; 1000]] {
        amy.message(Message::Binary(bytes.into())).await;
        assert_eq!(amy.expect("error").await["data"]["code"], "INVALID_REQUEST");
    }
    amy.is_quiet().await;
}
