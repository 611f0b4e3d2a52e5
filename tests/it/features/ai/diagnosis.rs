//! `omnistack doctor` and the start: models that a vendor does not have or retires soon, and keys that it refuses.

use chrono::TimeDelta;
use omnistack::platform::clock::Clock;

use super::stub::{Script, Stub};
use super::vendors::{VENDORS, Vendor};
use crate::harness::process::{Outcome, Place};
use Vendor::{Anthropic, OpenAi};

fn place(stub: &Stub, vendor: Vendor) -> Place {
    let place = Place::new().with("AI_DEFAULT_PROVIDER", vendor.name()).with(vendor.key_name(), vendor.key());
    place.with(vendor.url_name(), &stub.url).with("SHUTDOWN_DELAY_SECONDS", "0")
}

async fn doctor(stub: &Stub, vendor: Vendor, vars: &[(&str, &str)]) -> Outcome {
    vars.iter().fold(place(stub, vendor), |place, (name, value)| place.with(name, value)).run(&["doctor"]).await
}

/// The lines of this level about AI.
fn lines<'o>(outcome: &'o Outcome, level: &str) -> Vec<&'o str> {
    outcome.out.lines().filter(|line| line.starts_with(level) && line.contains(" ai ")).collect()
}

#[tokio::test]
async fn doctor_accepts_models_that_the_vendor_has() {
    for vendor in VENDORS {
        let stub = Stub::start(vendor.models(&[("another", None), (vendor.default_model(), None)]));
        let outcome = doctor(&stub, vendor, &[]).await;
        assert_eq!((outcome.code, lines(&outcome, "warn").len(), lines(&outcome, "ok").len()), (0, 0, 1), "{}", outcome.out);
        let asked = stub.only();
        let path = if vendor == Vendor::Gemini { "/v1beta/models" } else { "/v1/models" };
        assert_eq!((asked.method.as_str(), asked.path.split('?').next()), ("GET", Some(path)));
        assert!(!asked.path.contains(vendor.key()), "{}", asked.path);
    }
}

#[tokio::test]
async fn doctor_names_models_that_the_vendor_lacks() {
    for vendor in VENDORS {
        let stub = Stub::start(vendor.models(&[("another", None)]));
        let outcome = doctor(&stub, vendor, &[("AI_DEFAULT_MODEL", "a-model-of-ours")]).await;
        let found = lines(&outcome, "warn");
        assert!(found.iter().any(|line| line.contains("a-model-of-ours") && line.contains(vendor.name())), "{}", outcome.out);
        assert_eq!(outcome.code, 0, "a warning is no failure");
    }
}

#[tokio::test]
async fn doctor_names_models_that_retire_within_sixty_days() {
    let day = |days: i64| (Clock::System.now() + TimeDelta::days(days)).date_naive().to_string();
    for (days, named) in [(-10, true), (0, true), (59, true), (62, false)] {
        let date = day(days);
        let stub = Stub::start(OpenAi.models(&[("gpt-6-luna", Some(&date))]));
        let outcome = doctor(&stub, OpenAi, &[]).await;
        let found = lines(&outcome, "warn").iter().any(|line| line.contains("gpt-6-luna") && line.contains(&date));
        assert_eq!(found, named, "{days} days: {}", outcome.out);
    }
}

#[tokio::test]
async fn doctor_names_refused_keys_and_empty_accounts() {
    for (vendor, status, kind, message, word) in [
        (OpenAi, 401, "invalid_api_key", "Incorrect API key provided: sk-proj-canary", "key"),
        (Anthropic, 403, "permission_error", "canary", "key"),
        (Vendor::Gemini, 400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key. canary", "key"),
        (Anthropic, 400, "invalid_request_error", "Your credit balance is too low: canary", "credit"),
    ] {
        let stub = Stub::start(vendor.fails(status, kind, message));
        let outcome = doctor(&stub, vendor, &[]).await;
        let found = lines(&outcome, "warn");
        assert!(found.iter().any(|line| line.contains(word) && line.contains(vendor.name())), "{vendor:?} {}", outcome.out);
        assert!(!outcome.out.contains("canary") && !outcome.out.contains(vendor.key()), "{}", outcome.out);
    }
}

#[tokio::test]
async fn doctor_with_failing_vendor_ends_soon() {
    for script in [Script::hang(), Script::cut(), Script::answer(200, "text/html", "<html>canary</html>")] {
        let stub = Stub::start(script);
        let started = std::time::Instant::now();
        let outcome = doctor(&stub, OpenAi, &[]).await;
        assert_eq!(lines(&outcome, "warn").len(), 1, "{}", outcome.out);
        assert!(!outcome.out.contains("canary") && !outcome.out.contains(&stub.url), "{}", outcome.out);
        assert!(started.elapsed() < std::time::Duration::from_secs(20), "{:?}", started.elapsed());
    }
}

#[tokio::test]
async fn doctor_without_a_key_calls_no_vendor() {
    let stub = Stub::start(Script::hang());
    let place = Place::new().with("OPENAI_BASE_URL", &stub.url);
    let outcome = place.run(&["doctor"]).await;
    assert_eq!((outcome.code, lines(&outcome, "warn").len(), stub.calls()), (0, 0, 0), "{}", outcome.out);
}

/// The start does not wait for the vendors, but it warns.
#[tokio::test]
async fn start_warns_of_unknown_models() {
    let stub = Stub::start(OpenAi.models(&[("another", None)]));
    let server = place(&stub, OpenAi).serve().await;
    crate::harness::process::until("it is a warning", async || {
        server.output().lines().any(|line| line.contains("WARN") && line.contains("gpt-6-luna")).then_some(())
    })
    .await;
    server.stop().await;
    let stub = Stub::start(Script::hang());
    place(&stub, OpenAi).serve().await.stop().await;
}
