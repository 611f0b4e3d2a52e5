//! The links of mails about an account, and their tokens.

use url::Url;

use crate::app::App;
use crate::app::config::Config;
use crate::features::accounts::config::Settings;
use crate::features::accounts::store;
use crate::features::accounts::tokens::{self, Purpose};
use crate::features::users::model::User;
use crate::features::users::service::accounts as users;
use crate::platform::auth::Provider;
use crate::platform::config::Env;
use crate::platform::error::Result;

/// Returns the absolute URL of a path that a mail links to.
pub fn link(app: &App, path: &str) -> String {
    let base = match link_base(&app.config) {
        Some(base) => base.as_str().trim_end_matches('/').to_owned(),
        None => format!("http://localhost:{}", app.config.core.port),
    };
    format!("{base}{path}")
}

/// Stores the token of a mail that is about to be sent and revokes earlier tokens of the same purpose. Returns `false` if the
/// mail must not be sent: the user is deleted or deactivated, or the token was used or revoked since.
pub async fn issue(app: &App, user: &User, purpose: Purpose, token: &str) -> Result<bool> {
    let (now, hash) = (app.clock.now(), tokens::at_rest(token));
    crate::transaction!(app.db, |tx| {
        if users::lock(app, tx, &user.id).await?.is_none_or(|user| !user.is_active) {
            return Ok(false);
        }
        if !store::insert_token(&mut *tx, &hash, &user.id, purpose, now + purpose.life()).await? {
            return Ok(store::token_owner(tx, &hash, purpose, now).await?.is_some());
        }
        store::end_tokens(tx, &user.id, purpose, &hash, now).await?;
        Ok(true)
    })
}

/// Returns the base URL of links in mails, if configured. Never taken from a request, because its sender could choose it.
fn link_base(config: &Config) -> Option<&Url> {
    config.feature::<Settings>().and_then(|settings| settings.link_base.as_ref()).or(config.core.public_base_url.as_ref())
}

/// Requires a configured https base URL of links in production.
pub fn check_config(config: &Config, env: &mut Env) {
    let own = config.feature::<Settings>().and_then(|settings| settings.link_base.as_ref());
    if config.core.environment.is_production() && own.is_some_and(|url| url.scheme() != "https") {
        env.problem(
            "AUTH_LINK_BASE_URL",
            "must be an https URL in production",
            "Set it to the front end that links in mails lead to, e.g. https://app.example.com",
        );
    }
    let local = config.auth.provider == Provider::Local;
    if local && config.core.environment.is_production() && link_base(config).is_none() {
        env.problem(
            "AUTH_LINK_BASE_URL",
            "or PUBLIC_BASE_URL is required in production with AUTH_PROVIDER=local",
            "Set it to the front end that links in mails lead to, e.g. https://app.example.com",
        );
    }
}
