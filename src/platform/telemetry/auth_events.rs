//! Authentication events: one log line for each (OWASP ASVS 5.0, 16.3.1). A line names the event, its outcome, the user's id or
//! a keyed hash of the address, and the client's address; never an e-mail address, a password or a token. The log adds the
//! request id.

use crate::platform::actor::Actor;
use crate::platform::crypto::{self, Keys};
use crate::platform::http::RequestContext;
use crate::platform::id::UserId;

/// Log target of the lines, for filters.
pub const TARGET: &str = "omnistack::auth";

/// An event about one user or address. The methods that end in the past tense write the line.
#[must_use = "the line is written by `succeeded`, `failed` or `refused`"]
pub struct AuthEvent<'a> {
    name: &'static str,
    user: Option<&'a UserId>,
    address: Option<String>,
    actor: Option<&'a str>,
    detail: Option<&'a str>,
}

impl<'a> AuthEvent<'a> {
    pub fn of_user(name: &'static str, user: &'a UserId) -> Self {
        Self { name, user: Some(user), address: None, actor: None, detail: None }
    }

    /// `email` is logged as its [`crypto::pseudonym`].
    pub fn of_address(name: &'static str, keys: &Keys, email: &str) -> Self {
        Self { name, user: None, address: Some(crypto::pseudonym(keys, email)), actor: None, detail: None }
    }

    /// The administrator or operator who acts on the user.
    pub fn by(mut self, actor: &'a Actor) -> Self {
        self.actor = Some(actor.name());
        self
    }

    /// The cause or the new value: a fixed word, never text of a client.
    pub fn detail(mut self, detail: &'a str) -> Self {
        self.detail = Some(detail);
        self
    }

    pub fn succeeded(self) {
        self.write("success");
    }

    /// The credentials were wrong.
    pub fn failed(self) {
        self.write("failure");
    }

    /// Not decided by the credentials: too many attempts, a deactivated user.
    pub fn refused(self) {
        self.write("refused");
    }

    fn write(self, outcome: &'static str) {
        let Self { name, user, address, actor, detail } = self;
        let (user_id, address_hash) = (user.map(UserId::as_str), address.as_deref());
        let client_ip = RequestContext::current().map(|context| context.client_ip.to_string());
        let client_ip = client_ip.as_deref();
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(target: TARGET, event = name, outcome, user_id, address_hash, client_ip, actor, detail, "authentication event")
            };
        }
        if outcome == "success" {
            line!(info);
        } else {
            line!(warn);
        }
    }
}
