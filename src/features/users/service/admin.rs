//! Listing and changing users, for administrators and operators on the command line.

use crate::app::App;
use crate::features::users::model::{UpdateUser, User};
use crate::features::users::store::{self, Standing};
use crate::platform::actor::Actor;
use crate::platform::auth::Role;
use crate::platform::db::Tx;
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
/// Errors: 400 if the actor takes away their own role or access; 403 if the actor raises their own role, or changes a superadmin or
/// grants `superadmin` without being one; 409 if no active administrator would be left.
pub async fn update(app: &App, actor: &Actor, id: &UserId, change: UpdateUser) -> Result<User> {
    let empty = change.full_name.is_none() && change.avatar_url.is_none() && change.role.is_none() && change.is_active.is_none();
    if empty {
        return get(app, id).await;
    }
    let user = crate::transaction!(app.db, |tx| {
        let rows = store::lock_both(&app.db, tx, id, actor.user.as_ref()).await?;
        let target = rows.iter().find(|row| row.id == *id).ok_or_else(|| id.not_found())?;
        if let Some(own) = &actor.user {
            let acting = acting_role(actor, rows.iter().find(|row| row.id == *own), id);
            if acting.is_none() && removes_admin(target, &change) && !store::any_admin(&mut *tx, Some(id)).await? {
                return Err(Error::Conflict { message: "No active administrator would be left", resource: "User" });
            }
            check_change(acting.ok_or(NO_ADMIN)?, actor, target, &change)?;
        }
        store::update(&mut *tx, id, &change, app.clock.now()).await?;
        if change.is_active == Some(false) {
            end_access(app, tx, id).await?;
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

/// Deactivates a user without checks.
pub(super) async fn deactivate(app: &App, tx: &mut Tx, id: &UserId) -> Result<()> {
    let change = UpdateUser { is_active: Some(false), ..UpdateUser::default() };
    store::update(&mut *tx, id, &change, app.clock.now()).await?;
    end_access(app, tx, id).await
}

/// Ends the access of a user who is being deactivated, in every feature.
async fn end_access(app: &App, tx: &mut Tx, id: &UserId) -> Result<()> {
    // Before what the features do then, such as to ask whether the user may still be connected.
    let (own, user) = (app.clone(), id.clone());
    tx.after_commit(move || super::invalidate(&own, &user));
    for feature in &app.features {
        feature.deactivate(app, tx, id).await?;
    }
    Ok(())
}

/// The actor has lost role or access since the request was admitted.
const NO_ADMIN: Error = Error::Forbidden("Administrators only");

/// Returns the role in which the actor changes this user, by their locked row; `None` for one who is no active administrator any
/// more.
///
/// Administrators stay as long as this is looked at again here: of two who deactivate each other, the second one is no administrator
/// by the time it is their turn.
fn acting_role(actor: &Actor, own: Option<&Standing>, target: &UserId) -> Option<Role> {
    let own = own.filter(|own| own.is_active)?;
    let role = own.role.max(actor.token_role);
    // A role by claim ends with its issuer's will, so nobody writes it into their own row.
    (role >= Role::Admin).then_some(if actor.is(target) { own.role } else { role })
}

/// Returns whether the change takes an active administrator away.
fn removes_admin(target: &Standing, change: &UpdateUser) -> bool {
    let stays = change.is_active != Some(false) && change.role.is_none_or(|role| role >= Role::Admin);
    target.is_active && target.role >= Role::Admin && !stays
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

fn check_change(acting: Role, actor: &Actor, target: &Standing, change: &UpdateUser) -> Result<()> {
    let oneself = actor.is(&target.id);
    if oneself && change.is_active == Some(false) {
        return Err(Error::BadRequest("You cannot deactivate yourself".to_owned()));
    }
    if oneself && change.role.is_some_and(|role| role < actor.role) {
        return Err(Error::BadRequest("You cannot take away your own role".to_owned()));
    }
    let touches_superadmin = target.role == Role::Superadmin || change.role == Some(Role::Superadmin);
    if touches_superadmin && acting != Role::Superadmin {
        return Err(Error::Forbidden("Only a superadmin changes a superadmin, or grants that role"));
    }
    if oneself && change.role.is_some_and(|role| role > acting) {
        return Err(Error::Forbidden("You cannot raise your own role"));
    }
    Ok(())
}
