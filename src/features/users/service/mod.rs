//! Rules about users: first sight, logins, what administrators may do to whom.

pub mod accounts;
pub mod by_hand;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value, json};

use crate::app::App;
use crate::app::jobs::New;
use crate::features::emails::SendWelcomeEmail;
use crate::features::users::extract::CurrentUser;
use crate::features::users::model::{UpdateMe, UpdateUser, User, UserId, UserRead, UserReadAdmin};
use crate::features::users::store::{self, NewUser};
use crate::platform::auth::{Claims, Identity, Provider, Role};
use crate::platform::config::Choice;
use crate::platform::db::{Tx, retry_contended};
use crate::platform::error::{Error, Result};
use crate::platform::http::cursor::Position;
use crate::platform::telemetry::metrics::METRICS;

/// A token that does not say when it was issued counts as a login at most once in this time.
const UNDATED_LOGIN: TimeDelta = TimeDelta::minutes(15);

const EMAIL_TAKEN: &str = "This e-mail address belongs to another account";

/// The caller behind verified claims: an active user, made at first sight.
pub async fn authenticate(app: &App, claims: Arc<Claims>) -> Result<CurrentUser> {
    let now = app.clock.now();
    let subject = &claims.subject;
    let id = UserId::parse(subject).ok_or(Error::Unauthenticated("Invalid token"))?;
    let identity = match app.identities.get(subject, now) {
        Some(identity) => identity,
        None => look_up(app, &id, &claims, now).await?,
    };
    if !identity.is_active {
        METRICS.auth_failures.with_label_values(&["inactive_user"]).inc();
        return Err(Error::Forbidden("Account is deactivated"));
    }
    if app.config.auth.provider != Provider::Local {
        count_login(app, &id, &claims, &identity, now).await?;
    }
    Ok(CurrentUser { role: identity.role.max(claims.role), id, claims })
}

/// The identity from the database, kept for the next requests.
async fn look_up(app: &App, id: &UserId, claims: &Claims, now: DateTime<Utc>) -> Result<Identity> {
    app.presence.note(&claims.subject, now);
    let epoch = app.identities.epoch();
    let identity = match store::identity(&app.db, id.clone()).await? {
        Some(identity) => identity,
        None => first_sight(app, id, claims, now).await?,
    };
    app.identities.put(&claims.subject, identity.clone(), epoch, now);
    Ok(identity)
}

/// Makes the user of a token that was never seen. Of many first requests at once one makes it, all find it.
async fn first_sight(app: &App, id: &UserId, claims: &Claims, now: DateTime<Utc>) -> Result<Identity> {
    if app.config.auth.provider == Provider::Local {
        // Our own tokens are for users that exist; this one's was removed.
        METRICS.auth_failures.with_label_values(&["invalid_token"]).inc();
        return Err(Error::Unauthenticated("Invalid token"));
    }
    let email = claims.email.clone().unwrap_or_else(|| format!("{}@placeholder.local", id.as_str()).to_lowercase());
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
    if insert_and_welcome(app, user, welcome, now).await? {
        tracing::info!(user_id = id.as_str(), "user created at first sight");
        METRICS.auth_events.with_label_values(&["signup", app.config.auth.provider.name()]).inc();
        return Ok(Identity { role: Role::User, is_active: true, last_login_at: Some(now) });
    }
    store::identity(&app.db, id.clone()).await?.ok_or(Error::Conflict { message: EMAIL_TAKEN, resource: "User" })
}

/// The welcome mail of a user who has an address.
fn welcome_of(email: &str, full_name: Option<&str>) -> SendWelcomeEmail {
    SendWelcomeEmail { email: email.to_owned(), name: salutation(email, full_name) }
}

/// What a mail calls somebody: by the part of the address before the `@` where there is no name.
pub fn salutation(email: &str, full_name: Option<&str>) -> String {
    let name = full_name.filter(|name| !name.trim().is_empty());
    name.unwrap_or_else(|| email.split('@').next().unwrap_or_default()).to_owned()
}

/// Makes the user together with the promise of their welcome mail; a queue that fails does not keep anybody out.
async fn insert_and_welcome(app: &App, user: NewUser, welcome: Option<SendWelcomeEmail>, now: DateTime<Utc>) -> Result<bool> {
    let Some(welcome) = welcome else { return Ok(store::insert(&app.db, user, now).await?) };
    let mut tx = app.db.begin().await?;
    if !store::insert(&mut tx, user.clone(), now).await? {
        return Ok(false);
    }
    let new = New { owner_id: Some(user.id.as_str().to_owned()), ..New::default() };
    match app.jobs.enqueue(&mut tx, &welcome, new).await {
        Ok(_) => {
            tx.commit().await?;
            Ok(true)
        }
        Err(error) => {
            tracing::warn!(cause = %error, "the welcome mail could not be enqueued");
            drop(tx);
            Ok(store::insert(&app.db, user, now).await?)
        }
    }
}

/// Counts a login when the token is newer than the last one.
async fn count_login(app: &App, id: &UserId, claims: &Claims, identity: &Identity, now: DateTime<Utc>) -> Result<()> {
    let issued = claims.issued_at.and_then(|seconds| DateTime::from_timestamp(seconds, 0));
    let (at, only_after) = match issued {
        Some(issued) => (now.max(issued), issued),
        None => (now, now - UNDATED_LOGIN),
    };
    if identity.last_login_at.is_some_and(|last| last >= only_after) {
        return Ok(());
    }
    if store::count_login(&app.db, id.clone(), at, only_after, now).await? == 1 {
        METRICS.auth_events.with_label_values(&["login", app.config.auth.provider.name()]).inc();
    }
    app.identities.drop_everywhere(id.as_str());
    Ok(())
}

/// The caller's own row.
pub async fn me(app: &App, user: &CurrentUser) -> Result<UserRead> {
    store::own_view(&app.db, user.id.clone()).await?.ok_or_else(|| Error::not_found("User", user.id.as_str()))
}

pub async fn update_me(app: &App, user: &CurrentUser, change: UpdateMe) -> Result<UserRead> {
    if change.full_name.is_some() || change.avatar_url.is_some() {
        store::update(&app.db, user.id.clone(), change.into(), app.clock.now()).await?;
    }
    me(app, user).await
}

/// Any user, for administrators.
pub async fn get(app: &App, id: &UserId) -> Result<User> {
    store::by_id(&app.db, id.clone()).await?.ok_or_else(|| Error::not_found("User", id.as_str()))
}

pub async fn page(app: &App, active: Option<bool>, limit: i64, skip: i64) -> Result<(Vec<User>, i64)> {
    Ok(store::page(&app.db, active, limit, skip).await?)
}

/// One row more than `limit`, if there is one.
pub async fn page_after(app: &App, active: Option<bool>, position: Option<Position>, limit: i64) -> Result<Vec<User>> {
    let (created_at, id) = match &position {
        Some(position) => (crate::platform::http::list::time_of(position)?, position.id.as_str()),
        None => (crate::platform::http::list::end_of_time(), ""),
    };
    Ok(store::page_after(&app.db, active, created_at, id, limit + 1).await?)
}

/// Changes a user as an administrator.
///
/// Refused: taking away one's own role or access (400), and granting or removing `superadmin` by somebody
/// who is not one (403).
pub async fn update(app: &App, actor: &CurrentUser, id: &UserId, change: UpdateUser) -> Result<User> {
    let nothing = change.full_name.is_none() && change.avatar_url.is_none() && change.role.is_none() && change.is_active.is_none();
    if nothing {
        return get(app, id).await;
    }
    retry_contended(|| async {
        let mut tx = app.db.begin().await?;
        let target = store::lock(&app.db, &mut tx, id.clone()).await?.ok_or_else(|| Error::not_found("User", id.as_str()))?;
        check_change(actor, id, &target, &change)?;
        store::update(&mut tx, id.clone(), change.clone(), app.clock.now()).await?;
        let user = store::by_id(&mut tx, id.clone()).await?.ok_or_else(|| Error::not_found("User", id.as_str()))?;
        if change.is_active == Some(false) {
            end_access(app, &mut tx, id).await?;
        }
        forget_after_commit(app, &mut tx, id.as_str());
        tx.commit().await?;
        Ok(user)
    })
    .await
    .inspect(|_| log_admin_change(actor, "user.update", id))
}

pub async fn set_active(app: &App, actor: &CurrentUser, id: &UserId, active: bool) -> Result<User> {
    update(app, actor, id, UpdateUser { is_active: Some(active), ..UpdateUser::default() }).await
}

fn check_change(actor: &CurrentUser, id: &UserId, target: &Identity, change: &UpdateUser) -> Result<()> {
    let oneself = *id == actor.id;
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

/// Ends what features let a user go on using.
async fn end_access(app: &App, tx: &mut Tx, id: &UserId) -> Result<()> {
    for feature in &app.features {
        (feature.deactivate)(app, tx, id.as_str()).await?;
    }
    Ok(())
}

fn forget_after_commit(app: &App, tx: &mut Tx, id: &str) {
    let (identities, id) = (app.identities.clone(), id.to_owned());
    tx.after_commit(move || identities.drop_everywhere(&id));
}

fn log_admin_change(actor: &CurrentUser, action: &'static str, target: &UserId) {
    tracing::info!(actor_id = actor.id.as_str(), action, target_id = target.as_str(), "administrator changed a user");
}

/// Whether nobody has ever signed in.
pub async fn is_empty(app: &App) -> Result<bool> {
    Ok(!store::any(&app.db).await?)
}

/// How many people there are, came within a day, and joined since midnight (UTC).
pub struct Figures {
    pub total: i64,
    pub active_24h: i64,
    pub new_today: i64,
}

pub async fn figures(app: &App) -> Result<Figures> {
    let now = app.clock.now();
    let midnight = now.date_naive().and_time(chrono::NaiveTime::MIN).and_utc();
    let (total, active_24h, new_today) = store::figures(&app.db, now - TimeDelta::hours(24), midnight).await?;
    Ok(Figures { total, active_24h, new_today })
}

/// The user's own row and subscription, for their copy of it; nothing where there is no such user.
pub async fn export(app: &App, id: &str) -> Result<Map<String, Value>> {
    let user = match UserId::parse(id) {
        Some(id) => store::by_id(&app.db, id).await?,
        None => None,
    };
    let Some(user) = user else { return Ok(Map::new()) };
    let subscription = json!({"plan": user.subscription_plan, "status": user.subscription_status});
    let user = serde_json::to_value(UserReadAdmin::from(user)).map_err(anyhow::Error::new)?;
    Ok([("user".to_owned(), user), ("subscription".to_owned(), subscription)].into_iter().collect())
}

/// Removes the user's row. From then on a token of our own opens nothing; with one of another issuer they would start anew.
pub async fn erase(app: &App, tx: &mut Tx, id: &str) -> Result<u64> {
    let rows = store::erase(&mut *tx, id).await?;
    forget_after_commit(app, tx, id);
    Ok(rows)
}

/// Counts users and subscriptions for the metrics page, at most once a minute.
pub async fn refresh_gauges(app: &App) -> Result<()> {
    static REFRESHED: AtomicI64 = AtomicI64::new(0);
    let now = app.clock.now().timestamp();
    let last = REFRESHED.load(Ordering::SeqCst);
    if now - last < 60 || REFRESHED.compare_exchange(last, now, Ordering::SeqCst, Ordering::SeqCst).is_err() {
        return Ok(());
    }
    let (users, plans) = (store::count_by_status(&app.db).await?, store::count_by_plan(&app.db).await?);
    METRICS.users.reset();
    for (active, count) in users {
        METRICS.users.with_label_values(&[if active { "active" } else { "inactive" }]).set(count);
    }
    METRICS.active_subscriptions.reset();
    for (plan, count) in plans {
        let known = ["free", "pro", "enterprise"].into_iter().find(|name| *name == plan).unwrap_or("other");
        METRICS.active_subscriptions.with_label_values(&[known]).set(count);
    }
    Ok(())
}
