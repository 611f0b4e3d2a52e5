//! Generated parts of the documentation match the code. `UPDATE_DOCS=1 cargo test --test it docs::` regenerates them.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use omnistack::platform::error::{CODES, Code};

use crate::harness::process::Place;

const START: &str = "<!-- generated -->\n";
const END: &str = "<!-- /generated -->";

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn updating() -> bool {
    std::env::var("UPDATE_DOCS").is_ok_and(|value| value == "1")
}

/// Compares the text between the markers, or replaces it when `UPDATE_DOCS=1`.
#[track_caller]
fn is_current(name: &str, wanted: &str) {
    let text = std::fs::read_to_string(file(name)).unwrap();
    let start = text.find(START).unwrap_or_else(|| panic!("{name} has no line {START}")) + START.len();
    let end = start + text[start..].find(END).unwrap_or_else(|| panic!("{name} has no line {END}"));
    let wanted = format!("\n{}\n\n", wanted.trim());
    if updating() {
        std::fs::write(file(name), format!("{}{wanted}{}", &text[..start], &text[end..])).unwrap();
    } else {
        assert_eq!(text[start..end], wanted, "{name} is stale: run `UPDATE_DOCS=1 cargo test --test it docs::`");
    }
}

async fn printed(args: &[&str]) -> String {
    // Values from the environment must not appear in the documentation.
    Place::bare().with("PROJECT_NAME", "Acme").with("PORT", "1").run(args).await.expect_ok()
}

#[tokio::test]
async fn env_example_is_current_and_loads() {
    let wanted = printed(&["config", "--env-example"]).await;
    if updating() {
        std::fs::write(file(".env.example"), &wanted).unwrap();
    }
    assert_eq!(std::fs::read_to_string(file(".env.example")).unwrap(), wanted, ".env.example is stale");
    // Used unchanged as `.env`, it changes no setting. With every variable uncommented, it sets the defaults.
    let place = Place::bare();
    place.write(".env", &wanted);
    let defaults = Place::bare().run(&["config"]).await.expect_ok();
    assert_eq!(place.run(&["config"]).await.expect_ok(), defaults);
    let uncommented = wanted.lines().map(|line| match line.strip_prefix("# ") {
        Some(rest)
            if rest
                .split_once('=')
                .is_some_and(|(name, _)| name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')) =>
        {
            rest
        }
        _ => line,
    });
    place.write(".env", &uncommented.collect::<Vec<_>>().join("\n"));
    let outcome = place.run(&["config"]).await;
    assert_eq!(outcome.code, 0, "{}", outcome.err);
    assert_eq!(outcome.out.replace("  (default)", ""), defaults.replace("  (default)", ""));
}

#[tokio::test]
async fn configuration_page_is_current() {
    is_current("docs/configuration.md", &printed(&["config", "--markdown"]).await);
}

#[tokio::test]
async fn routes_page_is_current() {
    is_current("docs/routes.md", &printed(&["routes", "--markdown"]).await);
}

#[test]
fn errors_page_is_current() {
    let mut table = String::from("| Status | Code | When |\n| --- | --- | --- |\n");
    for Code { status, name, when } in CODES {
        let _ = writeln!(table, "| {} | `{name}` | {when} |", status.as_u16());
    }
    is_current("docs/errors.md", &table);
}
