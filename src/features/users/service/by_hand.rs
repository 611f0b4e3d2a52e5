//! What the command line does to users, and what it asks about them.

use super::{accounts, end_access, forget_after_commit, get, insert_and_welcome, store, welcome_of};
use crate::app::App;
use crate::features::users::model::{UpdateUser, User, UserId};
use crate::features::users::store::NewUser;
use crate::platform::auth::{Provider, Role};
use crate::platform::db::retry_contended;
use crate::platform::error::Result;
use crate::platform::text::fold_email;

/// Gives a user a role. `None` where nobody has that address or id.
pub async fn promote(app: &App, email_or_id: &str, role: Role) -> Result<Option<User>> {
    change(app, email_or_id, UpdateUser { role: Some(role), ..UpdateUser::default() }).await
}

/// Lets a user in or locks them out. `None` where nobody has that address or id.
pub async fn set_active(app: &App, email_or_id: &str, active: bool) -> Result<Option<User>> {
    change(app, email_or_id, UpdateUser { is_active: Some(active), ..UpdateUser::default() }).await
}

async fn change(app: &App, email_or_id: &str, change: UpdateUser) -> Result<Option<User>> {
    let Some(id) = find(app, email_or_id).await? else { return Ok(None) };
    retry_contended(|| async {
        let mut tx = app.db.begin().await?;
        store::lock(&app.db, &mut tx, id.clone()).await?;
        store::update(&mut tx, id.clone(), change.clone(), app.clock.now()).await?;
        if change.is_active == Some(false) {
            end_access(app, &mut tx, &id).await?;
        }
        forget_after_commit(app, &mut tx, id.as_str());
        Ok(tx.commit().await?)
    })
    .await?;
    tracing::info!(action = "user.update", target_id = id.as_str(), "user changed from the command line");
    get(app, &id).await.map(Some)
}

/// The user with this address, made if there is none: for `omnistack token`.
pub async fn find_or_create(app: &App, email: &str, role: Role) -> Result<User> {
    let email = fold_email(email);
    let user = NewUser {
        id: accounts::new_id()?,
        email: email.clone(),
        full_name: None,
        avatar_url: None,
        role,
        last_login_at: None,
        login_count: 0,
    };
    // Our own accounts are greeted once their address is verified.
    let welcome = (app.config.auth.provider != Provider::Local).then(|| welcome_of(&email, None));
    insert_and_welcome(app, user, welcome, app.clock.now()).await?;
    let id = store::id_of_email(&app.db, &email).await?.ok_or_else(|| anyhow::anyhow!("the user was neither found nor made"))?;
    get(app, &id).await
}

/// The id of the user with this address, or that is this id.
pub async fn find(app: &App, email_or_id: &str) -> Result<Option<UserId>> {
    if let Some(id) = store::id_of_email(&app.db, &fold_email(email_or_id)).await? {
        return Ok(Some(id));
    }
    let Some(id) = UserId::parse(email_or_id) else { return Ok(None) };
    Ok(store::identity(&app.db, id.clone()).await?.map(|_| id))
}
