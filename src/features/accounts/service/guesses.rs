//! Limits of wrong passwords: per account and client address, per account and session, and per account from everywhere.

use std::net::IpAddr;

use super::events::count_event;
use crate::app::App;
use crate::features::accounts::failures::Recorded;
use crate::features::accounts::jobs::{AccountEmail, SendAccountEmail};
use crate::features::accounts::rules;
use crate::features::accounts::state::State;
use crate::features::accounts::store::{self, login_failures};
use crate::platform::auth::passwords::Verdict;
use crate::platform::crypto;
use crate::platform::db::Tx;
use crate::platform::error::{Error, Result};
use crate::platform::id::UserId;
use crate::platform::rate_limit::{Caller, KeyedBy, Limit, Rate, Window, network};
use crate::platform::telemetry::auth_events::AuthEvent;

/// Wrong passwords for one account from one client address, or in one session.
const LIMIT: Limit = Limit { name: "guess", rate: Rate { limit: 10, window: Window::QUARTER_HOUR }, keyed_by: KeyedBy::Address };

/// The origin of a password.
#[derive(Clone, Copy)]
pub(super) enum Origin<'a> {
    /// A log-in, to the account of this user if there is one.
    Login(Option<&'a UserId>),
    /// A caller with a session, who proves the current password.
    Session(&'a str),
}

/// A password that is to be verified.
pub(super) struct Guess<'a> {
    app: &'a App,
    /// Folded by `fold_email`.
    email: &'a str,
    /// Keyed hash of the address.
    account: String,
    client: IpAddr,
    origin: Origin<'a>,
}

impl<'a> Guess<'a> {
    pub fn new(app: &'a App, email: &'a str, client: IpAddr, origin: Origin<'a>) -> Self {
        Self { app, email, account: crypto::pseudonym(&app.keys, email), client, origin }
    }

    /// Verifies a password within the limits; `None` if it is wrong.
    ///
    /// Only failures are counted, so concurrent log-ins with the right password are not rejected. The limits are checked again
    /// after the verification, so that concurrent guesses gain nothing over sequential ones.
    pub async fn verify(&self, password: &str, hash: Option<String>) -> Result<Option<Verdict>> {
        let passwords = &self.app.state::<State>().passwords;
        self.check().await?;
        let verdict = match rules::attempt(password) {
            Some(password) => passwords.verify(password, hash).await?,
            // No account has a password this long. Verified anyway, so that the response takes the same time.
            None => passwords.verify(String::new(), None).await?,
        };
        if let Verdict::Right { .. } = verdict {
            self.check().await?;
            return Ok(Some(verdict));
        }
        self.record().await?;
        Ok(None)
    }

    /// Refuses if a limit is reached, whatever the password.
    async fn check(&self) -> Result<()> {
        let (guesses, now) = (&self.app.state::<State>().guesses, self.app.clock.now());
        for caller in self.callers() {
            let decision = guesses.peek(&LIMIT, &caller, now).await;
            if !decision.allowed {
                return Err(self.refuse("rate_limited", decision.retry_after));
            }
        }
        match login_failures::get(&self.app.db, &self.account).await?.and_then(|failures| failures.wait(now)) {
            Some(seconds) if !self.is_known().await? => Err(self.refuse("account_throttled", seconds)),
            _ => Ok(()),
        }
    }

    /// Returns whether the origin does not wait for the failures of others: an address that has logged in before, or an open
    /// session, whose owner may be about to change the password.
    async fn is_known(&self) -> Result<bool> {
        let Origin::Login(user) = self.origin else { return Ok(true) };
        // Asked for unknown accounts too, so that the response takes the same time.
        let known = store::addresses(&self.app.db, user.map_or("", UserId::as_str)).await?;
        Ok(known.iter().any(|address| address.parse().is_ok_and(|address: IpAddr| network(address) == network(self.client))))
    }

    /// Counts a wrong password.
    async fn record(&self) -> Result<()> {
        let (guesses, now) = (&self.app.state::<State>().guesses, self.app.clock.now());
        for caller in self.callers() {
            let decision = guesses.hit(&LIMIT, &caller, now).await;
            if !decision.allowed {
                return Err(self.refuse("rate_limited", decision.retry_after));
            }
            if decision.remaining == 0 {
                self.event("lockout").detail("rate_limited").refused();
            }
        }
        let recorded = crate::transaction!(self.app.db, |tx| { self.record_for_account(tx).await })?;
        match recorded {
            Recorded::WhileWaiting { seconds } if !self.is_known().await? => return Err(self.refuse("account_throttled", seconds)),
            Recorded::Waits { .. } => self.event("lockout").detail("account_throttled").refused(),
            _ => {}
        }
        self.app.metrics.auth_failures.with_label_values(&["invalid_credentials"]).inc();
        count_event(self.app, "failed");
        self.event(self.event_name()).detail("invalid_credentials").failed();
        Ok(())
    }

    async fn record_for_account(&self, tx: &mut Tx) -> Result<Recorded> {
        let now = self.app.clock.now();
        let mut failures = login_failures::lock(&self.app.db, tx, &self.account, now).await?;
        let recorded = failures.record(now);
        login_failures::update(&mut *tx, &self.account, &failures, failures.expires_at(now)).await?;
        if let Recorded::Waits { alert: true, .. } = recorded {
            // With or without an account: the job looks the address up.
            SendAccountEmail::new(AccountEmail::FailedLogins, self.email).enqueue(self.app, tx).await?;
        }
        Ok(recorded)
    }

    fn callers(&self) -> Vec<Caller> {
        let client = network(self.client).to_string();
        let origins = match self.origin {
            Origin::Login(_) => vec![("address", client.as_str())],
            Origin::Session(session) => vec![("address", client.as_str()), ("session", session)],
        };
        origins.into_iter().map(|(kind, origin)| caller(&self.account, kind, origin)).collect()
    }

    fn refuse(&self, reason: &'static str, retry_after: u64) -> Error {
        self.app.metrics.auth_failures.with_label_values(&[reason]).inc();
        self.event(self.event_name()).detail(reason).refused();
        Error::RateLimited { retry_after }
    }

    fn event_name(&self) -> &'static str {
        match self.origin {
            Origin::Login(_) => "login",
            Origin::Session(_) => "password_change",
        }
    }

    fn event(&self, name: &'static str) -> AuthEvent<'static> {
        AuthEvent::of_address(name, &self.app.keys, self.email)
    }
}

fn caller(account: &str, kind: &str, origin: &str) -> Caller {
    Caller::Hashed(crypto::hash(&[account.as_bytes(), kind.as_bytes(), origin.as_bytes()]))
}

/// Resets the limits for a client that has proved ownership of the account by other means.
pub(super) async fn forget(app: &App, email: &str, client: IpAddr) -> Result<()> {
    let account = crypto::pseudonym(&app.keys, email);
    let caller = caller(&account, "address", &network(client).to_string());
    app.state::<State>().guesses.forget(&LIMIT, &caller).await;
    login_failures::forget(&app.db, &account).await?;
    Ok(())
}
