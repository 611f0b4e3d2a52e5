//! The service account's access token, what operators are told, and what no output may hold.

use chrono::TimeDelta;
use futures_util::future::join_all;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use omnistack::app::config::Config;
use omnistack::app::feature::Level;
use omnistack::platform::config::Env;
use serde_json::{Value, json};

use super::google::{ACCESS_TOKEN, Google, claims, envelope};
use super::{Shop, link};
use crate::harness::issuer::rsa_key;
use crate::harness::process::Place;
use crate::harness::{Backend, Client};

crate::on_sqlite![
    access_token_is_fetched_once_and_kept,
    refused_access_token_is_fetched_anew,
    diagnosis_names_what_is_wrong,
    production_needs_the_audience,
    secrets_are_in_no_output,
];

async fn access_token_is_fetched_once_and_kept(b: Backend) {
    let shop = Shop::open(b).await;
    let amy = shop.user("amy").await;
    shop.google.sell("token", shop.sold("ACTIVE", "pro"));
    for reply in join_all((0..10).map(|_| async { link(&amy, "token", "pro").await })).await {
        reply.expect(200);
    }
    assert_eq!(shop.google.assertions().len(), 1, "one fetch at a time");
    shop.t.clock.advance(TimeDelta::minutes(57));
    link(&amy, "token", "pro").await.expect(200);
    assert_eq!(shop.google.assertions().len(), 1);
    shop.t.clock.advance(TimeDelta::minutes(2));
    link(&amy, "token", "pro").await.expect(200);
    let assertions = shop.google.assertions();
    assert_eq!(assertions.len(), 2, "shortly before it expires");
    let key: Jwk = serde_json::from_value(rsa_key(1).jwk()).unwrap();
    let mut rules = Validation::new(Algorithm::RS256);
    rules.set_audience(&[format!("{}/token", shop.google.url)]);
    let assertion = jsonwebtoken::decode::<Value>(&assertions[0], &DecodingKey::from_jwk(&key).unwrap(), &rules).unwrap();
    assert_eq!(assertion.header.kid.as_deref(), Some("key-1"));
    assert_eq!(assertion.claims["iss"], "play@example.iam.gserviceaccount.com");
    assert_eq!(assertion.claims["scope"], "https://www.googleapis.com/auth/androidpublisher");
    assert_eq!(assertion.claims["exp"].as_i64().unwrap() - assertion.claims["iat"].as_i64().unwrap(), 3600);
}

async fn refused_access_token_is_fetched_anew(b: Backend) {
    let shop = Shop::open(b).await;
    let amy = shop.user("amy").await;
    shop.google.sell("token", shop.sold("ACTIVE", "pro"));
    link(&amy, "token", "pro").await.expect(200);
    shop.google.fail(Some(401));
    link(&amy, "token", "pro").await.expect_error(502, "EXTERNAL_SERVICE_ERROR");
    shop.google.fail(None);
    link(&amy, "token", "pro").await.expect(200);
    assert_eq!(shop.google.assertions().len(), 2);
}

/// The findings of the feature: whether each is in order, and its text.
async fn findings(shop: &Shop) -> Vec<(bool, String)> {
    let feature = shop.t.app.features.iter().find(|feature| feature.name() == "google_play").unwrap();
    let found = feature.diagnose(&shop.t.app).await;
    found.into_iter().map(|finding| (finding.level == Level::Ok, finding.text)).collect()
}

async fn diagnosis_names_what_is_wrong(b: Backend) {
    let shop = Shop::open(b).await;
    assert!(findings(&shop).await.iter().all(|(ok, _)| *ok), "{:?}", findings(&shop).await);
    shop.google.fail(Some(403));
    assert_eq!(findings(&shop).await[0], (false, "google_play: 403: backendError".to_owned()));
    shop.google.fail(None);
    let shop = Shop::with(b, &[("GOOGLE_PLAY_PACKAGE_NAME", "com.example.typo"), ("GOOGLE_PUBSUB_AUDIENCE", "")]).await;
    let texts = findings(&shop).await;
    assert_eq!(texts[0], (false, "google_play: there is no app com.example.typo".to_owned()));
    assert_eq!(texts[1], (false, "every notification is refused with 401".to_owned()));
    let shop = Shop::open(b).await;
    shop.google.fail_tokens(Some((400, json!({"error": "invalid_grant"}))));
    assert_eq!(findings(&shop).await[0], (false, "google_play: 400: invalid_grant".to_owned()));
    let shop = Shop::with(b, &[("GOOGLE_PLAY_PACKAGE_NAME", "")]).await;
    assert_eq!(findings(&shop).await.len(), 1);
}

/// The variables with problems in production.
fn problems(vars: Vec<(&'static str, String)>, more: &[(&str, &str)]) -> Vec<String> {
    let more = more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let all = vars.into_iter().map(|(name, value)| (name.to_owned(), value)).chain(more);
    let env = Env::from_vars(all.collect::<std::collections::HashMap<_, _>>());
    let found = match Config::load(env, &omnistack::features::all()) {
        Ok(_) => Vec::new(),
        Err(found) => found.problems,
    };
    let google = |problem: &&omnistack::platform::config::Problem| {
        problem.variable.starts_with("GOOGLE_P") || problem.variable == "GOOGLE_CERTS_URL"
    };
    found.iter().filter(google).map(|problem| problem.variable.clone()).collect()
}

async fn production_needs_the_audience(_: Backend) {
    let google = Google::start().await;
    let (vars, production) = (|| google.vars(), [("ENVIRONMENT", "production"), ("GOOGLE_CERTS_URL", "")]);
    let with = |more: (&'static str, &'static str)| production.into_iter().chain([more]).collect::<Vec<_>>();
    assert_eq!(problems(vars(), &production), [""; 0]);
    assert_eq!(problems(vars(), &with(("GOOGLE_PUBSUB_AUDIENCE", ""))), ["GOOGLE_PUBSUB_AUDIENCE"]);
    assert_eq!(problems(vars(), &with(("GOOGLE_CERTS_URL", "http://127.0.0.1/certs"))), ["GOOGLE_CERTS_URL"]);
    let broken = ("GOOGLE_PLAY_SERVICE_ACCOUNT_JSON", "bm90IGEga2V5");
    assert_eq!(problems(vars(), &with(broken)), ["GOOGLE_PLAY_SERVICE_ACCOUNT_JSON"]);
    // Plain JSON is accepted as well as its base64, and nothing is needed without a package name.
    let mut plain = vars();
    plain[1].1 = google.key_file().to_string();
    assert_eq!(problems(plain, &production), [""; 0]);
    assert_eq!(
        problems(
            vars(),
            &[("ENVIRONMENT", "production"), ("GOOGLE_PLAY_PACKAGE_NAME", ""), ("GOOGLE_PUBSUB_AUDIENCE", ""), ("GOOGLE_CERTS_URL", "")]
        ),
        [""; 0]
    );
}

/// In every purchase token.
const PURCHASE: &str = "canary-purchase-93ab";

async fn secrets_are_in_no_output(_: Backend) {
    let google = Google::start().await;
    let clock = omnistack::platform::clock::Clock::System;
    let mut place = Place::new().with("LOG_LEVEL", "DEBUG").with("DEBUG", "true").with("AUTH_PROVIDER", "custom");
    place = place.with("OAUTH_JWT_SECRET", crate::harness::SECRET).with("SHUTDOWN_DELAY_SECONDS", "0");
    for (name, value) in google.vars() {
        place = place.with(name, &value);
    }
    let server = place.serve().await;
    let amy: Client = server.client(Some(crate::harness::tokens::claims("amy", &clock).sign(crate::harness::SECRET)));
    let push_token = rsa_key(0).token("push", &claims(clock.now()));
    let pusher = server.client(Some(push_token.clone()));
    let sold = super::google::Sold::new("ACTIVE", "pro", clock.now() + TimeDelta::days(30));
    google.sell(PURCHASE, sold.linked(&format!("{PURCHASE}-old")).unacknowledged());
    let mut answers = vec![link(&amy, PURCHASE, "pro").await.text()];
    for (n, failure) in [None, Some(401), Some(403), Some(500)].into_iter().enumerate() {
        google.fail(failure);
        for (token, kind) in [(PURCHASE.to_owned(), 2), (format!("{PURCHASE}-unknown"), 13)] {
            let data = json!({
                "packageName": super::google::PACKAGE, "eventTimeMillis": "1",
                "subscriptionNotification": {"notificationType": kind, "purchaseToken": token, "subscriptionId": "pro"}
            });
            answers.push(pusher.post("/public/webhooks/google", envelope(&format!("{n}-{kind}"), &data)).await.text());
        }
        answers.push(link(&amy, PURCHASE, "pro").await.text());
    }
    google.fail_tokens(Some((400, json!({"error": "invalid_grant", "error_description": PURCHASE}))));
    answers.push(link(&amy, &format!("{PURCHASE}-more"), "pro").await.text());
    answers.push(server.client(Some(format!("{push_token}x"))).post("/public/webhooks/google", json!({"message": PURCHASE})).await.text());
    answers.push(server.client(None).get("/public/metrics").await.expect_text(200));
    answers.push(server.client(None).get("/public/health/ready").await.text());
    let private = google.key_file()["private_key"].as_str().unwrap()[40..80].to_owned();
    let port = google.url.rsplit(':').next().unwrap().to_owned();
    answers.push(server.stop().await);
    for secret in [
        PURCHASE,
        ACCESS_TOKEN,
        "canary-upstream",
        &private,
        &push_token[20..60],
        &google.assertions()[0][20..60],
        &format!("127.0.0.1:{port}"),
    ] {
        for answer in &answers {
            let lines: Vec<_> = answer.lines().filter(|line| line.contains(secret)).collect();
            assert!(lines.is_empty(), "{secret} is in\n{}", lines.join("\n"));
        }
    }
}
