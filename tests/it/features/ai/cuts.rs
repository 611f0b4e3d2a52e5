//! Streams that arrive in pieces cut anywhere, with each kind of line end: the answer is the same.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::gateway;
use super::streams::EXPECTED;
use super::stub::{Script, Stub};
use super::vendors::{VENDORS, Vendor};

/// Requests in flight.
const AT_ONCE: usize = 32;

/// A recorded stream with these line ends.
fn with_line_ends(vendor: Vendor, end: &str) -> String {
    vendor.recorded().replace('\n', end)
}

/// Sends the text once for each of the positions, in two pieces that are cut there.
async fn cut_at_each(vendor: Vendor, text: String, positions: Vec<usize>) {
    let text = Arc::new(text.into_bytes());
    let whole = text.clone();
    let stub = Stub::by(move |asked| {
        let at: usize = asked.prompt().parse().unwrap();
        Script::stream().piece(whole[..at].to_vec()).piece(whole[at..].to_vec()).then(super::stub::Step::End)
    });
    let t = gateway(&stub, &[vendor], &[]).await;
    let amy = t.user("amy").await;
    let mut running = JoinSet::new();
    for at in positions {
        if running.len() == AT_ONCE {
            running.join_next().await.unwrap().unwrap();
        }
        let amy = amy.clone();
        running.spawn(async move {
            let body = super::stream(&amy, &at.to_string()).await.expect_text(200);
            assert_eq!(body, EXPECTED, "{vendor:?} cut at byte {at}");
        });
    }
    while let Some(done) = running.join_next().await {
        done.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stream_cut_at_every_byte_gives_same_answer() {
    for vendor in VENDORS {
        let text = with_line_ends(vendor, "\n");
        let positions = (0..=text.len()).collect();
        cut_at_each(vendor, text, positions).await;
    }
}

/// Cut before, inside and after every line end: a CR and its LF may come apart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stream_cut_at_line_ends_of_each_kind_is_same() {
    for vendor in VENDORS {
        for end in ["\r\n", "\r"] {
            let text = with_line_ends(vendor, end);
            let near = |at: usize| text.as_bytes()[at.saturating_sub(2)..(at + 2).min(text.len())].iter().any(|b| b"\r\n".contains(b));
            let positions = (0..=text.len()).filter(|at| near(*at)).collect();
            cut_at_each(vendor, text, positions).await;
        }
    }
}

/// The answer to a text that is sent byte by byte.
async fn byte_by_byte(vendor: Vendor, text: &str) -> String {
    let script = text.bytes().fold(Script::stream(), |script, byte| script.piece(vec![byte])).then(super::stub::Step::End);
    let stub = Stub::start(script);
    let t = gateway(&stub, &[vendor], &[]).await;
    super::stream(&t.user("amy").await, "x").await.expect_text(200)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stream_byte_by_byte_gives_same_answer() {
    for vendor in VENDORS {
        for end in ["\n", "\r\n", "\r"] {
            assert_eq!(byte_by_byte(vendor, &with_line_ends(vendor, end)).await, EXPECTED, "{vendor:?} {end:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stream_in_every_form_of_the_grammar_is_read() {
    for vendor in VENDORS {
        for (what, text) in [
            ("no blank after the colon", vendor.recorded().replace("data: ", "data:").replace("event: ", "event:")),
            ("byte order mark", format!("\u{feff}{}", vendor.recorded())),
            ("comments", vendor.recorded().replace("data: ", ": comment\n:\n:data: no\ndata: ")),
            ("other fields", vendor.recorded().replace("data: ", "id: 7\nretry: 10\nunknown: x\nempty\ndata: ")),
            ("blank lines", format!("\n\n\n{}\n\n", vendor.recorded().replace("\n\n", "\n\n\n\n"))),
            // JSON may break where it holds a blank; the lines of an event are joined with a line feed.
            ("several data lines", vendor.recorded().replace("\":[{\"", "\":\ndata: [{\"").replace("\"delta\":", "\"delta\":\ndata:").replace(": [{", ":\ndata: [{")),
            ("event without data", format!("event: ping\n\n{}", vendor.recorded())),
        ] {
            for script in [Script::events(text.clone()), halves(&text)] {
                let stub = Stub::start(script);
                let t = gateway(&stub, &[vendor], &[]).await;
                assert_eq!(super::stream(&t.user("amy").await, "x").await.expect_text(200), EXPECTED, "{vendor:?} {what}");
            }
        }
    }
}

fn halves(text: &str) -> Script {
    let (one, two) = text.as_bytes().split_at(text.len() / 2);
    Script::stream().piece(one.to_vec()).piece(two.to_vec()).then(super::stub::Step::End)
}

/// A last event without the blank line behind it is incomplete by the grammar, and its end is not the vendor's end.
#[tokio::test]
async fn last_event_without_blank_line_is_no_event() {
    for vendor in VENDORS {
        let text = vendor.opening() + &vendor.piece("Hi") + vendor.piece("lost").trim_end();
        let stub = Stub::start(Script::events(text));
        let t = gateway(&stub, &[vendor], &[]).await;
        let (texts, _) = super::broken_by(super::stream(&t.user("amy").await, "x").await, vendor);
        assert_eq!(texts, ["Hi"], "{vendor:?}");
    }
}
