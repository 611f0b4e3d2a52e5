//! Tests of the local look-alikes of vendors: what they answer, send and show.

mod api;
mod command;
mod pages;
mod webhooks;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Bytes;
use http::{HeaderMap, Method, StatusCode};
use omnistack::fakes::stripe::{Fake, Settings};
use omnistack::platform::crypto::{hex, hmac_sha256};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::harness::{Client, Reply, eventually};

const SECRET: &str = "whsec_of_this_test";

/// The server that the webhooks go to: keeps what it received, and answers the given statuses, then 200.
struct Receiver {
    url: String,
    received: Arc<Mutex<Vec<(String, Bytes)>>>,
}

impl Receiver {
    async fn start(statuses: &[u16]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let receiver = Self { url: format!("http://{}/hook", listener.local_addr().unwrap()), received: Arc::default() };
        let (received, mut statuses) = (receiver.received.clone(), statuses.to_vec());
        statuses.reverse();
        let statuses = Arc::new(Mutex::new(statuses));
        let receive = move |headers: HeaderMap, body: Bytes| async move {
            let signature = headers["stripe-signature"].to_str().unwrap().to_owned();
            received.lock().unwrap().push((signature, body));
            StatusCode::from_u16(statuses.lock().unwrap().pop().unwrap_or(200)).unwrap()
        };
        tokio::spawn(axum::serve(listener, axum::Router::new().fallback(receive)).into_future());
        receiver
    }

    /// All events in the order of their arrival; checks their signatures.
    fn events(&self) -> Vec<Value> {
        let received = self.received.lock().unwrap();
        let event = |(signature, body): &(String, Bytes)| {
            let (time, mac) = signature.strip_prefix("t=").unwrap().split_once(",v1=").unwrap();
            let signed = [time.as_bytes(), b".", body].concat();
            assert_eq!(mac, hex(&hmac_sha256(SECRET.as_bytes(), &signed)));
            serde_json::from_slice(body).unwrap()
        };
        received.iter().map(event).collect()
    }

    fn types(&self) -> Vec<String> {
        self.events().iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect()
    }

    /// The types that follow the first `seen` ones, when there are as many as wanted.
    async fn expect(&self, seen: usize, wanted: &[&str]) {
        eventually("the events arrive", async || self.received.lock().unwrap().len() >= seen + wanted.len()).await;
        assert_eq!(self.types()[seen..], *wanted);
    }
}

/// A running look-alike with a receiver of its webhooks, and a client with its key.
struct Shop {
    fake: Fake,
    receiver: Receiver,
    client: Client,
}

impl Shop {
    async fn open(classic: bool) -> Self {
        Self::answered(classic, &[]).await
    }

    /// As [`Shop::open`]; the first webhooks are answered with these statuses.
    async fn answered(classic: bool, statuses: &[u16]) -> Self {
        let receiver = Receiver::start(statuses).await;
        let settings = Settings {
            webhook_secret: SECRET.to_owned(),
            deliver_to: Some(receiver.url.parse().unwrap()),
            classic,
            retry_pause: Duration::from_millis(1),
            ..Settings::default()
        };
        let fake = Fake::start(settings).await.unwrap();
        let client = Client::new(&fake.url, Some("sk_test_fake".to_owned()));
        Self { fake, receiver, client }
    }

    async fn get(&self, path: &str) -> Reply {
        self.client.get(&format!("//{path}")).await
    }

    async fn form(&self, path: &str, form: &str) -> Reply {
        self.client.call(Method::POST, &format!("//{path}")).body("application/x-www-form-urlencoded", form.to_owned()).await
    }

    async fn customer(&self) -> String {
        let made = self.form("v1/customers", "email=ada@example.com&metadata[user_id]=u1").await.expect(200);
        eventually("the customer is told", async || self.receiver.types().contains(&"customer.created".to_owned())).await;
        made["id"].as_str().unwrap().to_owned()
    }

    async fn checkout(&self, customer: &str) -> Value {
        let form = format!(
            "mode=subscription&customer={customer}&client_reference_id=u1&line_items[0][price]=price_fake_monthly&line_items[0][quantity]=1\
             &subscription_data[metadata][user_id]=u1&success_url=http://localhost:3000/ok?session={{CHECKOUT_SESSION_ID}}\
             &cancel_url=http://localhost:3000/no"
        );
        self.form("v1/checkout/sessions", &form).await.expect(200)
    }

    /// A customer with an active subscription; returns the ids of both. Five events were sent.
    async fn subscriber(&self) -> (String, String) {
        let customer = self.customer().await;
        let checkout = self.checkout(&customer).await;
        let paid = self.form(&format!("c/pay/{}", checkout["id"].as_str().unwrap()), "action=pay").await;
        assert_eq!(paid.status, 303, "{}", paid.text());
        let all = self.get(&format!("v1/subscriptions?customer={customer}")).await.expect(200);
        (customer, all["data"][0]["id"].as_str().unwrap().to_owned())
    }

    async fn subscription(&self, id: &str) -> Value {
        self.get(&format!("v1/subscriptions/{id}")).await.expect(200)
    }

    async fn advance(&self, days: i64) {
        self.client.post("//_fake/advance", json!({"days": days})).await.expect(200);
    }
}
