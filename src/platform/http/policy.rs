//! Endpoint policy: everything that the server must know about a route besides its handler. Middleware, the OpenAPI document,
//! `omnistack routes`, rate limits, logs and the tests read the policy; no code matches on paths.

use std::time::Duration;

use super::version::Version;
use crate::platform::rate_limit::{self, Budget};

/// The policy of one route. Starts from a preset ([`Policy::user`], [`Policy::public`], …); methods change one field each.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    pub version: Version,
    pub area: Area,
    pub access: Access,
    pub credentials: Credentials,
    /// The rate-limit budget that requests count against; `None` is unlimited.
    pub budget: Option<&'static Budget>,
    pub body: RequestBody,
    pub lifetime: Lifetime,
    pub pool: Pool,
    /// Path parameters that logs, traces and metrics never show.
    pub private: &'static [&'static str],
    pub cache: Caching,
    /// Appears in request logs and HTTP metrics.
    pub observed: bool,
}

/// The prefix of the path after the version. It does not decide who may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Area {
    Public,
    App,
    Admin,
    /// Pages for browsers, without an API prefix.
    Site,
}

/// Access level: who may call the route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Access {
    /// Anyone.
    Public,
    /// An active user.
    User,
    /// An active user whose role is admin or superadmin.
    Admin,
    /// The handler verifies the caller: signed webhooks, signed links, tickets of event streams, sockets that upgrade
    /// before they reject a caller.
    SelfVerifying,
    /// A developer: the client and the `Host` of the request are the machine that the server runs on (`MAILBOX_REMOTE` lets in
    /// other clients).
    Developer,
}

/// Location of the access token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credentials {
    /// `Authorization: Bearer <token>`.
    Bearer,
    /// A cookie of this name. Unsafe methods are refused (403) unless the request comes from the same origin.
    Cookie(&'static str),
    /// The query (`?token=`, `?ticket=`), read by the handler. For sockets and event streams, because browsers cannot set headers on them.
    Query,
}

/// Kind and maximum size of the request body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestBody {
    /// JSON, or no body. `None` means `MAX_BODY_BYTES`.
    Json(Option<usize>),
    /// The exact bytes, for signature checks. `None` means `MAX_BODY_BYTES`.
    Raw(Option<usize>),
    /// A stream that the handler reads in pieces; at most this many bytes.
    Stream(usize),
}

/// Time limit of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// From the request's head to the last byte of the response. `None` means `REQUEST_TIMEOUT_SECONDS`.
    Deadline(Option<Duration>),
    /// The response head within `head` (`None` means `REQUEST_TIMEOUT_SECONDS`), then a body without a total limit; it fails
    /// after `idle` without data.
    Stream { head: Option<Duration>, idle: Duration },
    /// An upgraded connection; its handler limits the duration. The upgrade itself has `REQUEST_TIMEOUT_SECONDS`.
    Socket,
}

/// The admission-control pool of a kind of request. Separate pools keep one kind from starving another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Pool {
    Requests,
    /// Uploads and downloads.
    Transfers,
    Streams,
    Sockets,
    /// Never refused for load: probes and metrics.
    Unbounded,
}

/// `Cache-Control` if the handler sets none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caching {
    NoStore,
    /// `no-cache`: stored responses must be revalidated before each use. For event streams.
    NoCache,
    /// Any cache may keep the response for this many seconds.
    Public(u32),
    /// No header.
    Unspecified,
}

impl Access {
    pub fn name(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::User => "user",
            Self::Admin => "admin",
            Self::SelfVerifying => "self-verifying",
            Self::Developer => "developer",
        }
    }

    /// Whether a verified, active user is needed before the handler runs.
    pub fn is_guarded(self) -> bool {
        matches!(self, Self::User | Self::Admin)
    }
}

impl Policy {
    const fn new(area: Area, access: Access, cache: Caching) -> Self {
        Self {
            version: Version::V1,
            area,
            access,
            credentials: Credentials::Bearer,
            budget: Some(&rate_limit::DEFAULT),
            body: RequestBody::Json(None),
            lifetime: Lifetime::Deadline(None),
            pool: Pool::Requests,
            private: &[],
            cache,
            observed: true,
        }
    }

    /// Anyone, under `/api/v1/public`.
    pub const fn public() -> Self {
        Self::new(Area::Public, Access::Public, Caching::Unspecified)
    }

    /// An active user, under `/api/v1/app`.
    pub const fn user() -> Self {
        Self::new(Area::App, Access::User, Caching::NoStore)
    }

    /// An administrator, under `/api/v1/admin`.
    pub const fn admin() -> Self {
        Self::new(Area::Admin, Access::Admin, Caching::NoStore)
    }

    /// For endpoints that must respond under any load: probes and metrics. Not rate-limited, not counted, never refused.
    pub const fn probe() -> Self {
        let mut policy = Self::public();
        policy.budget = None;
        policy.pool = Pool::Unbounded;
        policy.observed = false;
        policy
    }

    /// A page for browsers at its own path, for anyone; neither limited nor counted.
    pub const fn page() -> Self {
        let mut policy = Self::new(Area::Site, Access::Public, Caching::Unspecified);
        policy.budget = None;
        policy.observed = false;
        policy
    }

    /// As [`Policy::page`], for developers only.
    pub const fn developer_page() -> Self {
        let mut policy = Self::page();
        policy.access = Access::Developer;
        policy
    }

    /// A webhook under `/api/v1/public`: the handler checks the sender's signature over the exact bytes.
    pub const fn webhook() -> Self {
        let mut policy = Self::new(Area::Public, Access::SelfVerifying, Caching::Unspecified);
        policy.body = RequestBody::Raw(None);
        policy
    }

    /// A signed link under `/api/v1/public`. `private` is the path parameter that holds the secret.
    pub const fn signed_link(private: &'static [&'static str]) -> Self {
        let mut policy = Self::new(Area::Public, Access::SelfVerifying, Caching::Unspecified);
        policy.private = private;
        policy
    }

    /// A WebSocket under `/api/v1/app`: the handler upgrades first, then closes unauthorized connections with code 1008.
    pub const fn socket() -> Self {
        let mut policy = Self::new(Area::App, Access::SelfVerifying, Caching::NoStore);
        policy.credentials = Credentials::Query;
        policy.lifetime = Lifetime::Socket;
        policy.pool = Pool::Sockets;
        policy
    }

    /// Server-sent events under `/api/v1/app`: the handler verifies a token or, because browsers cannot set headers on them, a ticket in
    /// the query. The stream fails when nothing is sent for `idle`.
    pub const fn event_stream(idle: Duration) -> Self {
        let mut policy = Self::new(Area::App, Access::SelfVerifying, Caching::NoStore);
        policy.credentials = Credentials::Query;
        policy.stream(idle).cache(Caching::NoStore)
    }

    /// A page for users authenticated by this cookie, with a same-origin check on unsafe methods.
    pub const fn console(access: Access, cookie: &'static str) -> Self {
        let mut policy = Self::new(Area::Site, access, Caching::NoStore);
        policy.credentials = Credentials::Cookie(cookie);
        policy
    }

    /// The same below `/api/v2`.
    #[must_use]
    pub const fn v2(mut self) -> Self {
        self.version = Version::V2;
        self
    }

    /// Counts requests against this budget instead of the default one.
    #[must_use]
    pub const fn budget(mut self, budget: &'static Budget) -> Self {
        self.budget = Some(budget);
        self
    }

    #[must_use]
    pub const fn body(mut self, body: RequestBody) -> Self {
        self.body = body;
        self
    }

    #[must_use]
    pub const fn deadline(mut self, deadline: Duration) -> Self {
        self.lifetime = Lifetime::Deadline(Some(deadline));
        self
    }

    /// A response without a fixed end: server-sent events. It fails when nothing is sent for `idle`.
    #[must_use]
    pub const fn stream(mut self, idle: Duration) -> Self {
        self.lifetime = Lifetime::Stream { head: None, idle };
        self.cache = Caching::NoCache;
        self.pool = Pool::Streams;
        self
    }

    /// As [`Policy::stream`], for handlers with time limits of their own until the head: `head` only bounds them.
    #[must_use]
    pub const fn slow_stream(mut self, head: Duration, idle: Duration) -> Self {
        self = self.stream(idle);
        self.lifetime = Lifetime::Stream { head: Some(head), idle };
        self
    }

    #[must_use]
    pub const fn pool(mut self, pool: Pool) -> Self {
        self.pool = pool;
        self
    }

    #[must_use]
    pub const fn cache(mut self, cache: Caching) -> Self {
        self.cache = cache;
        self
    }

    /// Prefix of the path.
    pub fn prefix(&self) -> String {
        let area = match self.area {
            Area::Public => "public",
            Area::App => "app",
            Area::Admin => "admin",
            Area::Site => return String::new(),
        };
        format!("/api/{}/{area}", self.version.name())
    }

    /// Whether the answer may be compressed: not streams of events, which are sent piece by piece, and not files, which
    /// would lose their `Content-Length`.
    pub fn compresses(&self) -> bool {
        matches!(self.lifetime, Lifetime::Deadline(_)) && self.pool != Pool::Transfers
    }

    /// Maximum size of the request body in bytes.
    pub fn body_limit(&self, max_body_bytes: usize) -> usize {
        match self.body {
            RequestBody::Json(limit) | RequestBody::Raw(limit) => limit.unwrap_or(max_body_bytes),
            RequestBody::Stream(limit) => limit,
        }
    }

    /// Time limit for the response head.
    pub fn head_deadline(&self, request_timeout: Duration) -> Duration {
        match self.lifetime {
            Lifetime::Deadline(Some(deadline)) | Lifetime::Stream { head: Some(deadline), .. } => deadline,
            Lifetime::Deadline(None) | Lifetime::Stream { .. } | Lifetime::Socket => request_timeout,
        }
    }
}
