//! User functions for other features, such as `features::accounts`.

use chrono::{DateTime, Utc};

use super::welcome::welcome_of;
use crate::app::App;
use crate::app::jobs::New;
use crate::features::users::model::{Identity, UpdateUser, User, UserRead};
use crate::features::users::store::{self, NewUser};
use crate::platform::auth::Role;
use crate::platform::db::{Executor, Tx};
use crate::platform::error::Result;
use crate::platform::id::UserId;
use crate::platform::text::fold_email;

/// A user to be created together with an account.
#[derive(Debug, Clone)]
pub struct NewAccount {
    /// Folded by [`crate::platform::text::fold_email`].
    pub email: String,
    pub full_name: Option<String>,
    pub role: Role,
    /// Whether creating the account counts as a login.
    pub logs_in: bool,
}

/// Inserts the user; `None` if the address is taken.
pub async fn create(tx: &mut Tx, account: &NewAccount, now: DateTime<Utc>) -> Result<Option<User>> {
    let user = NewUser {
        id: UserId::new_v7(),
        email: account.email.clone(),
        full_name: account.full_name.clone(),
        avatar_url: None,
        role: account.role,
        last_login_at: account.logs_in.then_some(now),
        login_count: account.logs_in.into(),
    };
    if !store::insert(&mut *tx, &user, now).await? {
        return Ok(None);
    }
    Ok(store::by_id(tx, &user.id).await?)
}

/// Returns the user with an address, in any spelling.
pub async fn by_email(app: &App, email: &str) -> Result<Option<User>> {
    Ok(store::by_email(&app.db, &fold_email(email)).await?)
}

/// Returns the user as they see themselves, if they exist and are active.
pub async fn active(app: &App, id: &UserId) -> Result<Option<UserRead>> {
    Ok(store::own_view(&app.db, id).await?.filter(|user| user.is_active))
}

/// Counts a login and locks the user's row until the transaction ends; returns whether there is such an active user.
pub async fn count_login(on: impl Into<Executor<'_>>, id: &UserId, now: DateTime<Utc>) -> Result<bool> {
    Ok(store::count_own_login(on, id, now).await?)
}

/// Locks the user's row until the transaction ends.
pub async fn lock(app: &App, tx: &mut Tx, id: &UserId) -> Result<Option<Identity>> {
    Ok(store::lock(&app.db, tx, id).await?)
}

/// Returns the user with this address, and locks the row until the transaction ends.
pub async fn lock_by_email(app: &App, tx: &mut Tx, email: &str) -> Result<Option<User>> {
    let Some(id) = store::id_of_email(&mut *tx, email).await? else { return Ok(None) };
    store::lock(&app.db, &mut *tx, &id).await?;
    Ok(store::by_id(tx, &id).await?)
}

/// Returns the user's address.
pub async fn email(on: impl Into<Executor<'_>>, id: &UserId) -> Result<Option<String>> {
    Ok(store::own_view(on, id).await?.map(|user| user.email))
}

/// Replaces the user's name.
pub async fn rename(on: impl Into<Executor<'_>>, id: &UserId, full_name: Option<String>, now: DateTime<Utc>) -> Result<()> {
    store::update(on, id, &UpdateUser { full_name: Some(full_name), ..UpdateUser::default() }, now).await?;
    Ok(())
}

/// Enqueues the welcome mail of a user whose address was just verified.
pub async fn welcome(app: &App, tx: &mut Tx, id: &UserId) -> Result<()> {
    let Some(user) = store::by_id(&mut *tx, id).await? else { return Ok(()) };
    let new = New { owner_id: Some(id.clone()), ..New::default() };
    app.jobs.enqueue(tx, &welcome_of(&user.email, user.full_name.as_deref()), new).await?;
    Ok(())
}
