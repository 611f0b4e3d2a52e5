//! The endpoints that a feature declares: handlers, each with its [`Policy`], and the [`Route`] that registration makes of
//! each.

use axum::routing::MethodRouter;
use http::Method;
use utoipa::openapi::path::PathItem;
use utoipa_axum::router::UtoipaMethodRouter;

use super::policy::Policy;

/// The endpoints of one feature. `S` is the state that handlers take.
pub struct Endpoints<S>(Vec<Endpoint<S>>);

/// Handlers of one path, and their policy.
pub struct Endpoint<S> {
    pub policy: Policy,
    pub handlers: Handlers<S>,
    /// If it returns false, the path is 404 and not in the OpenAPI document.
    pub available: fn(&S) -> bool,
}

pub enum Handlers<S> {
    /// In the OpenAPI document. Paths are relative to the policy's prefix.
    Documented(UtoipaMethodRouter<S>),
    /// A page for browsers: not in the document.
    Page { path: String, methods: Vec<Method>, router: MethodRouter<S> },
}

impl<S> Endpoints<S> {
    pub fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds the handlers of one path: `.add(Policy::user(), routes!(list, create))`.
    pub fn add(self, policy: Policy, handlers: UtoipaMethodRouter<S>) -> Self {
        self.add_when(|_| true, policy, handlers)
    }

    /// As [`Endpoints::add`], for handlers that only some configurations enable.
    pub fn add_when(mut self, available: fn(&S) -> bool, policy: Policy, handlers: UtoipaMethodRouter<S>) -> Self {
        self.0.push(Endpoint { policy, handlers: Handlers::Documented(handlers), available });
        self
    }

    /// Adds a page: `.page(Policy::page(), "/dev/mailbox", [Method::GET], get(list))`.
    pub fn page(self, policy: Policy, path: impl Into<String>, methods: impl IntoIterator<Item = Method>, router: MethodRouter<S>) -> Self {
        self.page_when(|_| true, policy, path, methods, router)
    }

    /// As [`Endpoints::page`], for pages that only some configurations enable.
    pub fn page_when(
        mut self,
        available: fn(&S) -> bool,
        policy: Policy,
        path: impl Into<String>,
        methods: impl IntoIterator<Item = Method>,
        router: MethodRouter<S>,
    ) -> Self {
        let handlers = Handlers::Page { path: path.into(), methods: methods.into_iter().collect(), router };
        self.0.push(Endpoint { policy, handlers, available });
        self
    }
}

impl<S> Default for Endpoints<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> IntoIterator for Endpoints<S> {
    type Item = Endpoint<S>;
    type IntoIter = std::vec::IntoIter<Endpoint<S>>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// One registered route: some methods of one path.
#[derive(Debug, Clone)]
pub struct Route {
    /// Name of the feature that declared it.
    pub feature: &'static str,
    /// As axum matches it, e.g. `/api/v1/app/projects/{project_id}`.
    pub template: String,
    pub methods: Vec<Method>,
    pub policy: Policy,
    /// Whether it is in the OpenAPI document.
    pub documented: bool,
}

impl Route {
    /// Whether the route answers the method. GET routes answer HEAD too.
    pub fn allows(&self, method: &Method) -> bool {
        self.methods.contains(method) || (method == Method::HEAD && self.methods.contains(&Method::GET))
    }
}

/// The methods of a documented path.
pub fn methods(item: &PathItem) -> Vec<Method> {
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
