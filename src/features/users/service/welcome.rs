//! Creation of users and their welcome mail.

use chrono::{DateTime, Utc};

use crate::app::App;
use crate::app::jobs::New;
use crate::features::emails::SendWelcomeEmail;
use crate::features::users::store::{self, NewUser};
use crate::platform::error::{Error, Result};

/// Returns the welcome mail of a user with an address.
pub(super) fn welcome_of(email: &str, full_name: Option<&str>) -> SendWelcomeEmail {
    SendWelcomeEmail { email: email.to_owned(), name: salutation(email, full_name) }
}

/// Returns the name used in the salutation: the user's name, or else the part of the address before the `@`.
pub fn salutation(email: &str, full_name: Option<&str>) -> String {
    let name = full_name.filter(|name| !name.trim().is_empty());
    name.unwrap_or_else(|| email.split('@').next().unwrap_or_default()).to_owned()
}

/// Inserts the user and enqueues their welcome mail in one transaction; returns `false` if the id or address is taken. If
/// enqueueing fails, the user is inserted without the mail.
pub(super) async fn insert_and_welcome(app: &App, user: &NewUser, welcome: Option<SendWelcomeEmail>, now: DateTime<Utc>) -> Result<bool> {
    let Some(welcome) = welcome else { return Ok(store::insert(&app.db, user, now).await?) };
    let with_mail = crate::transaction!(app.db, |tx| {
        if !store::insert(&mut *tx, user, now).await? {
            return Ok(false);
        }
        let new = New { owner_id: Some(user.id.clone()), ..New::default() };
        match app.jobs.enqueue(tx, &welcome, new).await {
            Ok(_) => Ok(true),
            Err(Error::Contended) => Err(Error::Contended),
            Err(error) => Err(Error::Internal(anyhow::Error::new(error).context(QUEUE_FAILED))),
        }
    });
    match with_mail {
        Err(Error::Internal(cause)) if cause.to_string() == QUEUE_FAILED => {
            tracing::warn!(cause = %cause.root_cause(), "the welcome mail could not be enqueued");
            Ok(store::insert(&app.db, user, now).await?)
        }
        outcome => outcome,
    }
}

/// Context that marks errors of the queue: the transaction rolls back and the user is inserted without the mail.
const QUEUE_FAILED: &str = "the queue failed";
