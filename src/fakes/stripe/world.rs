//! The objects of the look-alike, its events, and the answers that it remembers by idempotency keys.

use std::collections::{BTreeMap, HashMap};

use http::StatusCode;
use serde_json::{Value, json};
use uuid::Uuid;

use super::refusal::Refusal;
use super::settings::{Price, Settings, Switches};

/// Version of the API whose shapes the objects have, until a client asks for another one.
const FLEXIBLE: &str = "2025-09-30.clover";
const CLASSIC: &str = "2024-06-20";

/// A kind of object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Customer,
    Checkout,
    Portal,
    Subscription,
    Invoice,
    Event,
}

impl Kind {
    /// Word in error messages.
    pub fn noun(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Checkout => "checkout.session",
            Self::Portal => "billing_portal.session",
            Self::Subscription => "subscription",
            Self::Invoice => "invoice",
            Self::Event => "event",
        }
    }

    pub fn new_id(self) -> String {
        let prefix = match self {
            Self::Customer => "cus_",
            Self::Checkout => "cs_test_",
            Self::Portal => "bps_",
            Self::Subscription => "sub_",
            Self::Invoice => "in_",
            Self::Event => "evt_",
        };
        new_id(prefix)
    }
}

/// A fresh id: objects of an earlier run never come back under the same one.
pub fn new_id(prefix: &str) -> String {
    format!("{prefix}{}", Uuid::now_v7().simple())
}

/// What a checkout sells. Stripe does not show it in the session.
#[derive(Debug, Clone)]
pub struct Order {
    pub price: String,
    pub metadata: Value,
}

/// A usage event of a meter.
#[derive(Debug, Clone)]
pub struct Usage {
    pub event_name: String,
    pub customer: String,
    pub value: i64,
    /// Seconds since 1970.
    pub at: i64,
    pub identifier: String,
}

/// An answer that is given again for the same idempotency key.
#[derive(Debug, Clone)]
pub struct Remembered {
    /// Method, path and parameters.
    pub request: Vec<u8>,
    pub status: StatusCode,
    pub body: Value,
}

pub struct World {
    objects: BTreeMap<Kind, Vec<Value>>,
    /// By the id of the checkout.
    pub orders: HashMap<String, Order>,
    pub remembered: HashMap<String, Remembered>,
    pub usage: Vec<Usage>,
    /// Events of the current change, which are to be delivered.
    pub outbox: Vec<Value>,
    pub deliveries: Vec<Delivery>,
    pub switches: Switches,
    pub version: String,
    settings: Settings,
}

/// An attempt to deliver an event.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Delivery {
    pub event: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub attempt: u32,
    /// The status answered; none if there was no answer.
    pub status: Option<u16>,
    /// Why there was no answer, or that the event was dropped on purpose.
    pub note: Option<String>,
}

impl World {
    pub fn new(settings: Settings) -> Self {
        let version = if settings.classic { CLASSIC } else { FLEXIBLE };
        Self {
            objects: BTreeMap::new(),
            orders: HashMap::new(),
            remembered: HashMap::new(),
            usage: Vec::new(),
            outbox: Vec::new(),
            deliveries: Vec::new(),
            switches: Switches::default(),
            version: version.to_owned(),
            settings,
        }
    }

    pub fn is_classic(&self) -> bool {
        self.settings.classic
    }

    /// Seconds since 1970.
    pub fn now(&self) -> i64 {
        self.settings.clock.now().timestamp()
    }

    pub fn deliver_to(&self) -> Option<&str> {
        self.settings.deliver_to.as_ref().map(url::Url::as_str)
    }

    /// Event names of the meters.
    pub fn meters(&self) -> &[String] {
        &self.settings.meters
    }

    pub fn price(&self, id: &str, param: &str) -> Result<&Price, Refusal> {
        self.settings.prices.iter().find(|price| price.id == id).ok_or_else(|| Refusal::missing("price", id, param))
    }

    /// All objects of a kind, oldest first.
    pub fn all(&self, kind: Kind) -> &[Value] {
        self.objects.get(&kind).map(Vec::as_slice).unwrap_or_default()
    }

    /// Adds an object and returns it.
    pub fn add(&mut self, kind: Kind, object: Value) -> Value {
        self.objects.entry(kind).or_default().push(object.clone());
        object
    }

    /// The object that `param` names; 404 if that is the path.
    pub fn get(&self, kind: Kind, id: &str, param: &str) -> Result<&Value, Refusal> {
        self.all(kind).iter().find(|object| object["id"] == id).ok_or_else(|| Refusal::missing(kind.noun(), id, param))
    }

    /// Changes an object and returns it.
    pub fn change(&mut self, kind: Kind, id: &str, change: impl FnOnce(&mut Value)) -> Result<Value, Refusal> {
        let found = self.objects.get_mut(&kind).and_then(|all| all.iter_mut().find(|object| object["id"] == id));
        let object = found.ok_or_else(|| Refusal::missing(kind.noun(), id, "id"))?;
        change(object);
        Ok(object.clone())
    }

    /// The customer, unless it is deleted.
    pub fn customer(&self, id: &str, param: &str) -> Result<&Value, Refusal> {
        let customer = self.get(Kind::Customer, id, param)?;
        if customer["deleted"] == true { Err(Refusal::missing(Kind::Customer.noun(), id, param)) } else { Ok(customer) }
    }

    /// Records an event about an object, and enqueues its delivery.
    pub fn emit(&mut self, kind: &str, object: &Value) {
        self.emit_change(kind, object, Value::Null);
    }

    /// As [`World::emit`], with the members that an update changed, as they were before.
    pub fn emit_change(&mut self, kind: &str, object: &Value, before: Value) {
        let mut data = json!({"object": object});
        if !before.is_null() {
            data["previous_attributes"] = before;
        }
        let event = json!({
            "id": Kind::Event.new_id(), "object": "event", "api_version": self.version, "created": self.now(), "data": data,
            "livemode": false, "pending_webhooks": 1, "request": {"id": null, "idempotency_key": null}, "type": kind
        });
        self.add(Kind::Event, event.clone());
        self.outbox.push(event);
    }
}
