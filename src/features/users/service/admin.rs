//! Listing and changing users, for administrators and operators on the command line.

use crate::app::App;
use crate::features::users::model::{Identity, UpdateUser, User};
use crate::features::users::store;
use crate::platform::actor::Actor;
use crate::platform::auth::Role;
use crate::platform::error::{Error, Result};
use crate::platform::http::list::List;
use crate::platform::id::{PathId, UserId};
use crate::platform::telemetry::auth_events::AuthEvent;

pub async fn get(app: &App, id: &UserId) -> Result<User> {
    store::by_id(&app.db, id).await?.ok_or_else(|| id.not_found())
}

/// Lists all users, or only active or deactivated ones.
pub fn list(active: Option<bool>) -> List<User> {
    store::list(active)
}

/// Changes a user.
///
/// Errors: 400 if the actor removes their own role or access; 403 if the actor grants or removes `superadmin` without being a
/// superadmin.
pub async fn update(app: &App, actor: &Actor, id: &UserId, change: UpdateUser) -> Result<User> {
    let empty = change.full_name.is_none() && change.avatar_url.is_none() && change.role.is_none() && change.is_active.is_none();
    if empty {
        return get(app, id).await;
    }
    let user = crate::transaction!(app.db, |tx| {
        let target = store::lock(&app.db, tx, id).await?.ok_or_else(|| id.not_found())?;
        check_change(actor, id, &target, &change)?;
        store::update(&mut *tx, id, &change, app.clock.now()).await?;
        if change.is_active == Some(false) {
            for feature in &app.features {
                feature.deactivate(app, tx, id).await?;
            }
        }
        let (app, id) = (app.clone(), id.clone());
        let user = store::by_id(&mut *tx, &id).await?.ok_or_else(|| id.not_found())?;
        tx.after_commit(move || super::invalidate(&app, &id));
        Ok(user)
    })?;
    tracing::info!(actor = actor.name(), action = "user.update", target_id = id.as_str(), "user changed");
    log_access_change(actor, id, &change);
    Ok(user)
}

/// Logs a change of role or access as an authentication event.
fn log_access_change(actor: &Actor, id: &UserId, change: &UpdateUser) {
    if let Some(role) = change.role {
        AuthEvent::of_user("role_change", id).by(actor).detail(role.name()).succeeded();
    }
    if let Some(active) = change.is_active {
        AuthEvent::of_user(if active { "activation" } else { "deactivation" }, id).by(actor).succeeded();
    }
}

pub async fn set_active(app: &App, actor: &Actor, id: &UserId, active: bool) -> Result<User> {
    update(app, actor, id, UpdateUser { is_active: Some(active), ..UpdateUser::default() }).await
}

fn check_change(actor: &Actor, id: &UserId, target: &Identity, change: &UpdateUser) -> Result<()> {
    let oneself = actor.is(id);
    if oneself && change.is_active == Some(false) {
        return Err(Error::BadRequest("You cannot deactivate yourself".to_owned()));
    }
    let Some(role) = change.role else { return Ok(()) };
    let touches_superadmin = role != target.role && (role == Role::Superadmin || target.role == Role::Superadmin);
    if touches_superadmin && actor.role != Role::Superadmin {
        return Err(Error::Forbidden("Only a superadmin grants or removes superadmin"));
    }
    if oneself && role < actor.role {
        return Err(Error::BadRequest("You cannot take away your own role".to_owned()));
    }
    Ok(())
}
