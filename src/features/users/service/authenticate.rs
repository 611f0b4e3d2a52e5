//! Maps verified claims to a user: creates the row at the first request and counts logins.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use super::welcome::{insert_and_welcome, welcome_of};
use crate::app::App;
use crate::features::users::model::{Identity, LoadedUser, UserRead};
use crate::features::users::state::State;
use crate::features::users::store::{self, NewUser, OwnRow};
use crate::platform::actor::{Actor, CurrentUser};
use crate::platform::auth::{Claims, Provider, Role, placeholder_emails};
use crate::platform::config::Choice;
use crate::platform::error::{Error, Result};
use crate::platform::http::RequestContext;

/// Tokens without an `iat` claim count as a login at most once in this time.
const UNDATED_LOGIN: TimeDelta = TimeDelta::minutes(15);

/// What happens to claims of a user without a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Newcomer {
    Made,
    Refused,
}

/// Returns the active user of verified claims, and the user's row if it was read. 403 if the user is deactivated.
async fn authenticate(
    app: &App,
    claims: Arc<Claims>,
    request: &RequestContext,
    newcomer: Newcomer,
) -> Result<(CurrentUser, Option<LoadedUser>)> {
    let (state, now) = (app.state::<State>(), app.clock.now());
    let mut loaded = None;
    let identity = state
        .identities
        .get_or_load(claims.subject.shared(), now, async || {
            state.presence.note(&claims.subject, now);
            // Boxed because it is rare: otherwise the future of every request would include its size.
            let row = Box::pin(load(app, &claims, now, newcomer)).await?;
            let identity = Identity { role: row.user.role, is_active: row.user.is_active, last_login_at: row.last_login_at };
            loaded = Some(row.user);
            Ok::<_, Error>(identity)
        })
        .await?;
    if !identity.is_active {
        app.metrics.auth_failures.with_label_values(&["inactive_user"]).inc();
        return Err(Error::Forbidden("Account is deactivated"));
    }
    if app.config.auth.provider != Provider::Local
        && let Some(login) = Login::newer_than(identity.last_login_at, &claims, now)
    {
        Box::pin(count_login(app, &claims, login, now)).await?;
    }
    let actor = Actor {
        user: Some(claims.subject.clone()),
        role: identity.role.max(claims.role),
        token_role: claims.role,
        impersonator: None,
        address: Some(request.client_ip),
        request_id: Some(request.request_id.clone()),
        session: claims.session.clone(),
    };
    Ok((CurrentUser { id: claims.subject.clone(), claims, actor }, loaded.map(LoadedUser)))
}

/// As [`authenticate`], with the features' checks of their access; notes in the request whether an administrator acts in the
/// user's name.
pub async fn admit(app: &App, claims: Arc<Claims>, request: &RequestContext) -> Result<(CurrentUser, Option<LoadedUser>)> {
    let (user, loaded) = authenticate(app, claims, request, Newcomer::Made).await?;
    if user.account().is_none() {
        request.set_impersonated();
    }
    check_access(app, &user).await?;
    Ok((user, loaded))
}

/// As [`admit`], for the caller of an open connection or of a ticket: a user who was removed meanwhile is not made anew.
pub async fn readmit(app: &App, claims: Arc<Claims>, request: &RequestContext) -> Result<CurrentUser> {
    let (user, _) = authenticate(app, claims, request, Newcomer::Refused).await?;
    check_access(app, &user).await?;
    Ok(user)
}

async fn check_access(app: &App, user: &CurrentUser) -> Result<()> {
    for check in &app.access_checks {
        check.check(app, user).await?;
    }
    Ok(())
}

/// Reads or creates the user's row. If several first requests are concurrent, one creates the row and all return it.
async fn load(app: &App, claims: &Claims, now: DateTime<Utc>, newcomer: Newcomer) -> Result<OwnRow> {
    let id = &claims.subject;
    if let Some(row) = store::own_row(&app.db, id).await? {
        return Ok(row);
    }
    if app.config.auth.provider == Provider::Local || newcomer == Newcomer::Refused {
        // Tokens of the local provider are issued only to existing users, so this user was removed.
        app.metrics.auth_failures.with_label_values(&["invalid_token"]).inc();
        return Err(Error::Unauthenticated("Invalid token"));
    }
    let emails = claims.email.clone().map_or_else(|| placeholder_emails(id), |email| vec![email]);
    for email in emails {
        let user = NewUser {
            id: id.clone(),
            email,
            full_name: claims.full_name.clone(),
            avatar_url: claims.avatar_url.clone(),
            role: Role::User,
            last_login_at: Some(now),
            login_count: 1,
        };
        let welcome = claims.email.is_some().then(|| welcome_of(&user.email, user.full_name.as_deref()));
        if insert_and_welcome(app, &user, welcome, now).await? {
            tracing::info!(user_id = id.as_str(), "user created at first request");
            app.metrics.auth_events.with_label_values(&["signup", app.config.auth.provider.name()]).inc();
            return Ok(OwnRow { last_login_at: user.last_login_at, user: own_view(user, now) });
        }
        if let Some(row) = store::own_row(&app.db, id).await? {
            return Ok(row);
        }
    }
    Err(Error::Conflict { message: "This e-mail address belongs to another account", resource: "User" })
}

fn own_view(user: NewUser, now: DateTime<Utc>) -> UserRead {
    UserRead {
        id: user.id,
        email: user.email,
        full_name: user.full_name,
        avatar_url: user.avatar_url,
        role: user.role,
        is_active: true,
        subscription_plan: None,
        subscription_status: None,
        created_at: now,
    }
}

/// A login derived from a token.
struct Login {
    at: DateTime<Utc>,
    /// Counted only if no login at this time or later was counted.
    only_after: DateTime<Utc>,
}

impl Login {
    /// Returns the login if the token was issued after the last login.
    fn newer_than(last: Option<DateTime<Utc>>, claims: &Claims, now: DateTime<Utc>) -> Option<Self> {
        let issued = claims.issued_at.and_then(|seconds| DateTime::from_timestamp(seconds, 0));
        let (at, only_after) = match issued {
            Some(issued) => (now.max(issued), issued),
            None => (now, now - UNDATED_LOGIN),
        };
        last.is_none_or(|last| last < only_after).then_some(Self { at, only_after })
    }
}

async fn count_login(app: &App, claims: &Claims, Login { at, only_after }: Login, now: DateTime<Utc>) -> Result<()> {
    if store::count_login(&app.db, &claims.subject, at, only_after, now).await? == 1 {
        app.metrics.auth_events.with_label_values(&["login", app.config.auth.provider.name()]).inc();
    }
    super::invalidate(app, &claims.subject);
    Ok(())
}
