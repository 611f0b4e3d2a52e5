//! Route records: what is known of a route besides its handler. Registering a handler yields one; the
//! middleware, `omnistack routes`, the OpenAPI zones and the route × caller test all read the same records.

use std::time::Duration;

use http::Method;
use utoipa::openapi::path::PathItem;
use utoipa_axum::router::UtoipaMethodRouter;

use crate::platform::rate_limit::Class;

/// Who may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Zone {
    Public,
    /// A valid token of an active user.
    App,
    /// As `App`, and the caller's role is admin or superadmin.
    Admin,
}

impl Zone {
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Public => "/api/v1/public",
            Self::App => "/api/v1/app",
            Self::Admin => "/api/v1/admin",
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::App => "app",
            Self::Admin => "admin",
        }
    }
}

/// One route: all methods of one template.
#[derive(Debug, Clone)]
pub struct Route {
    /// As axum matches it, e.g. `/api/v1/app/projects/{project_id}`.
    pub template: String,
    pub methods: Vec<Method>,
    pub zone: Zone,
    pub class: Class,
    pub options: Options,
}

/// What differs from the ordinary route.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Counts against the caller's rate limit.
    pub limited: bool,
    /// Appears in request logs and HTTP metrics.
    pub observed: bool,
    /// May be refused when too many requests are in flight.
    pub shed: bool,
    /// Bytes of the body; `None` is `MAX_BODY_BYTES`.
    pub body_limit: Option<usize>,
    /// Time for the answer; `None` is `REQUEST_TIMEOUT_SECONDS`.
    pub deadline: Option<Duration>,
    /// The answer may be compressed.
    pub compress: bool,
    /// The route is there with `AUTH_PROVIDER=local` only.
    pub own_accounts: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { limited: true, observed: true, shed: true, body_limit: None, deadline: None, compress: true, own_accounts: false }
    }
}

impl Options {
    /// For what must answer whatever happens: probes and metrics.
    pub fn probe() -> Self {
        Self { limited: false, observed: false, shed: false, ..Self::default() }
    }
}

impl Route {
    pub fn new(zone: Zone, template: &str, item: &PathItem, options: Options) -> Self {
        let class = Class::of(template);
        Self { template: template.to_owned(), methods: methods(item), zone, class, options }
    }

    /// Whether its answers are for the caller alone, and no cache may keep them.
    pub fn is_private(&self) -> bool {
        self.zone != Zone::Public || self.template.starts_with("/api/v1/public/auth/")
    }

    /// GET routes answer HEAD too.
    pub fn allows(&self, method: &Method) -> bool {
        self.methods.contains(method) || (method == Method::HEAD && self.methods.contains(&Method::GET))
    }
}

fn methods(item: &PathItem) -> Vec<Method> {
    [
        (Method::GET, item.get.is_some()),
        (Method::POST, item.post.is_some()),
        (Method::PUT, item.put.is_some()),
        (Method::PATCH, item.patch.is_some()),
        (Method::DELETE, item.delete.is_some()),
    ]
    .into_iter()
    .filter_map(|(method, offered)| offered.then_some(method))
    .collect()
}

/// The routes of one feature in one zone. Templates are relative to the zone's prefix.
pub struct Routes<S>(pub Vec<(UtoipaMethodRouter<S>, Options)>);

impl<S> Routes<S> {
    pub fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds handlers of one template: `.add(routes!(list, create))`.
    #[expect(clippy::should_implement_trait, reason = "routes are collected, not summed")]
    pub fn add(self, handlers: UtoipaMethodRouter<S>) -> Self {
        self.add_with(Options::default(), handlers)
    }

    pub fn add_with(mut self, options: Options, handlers: UtoipaMethodRouter<S>) -> Self {
        self.0.push((handlers, options));
        self
    }
}

impl<S> Default for Routes<S> {
    fn default() -> Self {
        Self::new()
    }
}
