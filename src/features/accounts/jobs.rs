//! `send_account_email`: the mails about an account. The job looks up the address and makes the link, so no row of the queue
//! holds a link, and a request for one takes the same time for every address.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::model::RegistrationId;
use super::service::links;
use super::store::{self, Credentials, registrations};
use super::tokens::{self, Purpose};
use crate::app::App;
use crate::app::jobs::{Fail, Job, New, Run};
use crate::features::emails;
use crate::features::users::model::User;
use crate::features::users::service as users;
use crate::platform::db::Executor;
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
    /// Sent when log-ins to the account failed so often that unknown addresses have to wait.
    FailedLogins,
}

impl AccountEmail {
    fn name(self) -> &'static str {
        match self {
            Self::VerifyEmail => "verify_email",
            Self::ResetPassword => "password_reset",
            Self::PasswordChanged => "password_changed",
            Self::EmailTaken => "email_taken",
            Self::FailedLogins => "failed_logins",
        }
    }

    /// Returns the path of the link and the purpose of its token; `None` for mails without a link.
    fn link(self) -> Option<(&'static str, Purpose)> {
        match self {
            Self::VerifyEmail => Some(("/verify-email", Purpose::VerifyEmail)),
            Self::ResetPassword => Some(("/reset-password", Purpose::ResetPassword)),
            Self::PasswordChanged | Self::EmailTaken | Self::FailedLogins => None,
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub struct SendAccountEmail {
    #[serde(rename = "purpose")]
    pub mail: AccountEmail,
    /// Folded by `fold_email`.
    pub email: String,
    /// The further registration that a verification mail confirms; without one it confirms the account's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registration: Option<RegistrationId>,
    /// Whether a verification mail was requested without the account's password.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub resend: bool,
}

impl SendAccountEmail {
    pub fn new(mail: AccountEmail, email: &str) -> Self {
        Self { mail, email: email.to_owned(), registration: None, resend: false }
    }

    /// Enqueues the mail unless the same mail to the same address is already queued.
    pub async fn enqueue(&self, app: &App, on: impl Into<Executor<'_>>) -> Result<()> {
        let dedupe_key = Some(format!("{}:{}", self.mail.name(), self.email));
        app.jobs.enqueue(on, self, New { dedupe_key, ..New::default() }).await?;
        Ok(())
    }

    /// Returns the mail to send now; `None` if the user is deactivated, or there is nothing left to verify.
    fn due(&self, user: &User, credentials: Option<&Credentials>) -> Option<AccountEmail> {
        if !user.is_active {
            return None;
        }
        if self.mail != AccountEmail::VerifyEmail {
            return Some(self.mail);
        }
        let known = credentials.filter(|known| known.email_verified_at.is_none())?;
        // Of several passwords the owner's is not known, so the owner chooses one anew.
        let reset = self.resend && known.registered_again_at.is_some();
        Some(if reset { AccountEmail::ResetPassword } else { AccountEmail::VerifyEmail })
    }

    /// Stores the token of the link; returns `false` if the link would not work.
    async fn issue(&self, app: &App, user: &User, purpose: Purpose, token: &str) -> Result<bool> {
        match self.registration {
            Some(registration) => Ok(registrations::set_token(&app.db, registration, &tokens::at_rest(token), app.clock.now()).await?),
            None => links::issue(app, user, purpose, token).await,
        }
    }
}

impl Job<App> for SendAccountEmail {
    const NAME: &'static str = "send_account_email";

    async fn run(self, app: App, run: Run) -> Result<Value, Fail> {
        let unsent = || Ok(emails::service::unsent());
        let Some(user) = users::accounts::by_email(&app, &self.email).await? else { return unsent() };
        let credentials = store::credentials(&app.db, &user.id).await?;
        let Some(mail) = self.due(&user, credentials.as_ref()) else { return unsent() };
        // Looked up before the permit, so that registrations that were not kept use up no mail of the address.
        if let Some(registration) = self.registration
            && !registrations::waits(&app.db, registration, app.clock.now()).await?
        {
            return unsent();
        }
        // Sent to the stored address of the account, never to the address in the request.
        let Some(permit) = emails::service::permit(&app, &run, mail.name(), &user.email).await? else { return unsent() };
        // An address that is not proved may be a stranger's, and the name what an attacker wants them to read.
        let is_proved = credentials.is_some_and(|known| known.email_verified_at.is_some());
        let name = is_proved.then(|| users::salutation(&user.email, user.full_name.as_deref()));
        let (app_name, base) = (app.mailer.app_name(), links::link(&app, ""));
        let (subject, mut data) = match mail {
            AccountEmail::VerifyEmail => ("Verify your e-mail address".to_owned(), json!({"name": name})),
            AccountEmail::ResetPassword => ("Reset Your Password".to_owned(), json!({"name": name})),
            AccountEmail::PasswordChanged => ("Your password was changed".to_owned(), json!({"name": name, "app_url": base})),
            AccountEmail::EmailTaken => (format!("You already have an account with {app_name}"), json!({"name": name, "app_url": base})),
            AccountEmail::FailedLogins => ("Many failed log-ins to your account".to_owned(), json!({"app_url": base})),
        };
        if mail == AccountEmail::VerifyEmail {
            data["registered_again"] = self.registration.is_some().into();
        }
        if let Some((path, purpose)) = mail.link() {
            let token = tokens::mailed(&app.keys, purpose, run.id);
            if !self.issue(&app, &user, purpose, &token).await? {
                return unsent();
            }
            let url = links::link(&app, &format!("{path}?token={token}"));
            data[if purpose == Purpose::VerifyEmail { "verify_url" } else { "reset_url" }] = url.into();
            data["expires_in_hours"] = purpose.life().num_hours().into();
        }
        permit.send_template(&app, subject, mail.name(), data).await
    }
}
