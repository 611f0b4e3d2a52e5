//! Writes reports down before anything is sent: of each day, what was used since its last report.

use tokio::time::Instant;

use super::config::{Meter, Settings};
use super::model::{AFTER_REFUSAL, Unreported};
use super::store;
use crate::app::App;
use crate::platform::config::Choice;
use crate::platform::error::Result;
use crate::platform::id::UserId;

/// Customers that are looked at together.
const PAGE: i64 = 200;
/// Reports in one transaction.
const BATCH: usize = 100;

/// Writes the missing reports of all customers after `after`. Returns the last customer looked at if the time ran out.
pub async fn freeze(app: &App, mut after: Option<UserId>, until: Instant) -> Result<Option<UserId>> {
    loop {
        let page = store::customers(&app.db, after.as_ref(), PAGE).await?;
        let (Some(first), Some(last)) = (page.first(), page.last()) else { return Ok(None) };
        for meter in &app.settings::<Settings>().meters {
            freeze_page(app, meter, (first, last)).await?;
        }
        if i64::try_from(page.len()).is_ok_and(|rows| rows < PAGE) {
            return Ok(None);
        }
        after = Some(last.clone());
        if Instant::now() >= until {
            return Ok(after);
        }
    }
}

/// The number of a report is that of a row that was read together with the sum of the reports before it: if another instance
/// wrote one in between, the number is taken, and nothing is written.
async fn freeze_page(app: &App, meter: &Meter, page: (&UserId, &UserId)) -> Result<()> {
    let now = app.clock.now();
    let used = store::unreported(&app.db, meter.metric.name(), page, now, now - AFTER_REFUSAL).await?;
    let timed: Vec<_> = used.iter().filter_map(|used: &Unreported| Some((used, used.reported_at(now)?))).collect();
    for batch in timed.chunks(BATCH) {
        crate::transaction!(app.db, |tx| {
            for (used, reported_at) in batch {
                store::insert(&mut *tx, meter, used, *reported_at, now).await?;
            }
            Ok(())
        })?;
    }
    Ok(())
}
