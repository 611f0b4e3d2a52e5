//! Statistics for reports and metrics, and the export and erasure of one user.

use chrono::TimeDelta;
use serde_json::{Map, Value, json};

use crate::app::App;
use crate::features::users::model::UserReadAdmin;
use crate::features::users::state::State;
use crate::features::users::store;
use crate::platform::db::Tx;
use crate::platform::error::Result;
use crate::platform::id::UserId;

/// Returns whether there are no users.
pub async fn is_empty(app: &App) -> Result<bool> {
    Ok(!store::any(&app.db).await?)
}

/// User counts: total, with a login in the last 24 hours, and new since midnight (UTC).
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

/// Returns the user's row and subscription for the data export; empty if the user does not exist.
pub async fn export(app: &App, id: &UserId) -> Result<Map<String, Value>> {
    let Some(user) = store::by_id(&app.db, id).await? else { return Ok(Map::new()) };
    let subscription = json!({"plan": user.subscription_plan, "status": user.subscription_status});
    let user = serde_json::to_value(UserReadAdmin::from(user)).map_err(anyhow::Error::new)?;
    Ok([("user".to_owned(), user), ("subscription".to_owned(), subscription)].into_iter().collect())
}

/// Removes the user's row. Tokens of the local provider are refused from then on; a token of another issuer creates the user
/// again.
pub async fn erase(app: &App, tx: &mut Tx, id: &UserId) -> Result<u64> {
    let rows = store::erase(&mut *tx, id).await?;
    let (app, id) = (app.clone(), id.clone());
    tx.after_commit(move || super::invalidate(&app, &id));
    Ok(rows)
}

/// Refreshes the gauges; those counted in the database at most once a minute.
pub async fn refresh_metrics(app: &App) -> Result<()> {
    let (state, now) = (app.state::<State>(), app.clock.now());
    state.active_sessions.set(state.presence.count(now));
    if !state.take_refresh(now.timestamp()) {
        return Ok(());
    }
    let (users, plans) = (store::count_by_status(&app.db).await?, store::count_by_plan(&app.db).await?);
    state.users.reset();
    for (active, count) in users {
        state.users.with_label_values(&[if active { "active" } else { "inactive" }]).set(count);
    }
    state.subscriptions.reset();
    for (plan, count) in plans {
        let known = ["free", "pro", "enterprise"].into_iter().find(|name| *name == plan).unwrap_or("other");
        state.subscriptions.with_label_values(&[known]).set(count);
    }
    Ok(())
}
