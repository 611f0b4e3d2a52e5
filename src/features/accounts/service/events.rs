//! Metrics of log-ins and related events.

use crate::app::App;
use crate::platform::auth::Provider;
use crate::platform::config::Choice;

/// Counts an event: `login`, `failed`, `signup`, `logout` or `token_refresh`.
pub(super) fn count_event(app: &App, event: &str) {
    app.metrics.auth_events.with_label_values(&[event, Provider::Local.name()]).inc();
}
