//! Reading and updating one's own profile.

use crate::app::App;
use crate::features::users::model::{UpdateMe, UserRead};
use crate::features::users::store;
use crate::platform::actor::CurrentUser;
use crate::platform::error::Result;
use crate::platform::id::{PathId, UserId};

/// Reads the caller's own row.
pub async fn me(app: &App, id: &UserId) -> Result<UserRead> {
    store::own_view(&app.db, id).await?.ok_or_else(|| id.not_found())
}

pub async fn update_me(app: &App, user: &CurrentUser, change: UpdateMe) -> Result<UserRead> {
    if change.full_name.is_some() || change.avatar_url.is_some() {
        store::update(&app.db, &user.id, &change.into(), app.clock.now()).await?;
    }
    me(app, &user.id).await
}
