//! Users as the identity provider tells of them outside of tokens, for the features that receive its webhooks.

use serde::{Deserialize, Serialize};

use super::{accounts, admin, invalidate};
use crate::app::App;
use crate::features::users::store::{self, NewUser, profile_sync};
use crate::platform::auth::Role;
use crate::platform::config::Choice;
use crate::platform::db::Tx;
use crate::platform::error::{Error, Result};
use crate::platform::id::UserId;
use crate::platform::telemetry::auth_events::AuthEvent;

/// A profile, bounded by `platform::auth::profile`. Absent members are not told.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    pub email: Option<String>,
    pub full_name: Option<String>,
    pub avatar_url: Option<String>,
}

/// How a profile was applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Synced {
    Done,
    /// Inserting: the user exists. Updating: there is no such user. Nothing changed.
    Nothing,
    /// The address belongs to another user: it is left out. Nothing is inserted.
    EmailTaken,
}

/// Inserts the user, with the welcome mail if `welcome`. Without an address nothing is inserted.
pub async fn insert(app: &App, tx: &mut Tx, id: &UserId, profile: Profile, welcome: bool) -> Result<Synced> {
    let Some(email) = profile.email else { return Ok(Synced::Nothing) };
    let user = NewUser {
        id: id.clone(),
        email,
        full_name: profile.full_name,
        avatar_url: profile.avatar_url,
        role: Role::User,
        last_login_at: None,
        login_count: 0,
    };
    if !store::insert(&mut *tx, &user, app.clock.now()).await? {
        let exists = store::own_view(&mut *tx, id).await?.is_some();
        return Ok(if exists { Synced::Nothing } else { Synced::EmailTaken });
    }
    if welcome {
        accounts::welcome(app, tx, id).await?;
    }
    let (app, id) = (app.clone(), id.clone());
    tx.after_commit(move || {
        invalidate(&app, &id);
        tracing::info!(user_id = id.as_str(), "user created by webhook");
        app.metrics.auth_events.with_label_values(&["signup", app.config.auth.provider.name()]).inc();
    });
    Ok(Synced::Done)
}

/// Changes the told members of the user's profile.
pub async fn update(app: &App, tx: &mut Tx, id: &UserId, profile: &Profile) -> Result<Synced> {
    let Profile { email, full_name, avatar_url } = profile;
    let now = app.clock.now();
    let stored = profile_sync::update(&mut *tx, id, email.as_deref(), full_name.as_deref(), avatar_url.as_deref(), now).await;
    let stored = stored.map_err(|error| {
        let error: Error = error.into();
        error.contended_if_taken()
    })?;
    let Some(stored) = stored else { return Ok(Synced::Nothing) };
    let (app, id) = (app.clone(), id.clone());
    tx.after_commit(move || invalidate(&app, &id));
    Ok(if email.as_ref().is_some_and(|email| *email != stored) { Synced::EmailTaken } else { Synced::Done })
}

/// Deactivates a user who was deleted at the identity provider, and ends their access as the administrators' deactivation does.
///
/// The last active administrator is deactivated too, with an error in the log: nobody can log in as them any more, so keeping
/// the row active would keep nobody but the holder of a stolen token. `omnistack users promote` makes another administrator.
pub async fn deactivate(app: &App, tx: &mut Tx, id: &UserId) -> Result<()> {
    let Some(user) = store::lock(&app.db, &mut *tx, id).await?.filter(|user| user.is_active) else { return Ok(()) };
    admin::deactivate(app, tx, id).await?;
    let last_admin = user.role >= Role::Admin && !store::any_admin(&mut *tx, None).await?;
    let (app, id) = (app.clone(), id.clone());
    tx.after_commit(move || {
        invalidate(&app, &id);
        AuthEvent::of_user("deactivation", &id).detail("deleted_at_provider").succeeded();
        if last_admin {
            tracing::error!(
                user_id = id.as_str(),
                "the last active administrator was deleted at the identity provider: make another one with `omnistack users promote`"
            );
        }
    });
    Ok(())
}
