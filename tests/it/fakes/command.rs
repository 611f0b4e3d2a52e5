//! `omnistack fake-vendors`.

use crate::harness::Client;
use crate::harness::process::{Place, until};

#[tokio::test]
async fn command_prints_variables_and_stops_on_a_signal() {
    for signal in ["TERM", "INT"] {
        let mut server = Place::bare().spawn(&["fake-vendors", "--port", "0", "--mode", "classic"]);
        let printed = until("the variables are printed", async || {
            Some(server.output()).filter(|output| output.contains("STRIPE_PRICE_ID_ENTERPRISE=price_fake_enterprise\n"))
        })
        .await;
        let value = |name: &str| printed.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).unwrap().to_owned();
        let client = Client::new(&value("STRIPE_API_BASE"), Some(value("STRIPE_SECRET_KEY")));
        let price = client.get(&format!("//v1/prices/{}", value("STRIPE_PRICE_ID_MONTHLY"))).await.expect(200);
        assert_eq!(price["recurring"]["interval"], "month");
        assert!(value("STRIPE_WEBHOOK_SECRET").starts_with("whsec_"));
        server.signal(signal);
        assert_eq!(server.ended().await.code(), Some(0), "{}", server.output());
    }
}

#[tokio::test]
async fn command_is_refused_in_production() {
    let refused = Place::bare().with("ENVIRONMENT", "production").run(&["fake-vendors", "--port", "0"]).await;
    assert!(refused.expect_refusal().contains("refused in production"));
}
