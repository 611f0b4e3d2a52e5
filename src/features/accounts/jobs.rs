//! `send_account_email`: the mails about an account. The job looks up the address and makes the link, so no row of the queue
//! holds a link, and a request for one takes the same time for every address.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::service::links;
use super::store::{self, Credentials};
use super::tokens::{self, Purpose};
use crate::app::App;
use crate::app::jobs::{Fail, Job, New, Run};
use crate::features::emails;
use crate::features::users::model::User;
use crate::features::users::service as users;
use crate::platform::error::Result;

/// Kinds of account mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccountEmail {
    VerifyEmail,
    ResetPassword,
    PasswordChanged,
    /// Sent when a registration uses the address of an existing account.
    EmailTaken,
}

impl AccountEmail {
    fn name(self) -> &'static str {
        match self {
            Self::VerifyEmail => "verify_email",
            Self::ResetPassword => "password_reset",
            Self::PasswordChanged => "password_changed",
            Self::EmailTaken => "email_taken",
        }
    }

    /// Returns the path of the link and the purpose of its token; `None` for mails without a link.
    fn link(self) -> Option<(&'static str, Purpose)> {
        match self {
            Self::VerifyEmail => Some(("/verify-email", Purpose::VerifyEmail)),
            Self::ResetPassword => Some(("/reset-password", Purpose::ResetPassword)),
            Self::PasswordChanged | Self::EmailTaken => None,
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub struct SendAccountEmail {
    #[serde(rename = "purpose")]
    pub mail: AccountEmail,
    /// Folded by `fold_email`.
    pub email: String,
}

impl SendAccountEmail {
    /// Enqueues the mail unless the same mail to the same address is already queued.
    pub async fn enqueue(&self, app: &App) -> Result<()> {
        let dedupe_key = Some(format!("{}:{}", self.mail.name(), self.email));
        app.jobs.enqueue(&app.db, self, New { dedupe_key, ..New::default() }).await?;
        Ok(())
    }

    /// Returns whether the mail should still be sent: the user is active and, for a verification mail, has an unverified account.
    fn is_due(&self, user: &User, credentials: Option<&Credentials>) -> bool {
        let awaited = match self.mail {
            AccountEmail::VerifyEmail => credentials.is_some_and(|known| known.email_verified_at.is_none()),
            AccountEmail::ResetPassword | AccountEmail::PasswordChanged | AccountEmail::EmailTaken => true,
        };
        user.is_active && awaited
    }
}

impl Job<App> for SendAccountEmail {
    const NAME: &'static str = "send_account_email";

    async fn run(self, app: App, run: Run) -> Result<Value, Fail> {
        let unsent = || Ok(emails::service::unsent());
        let Some(user) = users::accounts::by_email(&app, &self.email).await? else { return unsent() };
        let credentials = store::credentials(&app.db, &user.id).await?;
        if !self.is_due(&user, credentials.as_ref()) {
            return unsent();
        }
        // Sent to the stored address of the account, never to the address in the request.
        let Some(permit) = emails::service::permit(&app, &run, self.mail.name(), &user.email).await? else { return unsent() };
        // An address that is not proved may be a stranger's, and the name what an attacker wants them to read.
        let is_proved = credentials.is_some_and(|known| known.email_verified_at.is_some());
        let name = is_proved.then(|| users::salutation(&user.email, user.full_name.as_deref()));
        let (app_name, base) = (app.mailer.app_name(), links::link(&app, ""));
        let (subject, mut data) = match self.mail {
            AccountEmail::VerifyEmail => ("Verify your e-mail address".to_owned(), json!({"name": name})),
            AccountEmail::ResetPassword => ("Reset Your Password".to_owned(), json!({"name": name})),
            AccountEmail::PasswordChanged => ("Your password was changed".to_owned(), json!({"name": name, "app_url": base})),
            AccountEmail::EmailTaken => (format!("You already have an account with {app_name}"), json!({"name": name, "app_url": base})),
        };
        if let Some((path, purpose)) = self.mail.link() {
            let token = tokens::mailed(&app.keys, purpose, run.id);
            if !links::issue(&app, &user, purpose, &token).await? {
                return unsent();
            }
            let url = links::link(&app, &format!("{path}?token={token}"));
            data[if purpose == Purpose::VerifyEmail { "verify_url" } else { "reset_url" }] = url.into();
            data["expires_in_hours"] = purpose.life().num_hours().into();
        }
        permit.send_template(&app, subject, self.mail.name(), data).await
    }
}
