//! HTTP as handlers use it: endpoint policies, extractors with our errors, lists, cursors, idempotency, event streams, sockets.

pub mod context;
pub mod cursor;
pub mod endpoints;
pub mod idempotency;
mod json;
pub mod list;
mod path;
pub mod policy;
mod query;
pub mod quota_headers;
pub mod range;
pub mod recorder;
pub mod shape;
pub mod shown_path;
pub mod sse;
pub mod websocket;

pub use context::RequestContext;
pub use endpoints::{Endpoints, Route};
pub use json::{Json, JsonAt, KeyedJson, RawBody, StreamBody, present};
pub use list::{ListParams, Page};
pub use path::{Path, PathParam};
pub use policy::Policy;
pub use query::Query;
