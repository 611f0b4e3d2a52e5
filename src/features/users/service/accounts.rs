//! What `features::accounts` needs of the users that register with it.

use chrono::{DateTime, Utc};

use super::{store, welcome_of};
use crate::app::App;
use crate::app::jobs::New;
use crate::features::users::model::{User, UserId, UserRead};
use crate::features::users::store::NewUser;
use crate::platform::auth::{Identity, Role};
use crate::platform::db::{On, Tx};
use crate::platform::error::{Error, Result};
use crate::platform::id::Id;

/// Somebody who gets an account.
#[derive(Debug, Clone)]
pub struct Newcomer {
    /// In its one form ([`crate::platform::text::fold_email`]).
    pub email: String,
    pub full_name: Option<String>,
    pub role: Role,
    /// Whether making the account is a login too.
    pub logs_in: bool,
}

/// Makes the user; `None` where the address is taken.
pub async fn create(tx: &mut Tx, newcomer: Newcomer, now: DateTime<Utc>) -> Result<Option<User>> {
    let id = new_id()?;
    let user = NewUser {
        id: id.clone(),
        email: newcomer.email,
        full_name: newcomer.full_name,
        avatar_url: None,
        role: newcomer.role,
        last_login_at: newcomer.logs_in.then_some(now),
        login_count: newcomer.logs_in.into(),
    };
    if !store::insert(&mut *tx, user, now).await? {
        return Ok(None);
    }
    Ok(store::by_id(tx, id).await?)
}

/// The id of a user whom no other issuer has named.
pub(super) fn new_id() -> Result<UserId> {
    let id = Id::<User>::new().to_string();
    UserId::parse(&id).ok_or_else(|| Error::Internal(anyhow::anyhow!("a UUID is a user's id")))
}

pub async fn by_email(app: &App, email: &str) -> Result<Option<User>> {
    Ok(store::by_email(&app.db, email).await?)
}

/// The user as they see themselves, if they are there and active.
pub async fn active(app: &App, id: UserId) -> Result<Option<UserRead>> {
    Ok(store::own_view(&app.db, id).await?.filter(|user| user.is_active))
}

/// Counts a login; says whether there is such an active user. Until the transaction ends nobody changes the user.
pub async fn count_login(on: impl Into<On<'_>>, id: &UserId, now: DateTime<Utc>) -> Result<bool> {
    Ok(store::count_own_login(on, id.clone(), now).await?)
}

/// The user's state; until the transaction ends nobody changes it.
pub async fn lock(app: &App, tx: &mut Tx, id: &UserId) -> Result<Option<Identity>> {
    Ok(store::lock(&app.db, tx, id.clone()).await?)
}

/// Promises the welcome mail of somebody whose address is verified now.
pub async fn welcome(app: &App, tx: &mut Tx, id: &UserId) -> Result<()> {
    let Some(user) = store::by_id(&mut *tx, id.clone()).await? else { return Ok(()) };
    let new = New { owner_id: Some(id.as_str().to_owned()), ..New::default() };
    app.jobs.enqueue(tx, &welcome_of(&user.email, user.full_name.as_deref()), new).await?;
    Ok(())
}
