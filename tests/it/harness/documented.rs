//! Compares every answer of a test server with its OpenAPI documents: an operation must describe each status that it returns.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::{Router, body::Body};
use http::{Method, StatusCode};
use omnistack::boot::router::Built;

/// Reports undocumented statuses at its end: dropped at the end of a test, it fails the test.
pub struct Documented(Arc<Answers>);

struct Answers {
    /// Operations by method and template, with the statuses that they describe.
    operations: HashMap<(String, String), Vec<String>>,
    undocumented: Mutex<BTreeSet<String>>,
}

impl Documented {
    /// Returns the server's router, whose answers are compared from now on.
    pub fn watch(built: &Built) -> (Self, Router) {
        let apis: Vec<_> = built.apis.iter().map(|(_, api)| serde_json::to_value(api).unwrap()).collect();
        let mut operations = HashMap::new();
        for (path, item) in apis.iter().flat_map(|api| api["paths"].as_object().unwrap()) {
            for (method, operation) in item.as_object().unwrap() {
                if let Some(responses) = operation["responses"].as_object() {
                    operations.insert((method.to_uppercase(), path.clone()), responses.keys().cloned().collect());
                }
            }
        }
        let answers = Arc::new(Answers { operations, undocumented: Mutex::default() });
        let router = built.router.clone().layer(from_fn_with_state(answers.clone(), compare));
        (Self(answers), router)
    }

    /// The undocumented answers so far, which are forgotten.
    pub fn take(&self) -> BTreeSet<String> {
        std::mem::take(&mut *self.0.undocumented.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Documented {
    fn drop(&mut self) {
        let found = self.take();
        if !std::thread::panicking() {
            assert!(found.is_empty(), "answers that the OpenAPI document does not describe; add them to `responses(…)`: {found:?}");
        }
    }
}

async fn compare(State(answers): State<Arc<Answers>>, request: Request<Body>, next: Next) -> Response {
    // A request that matches no route belongs to no operation.
    let template = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let method = if request.method() == Method::HEAD { Method::GET } else { request.method().clone() };
    let response = next.run(request).await;
    if let Some(template) = template {
        answers.note(&method, template, response.status());
    }
    response
}

impl Answers {
    /// Notes an answer that its operation does not describe. A method that a path lacks is no operation.
    fn note(&self, method: &Method, template: String, status: StatusCode) {
        let operation = (method.to_string(), template);
        let Some(described) = self.operations.get(&operation) else { return };
        if !described.iter().any(|known| known == status.as_str()) {
            let what = format!("{status} of {} {}", operation.0, operation.1);
            self.undocumented.lock().unwrap_or_else(PoisonError::into_inner).insert(what);
        }
    }
}
