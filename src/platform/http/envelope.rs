//! The envelope of resources from version 2 of the API on: `{"data": …, "meta": …}`. Errors and probes have none.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::context::RequestContext;
use super::version::Version;
use crate::platform::clock::Clock;

/// A resource and the request that it answers.
#[derive(Debug, Serialize, ToSchema)]
pub struct Envelope<T> {
    pub data: T,
    pub meta: EnvelopeMeta,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"request_id": "0199f3b0-7c1e-7d2a-9f2e-6f0f3c1b2a4d", "timestamp": "2026-01-10T12:00:00.123456Z", "version": "v2"}))]
pub struct EnvelopeMeta {
    /// As in the header `X-Request-ID`.
    pub request_id: String,
    pub timestamp: DateTime<Utc>,
    /// The version of the API that answered.
    #[schema(value_type = String)]
    pub version: Version,
}

impl<T> Envelope<T> {
    /// Wraps the answer to a request, with the version of its route.
    pub fn of(request: &RequestContext, clock: &Clock, data: T) -> Self {
        let version = request.route.as_ref().map_or(Version::LATEST, |route| route.policy.version);
        Self { data, meta: EnvelopeMeta { request_id: request.request_id.clone(), timestamp: clock.now(), version } }
    }
}
