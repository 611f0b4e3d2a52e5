//! Google Play through HTTP, against a stand-in for Google. Every file in this folder becomes a module automatically.

automod::dir!("tests/it/features/google_play");

use chrono::{DateTime, TimeDelta, Utc};
use http::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::issuer::rsa_key;
use crate::harness::{Backend, Call, Client, TestApp};
use google::{Google, PACKAGE, Sold};

/// A server that is told by its Google.
struct Shop {
    t: TestApp,
    google: Google,
    /// A valid push token.
    pusher: Client,
}

impl Shop {
    async fn open(b: Backend) -> Self {
        Self::with(b, &[]).await
    }

    /// With these variables besides those of Google.
    async fn with(b: Backend, vars: &[(&str, &str)]) -> Self {
        let google = Google::start().await;
        let own = google.vars();
        let all: Vec<_> = own.iter().map(|(name, value)| (*name, value.as_str())).chain(vars.iter().copied()).collect();
        let t = TestApp::with(b, &all).await;
        let pusher = t.with_token(&rsa_key(0).token("push", &google::claims(t.clock.now())));
        Self { t, google, pusher }
    }

    /// A time so many seconds from now.
    fn at(&self, seconds: i64) -> DateTime<Utc> {
        self.t.clock.now() + TimeDelta::seconds(seconds)
    }

    /// The data of a notification.
    fn note(&self, kind: i64, token: &str, product: &str, seconds: i64) -> Value {
        json!({
            "version": "1.0", "packageName": PACKAGE, "eventTimeMillis": self.at(seconds).timestamp_millis().to_string(),
            "subscriptionNotification": {"version": "1.0", "notificationType": kind, "purchaseToken": token, "subscriptionId": product}
        })
    }

    fn push(&self, id: &str, data: &Value) -> Call {
        self.pusher.call(Method::POST, "/public/webhooks/google").json(&google::envelope(id, data))
    }

    /// Pushes a notification under a new id.
    async fn tell(&self, kind: i64, token: &str, product: &str, seconds: i64) {
        let reply = self.push(&Uuid::now_v7().to_string(), &self.note(kind, token, product, seconds)).await;
        assert_eq!(reply.expect(200), json!({"status": "processed"}));
    }

    /// A purchase of the product that ends in a month.
    fn sold(&self, state: &str, product: &str) -> Sold {
        Sold::new(state, product, self.at(30 * 86_400))
    }

    /// A user whose token outlives the clock's jumps.
    async fn user(&self, name: &str) -> Client {
        let expires = self.at(30 * 86_400).timestamp();
        let token = crate::harness::tokens::claims(name, &self.t.clock).with("exp", expires.into()).sign(crate::harness::SECRET);
        let user = self.t.with_token(&token);
        user.get("/app/users/me").await.expect(200);
        user
    }

    /// A user who has this purchase token.
    async fn buyer(&self, name: &str, token: &str) -> Client {
        let user = self.user(name).await;
        self.t.sql(&format!("UPDATE users SET google_purchase_token = '{token}' WHERE id = '{name}'")).await;
        user
    }

    /// Runs the jobs that are due within this many minutes.
    async fn jobs_after(&self, minutes: i64) {
        self.t.clock.advance(TimeDelta::minutes(minutes));
        self.t.run_jobs().await;
    }

    async fn waiting(&self, function: &str) -> i64 {
        self.t.number(&format!("SELECT COUNT(*) FROM jobs WHERE function = '{function}' AND status = 'queued'")).await
    }
}

/// Plan and status of the user; both views must agree.
async fn state(user: &Client) -> (String, String) {
    let me = user.get("/app/users/me").await.expect(200);
    let billing = user.get("/app/billing/status").await.expect(200);
    let text = |name: &str| me[name].as_str().unwrap_or("-").to_owned();
    let of_user = (text("subscription_plan"), text("subscription_status"));
    if of_user != pair("-", "-") {
        assert_eq!((&me["subscription_plan"], &me["subscription_status"]), (&billing["plan"], &billing["status"]), "{me} {billing}");
    }
    of_user
}

fn pair(plan: &str, status: &str) -> (String, String) {
    (plan.to_owned(), status.to_owned())
}

fn link(user: &Client, token: &str, product: &str) -> Call {
    user.post("/app/billing/iap/google", json!({"purchase_token": token, "subscription_id": product}))
}
