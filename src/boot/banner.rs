//! Start banner: URLs, services in use and their substitutes, warnings of the features, and at the first start the new
//! administrator.

use std::fmt::Write as _;
use std::net::SocketAddr;

use crate::app::App;
use crate::app::config::Core;
use crate::app::feature::Finding;
use crate::platform::auth::{KeySource, Provider};
use crate::platform::config::{Choice, Environment, program};
use crate::platform::db::DatabaseUrl;
use crate::platform::output;

/// Prints the banner to standard output, except in production. `first` is the e-mail address and password of a new user; the
/// password is shown once and never logged.
pub fn print(app: &App, address: SocketAddr, first: Option<(&str, &str)>, warnings: &[Finding]) -> anyhow::Result<()> {
    if app.config.core.environment == Environment::Production {
        return Ok(());
    }
    output::print(text(app, address, first, warnings))
}

fn text(app: &App, address: SocketAddr, first: Option<(&str, &str)>, warnings: &[Finding]) -> String {
    let core = &app.config.core;
    let url = match &core.public_base_url {
        Some(url) => url.as_str().trim_end_matches('/').to_owned(),
        None if address.ip().is_unspecified() => format!("http://localhost:{}", address.port()),
        None => format!("http://{address}"),
    };
    let database = app.config.database.url.as_ref().map_or_else(String::new, DatabaseUrl::describe);
    let redis = if app.redis.is_some() { "Redis" } else { "in memory (set REDIS_URL to share between instances)" };
    let mut out = String::new();
    let mut row = |name: &str, value: &str| {
        let _ = writeln!(out, "  {name:<10} {value}");
    };
    row("API", &format!("{url}/api/v1"));
    if cfg!(feature = "docs-ui") {
        row("docs", &format!("{url}/docs  (to try it)   {url}/redoc  (to read it)"));
    }
    row("health", &format!("{url}/api/v1/public/health/ready"));
    row("metrics", &format!("{url}/api/v1/public/metrics"));
    row("database", &database);
    row("limits", redis);
    row("tokens", &issuer(app));
    for (name, value) in app.features.iter().flat_map(|feature| feature.banner(app)) {
        row(name, &value);
    }
    let mut banner = format!("\n{} {} ({})\n\n{out}", core.project_name, env!("CARGO_PKG_VERSION"), core.environment.name());
    if let Some((email, password)) = first {
        let program = program();
        let _ = write!(
            banner,
            r#"
There was nobody yet, so here is an administrator. The password is shown this once:

  {email}
  {password}

To try it:

  TOKEN=$({program} token --email {email})
  curl -H "Authorization: Bearer $TOKEN" {url}/api/v1/app/users/me
  curl -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' -d '{{"name":"Apollo"}}' {url}/api/v1/app/projects
"#
        );
    }
    for Finding { what, text, remedy, .. } in warnings {
        let _ = write!(banner, "\nWARNING: {what}: {text}\n{remedy}\n");
    }
    banner.push_str(&exposure(core, address).unwrap_or_default());
    banner.push('\n');
    banner
}

/// Warns if development settings are reachable from other machines: the mailbox is shown to whoever asks, and the mails in it
/// hold links that reset passwords.
fn exposure(core: &Core, address: SocketAddr) -> Option<String> {
    if core.environment != Environment::Local || address.ip().to_canonical().is_loopback() {
        return None;
    }
    let when = if core.mailbox_remote { "" } else { ", as soon as a proxy or a tunnel on this machine passes their requests on" };
    Some(format!(
        "\nWARNING: ENVIRONMENT=local listens on {address}: whoever reaches the port can read the mailbox, and so reset every password{when}.\n\
         Set HOST=127.0.0.1, or ENVIRONMENT=staging for a server that others use.\n"
    ))
}

/// Describes whose tokens are trusted.
pub fn issuer(app: &App) -> String {
    let auth = &app.config.auth;
    let issuer = auth.issuer.as_deref().map(|issuer| format!(" {issuer}")).unwrap_or_default();
    match (&auth.keys, auth.provider) {
        (_, Provider::Local) => "own accounts (AUTH_PROVIDER=local)".to_owned(),
        (Some(KeySource::Hs256(_)), provider) => format!("{}{issuer}, HS256 with its shared secret", provider.name()),
        (Some(KeySource::Jwks(url)), provider) => format!("{}{issuer}, keys from {url}", provider.name()),
        (None, provider) => format!("off: {} has no source of keys, every token is refused", provider.name()),
    }
}
