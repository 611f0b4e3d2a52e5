//! The App Store through HTTP, with a certificate authority of the tests. Every file in this folder becomes a module
//! automatically.

automod::dir!("tests/it/features/app_store");

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{Backend, Client, Reply, TestApp};
use authority::APPLE;

const BUNDLE: &str = "com.example.app";
const PRO: &str = "com.example.pro.monthly";
const ENTERPRISE: &str = "com.example.enterprise.monthly";
const DAY: i64 = 86_400;

/// A server that trusts the tests' authority.
struct Shop {
    t: TestApp,
    anybody: Client,
}

/// A paid period of a subscription. Times are seconds from now.
#[derive(Debug, Clone)]
struct Period {
    original: String,
    id: String,
    product: &'static str,
    /// The user that the app named.
    account: Option<String>,
    start: i64,
    end: i64,
}

/// The first period of the subscription: it began yesterday, and ends in a month.
fn period(original: &str, account: Option<&str>) -> Period {
    let (id, account) = (format!("{original}-1"), account.map(str::to_owned));
    Period { original: original.to_owned(), id, product: PRO, account, start: -DAY, end: 30 * DAY }
}

impl Period {
    /// The period that follows.
    fn next(&self, id: &str) -> Self {
        Self { id: format!("{}-{id}", self.original), start: self.end, end: 2 * self.end - self.start, ..self.clone() }
    }
}

/// A notice, before it is signed.
#[derive(Debug, Clone)]
struct Notice {
    kind: &'static str,
    subtype: Option<&'static str>,
    /// Seconds from now.
    at: i64,
    period: Period,
    renewal: Value,
}

fn notice(kind: &'static str, subtype: Option<&'static str>, at: i64, period: &Period) -> Notice {
    Notice { kind, subtype, at, period: period.clone(), renewal: Value::Null }
}

impl Shop {
    async fn open(b: Backend) -> Self {
        Self::with(b, &[]).await
    }

    /// With these variables besides the ones that every shop has.
    async fn with(b: Backend, vars: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root.der");
        std::fs::write(&root, APPLE.root()).unwrap();
        let own = [("APPLE_BUNDLE_ID", BUNDLE), ("APPLE_ROOT_CA_PATH", root.to_str().unwrap()), ("RATE_LIMIT_WEBHOOK", "1000000/minute")];
        let all: Vec<_> = own.iter().chain(vars).copied().collect();
        let t = TestApp::with(b, &all).await;
        let anybody = t.anonymous();
        Self { t, anybody }
    }

    /// A time so many seconds from now.
    fn at(&self, seconds: i64) -> DateTime<Utc> {
        self.t.clock.now() + TimeDelta::seconds(seconds)
    }

    /// As Apple writes times.
    fn millis(&self, seconds: i64) -> i64 {
        self.at(seconds).timestamp_millis()
    }

    fn transaction(&self, period: &Period, at: i64) -> Value {
        let mut payload = json!({
            "originalTransactionId": period.original, "transactionId": period.id, "productId": period.product, "bundleId": BUNDLE,
            "type": "Auto-Renewable Subscription", "environment": "Sandbox", "purchaseDate": self.millis(period.start),
            "expiresDate": self.millis(period.end), "signedDate": self.millis(at)
        });
        if let Some(account) = &period.account {
            payload["appAccountToken"] = account.as_str().into();
        }
        payload
    }

    /// A notice that is about this member, such as `data`.
    fn about(&self, kind: &str, member: &str, about: impl Into<Value>) -> Value {
        json!({
            "notificationType": kind, "notificationUUID": Uuid::now_v7(), "version": "2.0", "signedDate": self.millis(0), member: about.into()
        })
    }

    /// The payload of a notice, its transaction and renewal signed.
    fn payload(&self, notice: &Notice) -> Value {
        let mut data = json!({
            "bundleId": BUNDLE, "environment": "Sandbox",
            "signedTransactionInfo": APPLE.sign(&self.transaction(&notice.period, notice.at))
        });
        if notice.renewal.is_object() {
            let mut renewal = notice.renewal.clone();
            renewal["originalTransactionId"] = notice.period.original.as_str().into();
            renewal["signedDate"] = self.millis(notice.at).into();
            data["signedRenewalInfo"] = APPLE.sign(&renewal).into();
        }
        let mut payload = self.about(notice.kind, "data", data);
        payload["signedDate"] = self.millis(notice.at).into();
        if let Some(subtype) = notice.subtype {
            payload["subtype"] = subtype.into();
        }
        payload
    }

    /// Delivers a signed payload.
    async fn deliver(&self, signed: &str) -> Reply {
        self.anybody.post("/public/webhooks/apple", json!({"signedPayload": signed})).await
    }

    /// Signs and delivers a notice, which must be processed.
    async fn tell(&self, notice: &Notice) {
        let reply = self.deliver(&APPLE.sign(&self.payload(notice))).await;
        assert_eq!(reply.expect(200), json!({"status": "processed"}), "{notice:?}");
    }

    /// A user with a running subscription of the same name as the user.
    async fn buyer(&self, name: &str) -> (Client, Period) {
        let user = self.t.user(name).await;
        let first = period(&format!("{name}-o"), Some(name));
        self.tell(&notice("SUBSCRIBED", Some("INITIAL_BUY"), -1000, &first)).await;
        assert_eq!(state(&user).await, pair("pro", "active"));
        (user, first)
    }

    async fn events(&self) -> i64 {
        self.t.number("SELECT COUNT(*) FROM webhook_events").await
    }
}

/// Plan and status; a user who has had a subscription sees the same in their own view.
async fn state(user: &Client) -> (String, String) {
    let me = user.get("/app/users/me").await.expect(200);
    let billing = user.get("/app/billing/status").await.expect(200);
    if billing["status"].is_string() {
        assert_eq!((&me["subscription_plan"], &me["subscription_status"]), (&billing["plan"], &billing["status"]), "{me} {billing}");
    }
    let text = |name: &str| billing[name].as_str().unwrap_or("-").to_owned();
    (text("plan"), text("status"))
}

fn pair(plan: &str, status: &str) -> (String, String) {
    (plan.to_owned(), status.to_owned())
}
