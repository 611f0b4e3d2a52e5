//! The service's own accounts (`AUTH_PROVIDER=local`): registering, logging in, staying logged in, and getting back in.
//!
//! Tables `credentials`, `sessions`, `one_time_tokens`, `ws_tickets`. Routes `/public/auth…`, `/app/auth…`, `/app/ws/ticket`;
//! with another provider all of them but `/public/auth/config` and the last are 404. Pages `/verify-email`, `/reset-password`. Function `send_account_email`. The user itself is `features::users`'.
//!
//! Followed: OWASP ASVS 5.0 (V6 authentication, V7 sessions, V9 tokens), NIST SP 800-63B-4 (passwords), RFC 9700 (rotation of
//! refresh tokens), RFC 8725 and 9068 (access tokens).

pub mod config;
mod jobs;
pub mod model;
mod pages;
mod routes;
mod rules;
pub mod service;
mod store;
mod tokens;

use crate::app::feature::{Cleanup, Feature, When};

pub const FEATURE: Feature = Feature {
    public: routes::public::public,
    app: routes::app::app,
    pages: pages::pages,
    jobs: |registry| registry.add::<jobs::SendAccountEmail>(),
    export: |app, id| Box::pin(async move { service::export(&app, &id).await }),
    erase: |app, tx, id| Box::pin(service::erase(app, tx, id)),
    deactivate: |app, tx, id| Box::pin(service::deactivate(app, tx, id)),
    cleanup: &[Cleanup { when: When::Expired, run: |app| Box::pin(async move { service::sweep(&app).await }) }],
    ..Feature::new("accounts")
};
