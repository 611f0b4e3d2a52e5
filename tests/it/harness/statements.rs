//! The SQL statements of a request, collected from the log events of the database layer.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{LazyLock, Mutex, Once, PoisonError};

use omnistack::platform::http::RequestContext;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use super::client::{Call, Reply};

/// Log target of the database layer's statement events.
const SOURCE: &str = "omnistack::platform::db::stats";

/// Statements by request id, for the requests that are recorded.
static HEARD: LazyLock<Mutex<Heard>> = LazyLock::new(Mutex::default);
type Heard = HashMap<String, Vec<String>>;

fn with_heard<T>(act: impl FnOnce(&mut Heard) -> T) -> T {
    act(&mut HEARD.lock().unwrap_or_else(PoisonError::into_inner))
}

struct Listener;

impl<S: Subscriber> Layer<S> for Listener {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut text = Text(None);
        event.record(&mut text);
        let (Some(request), Some(text)) = (RequestContext::current(), text.0) else { return };
        with_heard(|all| {
            if let Some(statements) = all.get_mut(&request.request_id) {
                statements.push(text);
            }
        });
    }
}

/// The `sql` field of an event.
struct Text(Option<String>);

impl Visit for Text {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "sql" {
            self.0 = Some(value.to_owned());
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn Debug) {}
}

/// Sends the request; returns its response and its statements, in order.
pub async fn statements(call: Call) -> (Reply, Vec<String>) {
    static LISTEN: Once = Once::new();
    LISTEN.call_once(|| {
        let only_there = tracing_subscriber::filter::filter_fn(|metadata| metadata.target() == SOURCE);
        tracing::subscriber::set_global_default(tracing_subscriber::registry().with(Listener.with_filter(only_there))).unwrap();
    });
    let id = uuid::Uuid::now_v7().to_string();
    with_heard(|all| all.insert(id.clone(), Vec::new()));
    let reply = call.header("x-request-id", &id).await;
    (reply, with_heard(|all| all.remove(&id)).unwrap_or_default())
}
