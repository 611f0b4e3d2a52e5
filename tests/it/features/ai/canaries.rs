//! Nothing of a vendor's failure reaches anyone: keys, addresses, prompts and upstream texts are in no answer, metric or log line.

use std::time::Duration;

use serde_json::json;

use super::stub::{Script, Step, Stub};
use super::vendors::{VENDORS, Vendor};
use crate::harness::Client;
use crate::harness::process::{Place, Server};
use crate::harness::tokens::claims;

/// In every text that the vendors send.
const UPSTREAM: &str = "canary-upstream-7f3a";
/// In every prompt.
const PROMPT: &str = "canary-prompt-51bc";
/// In the vendors' addresses.
const ADDRESS: &str = "canary-address-90de";
/// In the vendors' keys.
const KEY: &str = "canary-key-c4e8";

/// Every kind of failure, by the number in the prompt.
fn failures(vendor: Vendor) -> Vec<Script> {
    let mut failures: Vec<Script> = [400, 401, 402, 403, 404, 413, 429, 500, 503, 529]
        .map(|status| {
            let body = vendor.error(status, UPSTREAM, &format!("{UPSTREAM} for {KEY} and {PROMPT}"));
            let headers = [("x-request-id", UPSTREAM), ("retry-after", "0"), ("content-type", "application/json")];
            Script::answer_with(status, &headers, body.to_string())
        })
        .into();
    for parameter in ["temperature", "max_completion_tokens", "reasoning_effort"] {
        failures.push(vendor.fails(400, UPSTREAM, &format!("Unsupported parameter: '{parameter}' {UPSTREAM}")));
    }
    for text in ["context length", "credit balance is too low", "API key not valid"] {
        failures.push(vendor.fails(400, UPSTREAM, &format!("{text} {UPSTREAM}")));
    }
    let begun = vendor.opening() + &vendor.piece("Hi");
    let overloaded = vendor.overloaded().replace("verloaded", UPSTREAM);
    failures.extend([
        Script::answer(500, "text/html", format!("<html>{UPSTREAM}</html>")),
        Script::answer(200, "text/html", format!("<html>{UPSTREAM}</html>")),
        Script::answer(200, "application/json", format!("{{\"{UPSTREAM}")),
        Script::answer_with(307, &[("location", &format!("http://127.0.0.1:1/{UPSTREAM}"))], UPSTREAM),
        Script::short_of_length("application/json", UPSTREAM),
        Script(vec![Step::Raw(format!("{UPSTREAM}\r\n\r\n").into()), Step::Close]),
        Script(vec![Step::Raw(format!("HTTP/1.1 200 OK\r\n{UPSTREAM}\r\n\r\n").into()), Step::Close]),
        Script::cut(),
        Script::hang(),
        Script::events(UPSTREAM),
        Script::events(format!("data: {UPSTREAM}\n\n")),
        Script::events(overloaded.clone()),
        Script::events(format!("event: {UPSTREAM}\ndata: {{\"type\": \"{UPSTREAM}\"}}\n\n")),
        Script::stream().piece(begun.clone()).then(Step::Close),
        Script::stream().piece(begun.clone()).then(Step::Hang),
        Script::events(begun.clone() + &overloaded),
        Script::events(format!("{begun}data: {{\"{UPSTREAM}\n\n")),
        Script::events(format!("{begun}data: {}\n\n", vendor.error(500, UPSTREAM, UPSTREAM))),
        Script::stream().piece(begun).then(Step::Forever(format!(": {UPSTREAM}\n\n").into(), Duration::from_millis(50))),
    ]);
    failures
}

/// The server, with keys, and addresses behind the path of the canary.
async fn server(stub: &Stub, vars: &[(&str, &str)]) -> (Place, Server) {
    let mut place = Place::new()
        .with("LOG_LEVEL", "DEBUG")
        .with("DEBUG", "true")
        .with("AUTH_PROVIDER", "custom")
        .with("OAUTH_JWT_SECRET", crate::harness::SECRET)
        .with("RATE_LIMIT_AI", "1000000/minute")
        .with("PLAN_LIMITS_ENABLED", "false")
        .with("AI_TIMEOUT_SECONDS", "1")
        .with("AI_FIRST_TOKEN_SECONDS", "1")
        .with("AI_STREAM_MAX_SECONDS", "1")
        .with("SHUTDOWN_DELAY_SECONDS", "0");
    for vendor in VENDORS {
        place = place
            .with(vendor.key_name(), &format!("{KEY}-{}", vendor.name()))
            .with(vendor.url_name(), &format!("{}/{ADDRESS}", stub.url.replace("http://", &format!("http://{ADDRESS}:{ADDRESS}@"))));
    }
    let place = vars.iter().fold(place, |place, (name, value)| place.with(name, value));
    let server = place.serve().await;
    (place, server)
}

fn client(server: &Server) -> Client {
    server.client(Some(claims("amy", &omnistack::platform::clock::Clock::System).sign(crate::harness::SECRET)))
}

/// Texts that may be in no output. The port stands for the address, which has nothing else of its own.
fn secrets(stub: &Stub) -> Vec<String> {
    let port = stub.url.rsplit(':').next().unwrap();
    let mut secrets = [UPSTREAM, PROMPT, ADDRESS, KEY, "x-api-key", "x-goog-api-key", "Bearer"].map(str::to_owned).to_vec();
    secrets.push(format!("127.0.0.1:{port}"));
    secrets
}

#[track_caller]
fn leaks(what: &str, text: &str, secrets: &[String]) {
    for secret in secrets {
        let found: Vec<_> = text.lines().filter(|line| line.contains(secret)).collect();
        assert!(found.is_empty(), "{what} leaked {secret}:\n{}", found.join("\n"));
    }
}

async fn failing(vendor: Vendor) {
    let stub = Stub::by(move |asked| {
        if asked.method == "GET" {
            // The list of models, which the start asks for.
            return vendor.fails(401, UPSTREAM, UPSTREAM);
        }
        let number = asked.prompt().rsplit(' ').next().unwrap().parse::<usize>().unwrap();
        failures(vendor)[number].clone()
    });
    let (_place, server) = server(&stub, &[("AI_DEFAULT_PROVIDER", vendor.name())]).await;
    let (amy, secrets) = (client(&server), secrets(&stub));
    let mut running = tokio::task::JoinSet::new();
    for number in 0..failures(vendor).len() {
        for streamed in [false, true] {
            let (amy, secrets) = (amy.clone(), secrets.clone());
            running.spawn(async move {
                // Each case has a model of its own, so that none cools down for another.
                let model = format!("model-{number}");
                let body = json!({"prompt": format!("{PROMPT} {number}"), "model": model, "stream": streamed, "temperature": 0.5});
                let reply = super::soon("a failure", std::future::IntoFuture::into_future(amy.post("/app/ai/chat", body))).await;
                let text = format!("{:?}\n{}", reply.headers, reply.text());
                leaks(&format!("{vendor:?} answer {number}"), &text, &secrets);
            });
        }
    }
    while let Some(done) = running.join_next().await {
        done.unwrap();
    }
    assert!(stub.calls() > 5, "{} calls", stub.calls());
    let sent = stub.asked();
    assert!(sent.iter().all(|asked| asked.path.starts_with(&format!("/{ADDRESS}/"))), "the address keeps its path");
    leaks("metrics", &server.client(None).get("/public/metrics").await.expect_text(200), &secrets);
    leaks("status", &amy.get("/app/ai/status").await.expect_text(200), &secrets);
    leaks("readiness", &server.client(None).get("/public/health/ready").await.text(), &secrets);
    let output = server.stop().await;
    assert!(output.contains("/api/v1/app/ai/chat"), "requests are logged:\n{output}");
    leaks("the log", &output, &secrets);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_of_openai_leak_nothing() {
    failing(Vendor::OpenAi).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_of_anthropic_leak_nothing() {
    failing(Vendor::Anthropic).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_of_gemini_leak_nothing() {
    failing(Vendor::Gemini).await;
}

/// Answers, too, are nobody's business but the client's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn successful_answers_are_in_no_log() {
    for vendor in VENDORS {
        let stub = Stub::by(move |asked| vendor.either(asked.is_streamed(), UPSTREAM));
        let (_place, server) = server(&stub, &[("AI_DEFAULT_PROVIDER", vendor.name())]).await;
        let amy = client(&server);
        for streamed in [false, true] {
            let reply = amy.post("/app/ai/chat", json!({"prompt": PROMPT, "stream": streamed})).await;
            assert!(reply.text().contains(UPSTREAM), "{vendor:?}: {}", reply.text());
        }
        leaks("metrics", &server.client(None).get("/public/metrics").await.expect_text(200), &secrets(&stub));
        leaks("the log", &server.stop().await, &secrets(&stub));
    }
}

/// Addresses that cannot be reached, whose errors hold the address in most clients.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unreachable_addresses_leak_nothing() {
    let stub = Stub::start(Script::cut());
    for address in [format!("http://{ADDRESS}:{ADDRESS}@127.0.0.1:1/{ADDRESS}"), format!("http://{ADDRESS}.invalid/{ADDRESS}")] {
        let vars = VENDORS.map(|vendor| (vendor.url_name(), address.as_str()));
        let (_place, server) = server(&stub, &vars).await;
        let amy = client(&server);
        for complexity in ["simple", "complex"] {
            let reply = amy.post("/app/ai/chat/routed", json!({"prompt": PROMPT, "complexity": complexity})).await;
            leaks("answer", &reply.text(), &secrets(&stub));
            reply.expect_error(502, "EXTERNAL_SERVICE_ERROR");
        }
        leaks("the log", &server.stop().await, &secrets(&stub));
    }
}
