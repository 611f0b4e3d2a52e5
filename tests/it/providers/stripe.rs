//! Stripe's client: time-outs of an operation, the address of calls, and ids that must not be sent.

use std::time::{Duration, Instant};

use omnistack::platform::config::{Env, Section};
use omnistack::platform::error::Error;
use omnistack::platform::outgoing::Outgoing;
use omnistack::platform::telemetry::metrics::Metrics;
use omnistack::providers::payments::stripe::{Config, Stripe};
use tokio::net::TcpListener;

use super::stub::Stub;

fn client(base: &str) -> Stripe {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let vars = [("STRIPE_SECRET_KEY", "sk_test_key\n"), ("STRIPE_API_BASE", base)];
    let config = Config::read(&mut Env::from_vars(vars.map(|(name, value)| (name.to_owned(), value.to_owned()))));
    Stripe::new(&config, &Outgoing::new(&Metrics::default()).unwrap()).unwrap()
}

/// A server that accepts connections and never answers.
async fn silent() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            open.push(stream);
        }
    });
    url
}

#[tokio::test]
async fn operation_with_silent_stripe_ends_in_time() {
    let stripe = client(&silent().await);
    let operation = stripe.operation_within(Duration::from_millis(300));
    let started = Instant::now();
    for _ in 0..3 {
        let error = operation.invoices("cus_1", 10).await.unwrap_err();
        assert_eq!(error.cause, "stripe: no answer in time");
        assert!(matches!(Error::from(error), Error::Upstream { service: "stripe", retry_after: Some(1), .. }));
    }
    assert!(started.elapsed() < Duration::from_secs(2), "the limit is that of all calls together: {:?}", started.elapsed());
}

#[tokio::test]
async fn base_url_may_have_a_path() {
    let stub = Stub::start(200, &[], r#"{"data": []}"#).await;
    for (base, path) in [("", "/v1/invoices"), ("/", "/v1/invoices"), ("/proxy/", "/proxy/v1/invoices")] {
        client(&format!("{}{base}", stub.url)).operation().invoices("cus_1", 10).await.unwrap();
        let asked = stub.asked().pop().unwrap();
        assert_eq!((asked.path.as_str(), asked.header("authorization")), (path, Some("Bearer sk_test_key")));
    }
}

#[tokio::test]
async fn id_with_foreign_characters_is_not_sent() {
    let stub = Stub::start(200, &[], "{}").await;
    let stripe = client(&stub.url);
    for id in ["../customers/cus_1", "sub_1?expand=x", "sub 1", "sub_é", "sub_1#", "sub%2F1"] {
        assert!(stripe.operation().subscription(id).await.is_err(), "{id}");
    }
    assert!(stub.asked().is_empty());
    // A customer is a parameter, which is encoded.
    stripe.operation().invoices("cus_1&limit=100#", 10).await.unwrap();
    assert_eq!(stub.asked().len(), 1);
}

#[tokio::test]
async fn answer_has_the_vendors_time() {
    let stub = Stub::start(200, &[("date", "Sat, 28 Nov 2026 05:00:00 GMT")], r#"{"id": "sub_1"}"#).await;
    let reply = client(&stub.url).operation().subscription("sub_1").await.unwrap();
    assert_eq!((reply.object["id"].as_str(), reply.at.map(|at| at.timestamp())), (Some("sub_1"), Some(1_795_842_000)));
}
