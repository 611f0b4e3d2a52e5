//! Users with local accounts (`AUTH_PROVIDER=local`).

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::{Backend, Client, Reply, TestApp};

pub const PASSWORD: &str = "a long and unusual one";

/// Settings for local accounts with cheap password hashes and a very high rate limit.
pub const LOCAL: [(&str, &str); 5] = [
    ("AUTH_PROVIDER", "local"),
    ("OAUTH_JWT_SECRET", ""),
    ("RATE_LIMIT_AUTH", "1000000/minute"),
    ("AUTH_ARGON2_MEMORY_KIB", "8"),
    ("AUTH_ARGON2_ITERATIONS", "1"),
];

/// A logged-in user.
#[derive(Clone)]
pub struct Account {
    pub client: Client,
    pub refresh: String,
    pub id: String,
}

impl TestApp {
    /// Starts a server with local accounts and these variables.
    pub async fn with_accounts(b: Backend, vars: &[(&str, &str)]) -> Self {
        let vars: Vec<_> = LOCAL.iter().chain(vars).copied().collect();
        Self::with(b, &vars).await
    }

    /// Another instance with local accounts on the same database.
    pub async fn second_with_accounts(&self, vars: &[(&str, &str)]) -> Self {
        let vars: Vec<_> = LOCAL.iter().chain(vars).copied().collect();
        self.second(&vars).await
    }

    /// Registers a user with [`PASSWORD`].
    pub async fn register(&self, email: &str) -> Account {
        let reply = self.anonymous().post("/public/auth/register", json!({"email": email, "password": PASSWORD})).await;
        self.account(&reply.expect(201))
    }

    /// Opens another session of the user.
    pub async fn login(&self, email: &str) -> Account {
        self.account(&self.try_login(email, PASSWORD).await.expect(200))
    }

    pub async fn try_login(&self, email: &str, password: &str) -> Reply {
        self.anonymous().post("/public/auth/login", json!({"email": email, "password": password})).await
    }

    pub async fn refresh(&self, token: &str) -> Reply {
        self.anonymous().post("/public/auth/refresh", json!({"refresh_token": token})).await
    }

    /// Reads the body of a login, registration or refresh response.
    #[track_caller]
    pub fn account(&self, session: &Value) -> Account {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        Account {
            client: self.with_token(session["access_token"].as_str().unwrap()),
            refresh: text(&session["refresh_token"]),
            id: text(&session["user"]["id"]),
        }
    }

    /// The mails of one template to an address, newest first.
    pub async fn mails(&self, to: &str, template: &str) -> Vec<Value> {
        self.run_jobs().await;
        let page = self.anonymous().get("//dev/mailbox.json").query(&[("to", to), ("limit", "100")]).await.expect(200);
        page["items"].as_array().unwrap().iter().filter(|mail| mail["template"] == template).cloned().collect()
    }

    /// The token in the newest mail of this template.
    pub async fn mailed_token(&self, to: &str, template: &str) -> String {
        token_of(self.mails(to, template).await.first().unwrap_or_else(|| panic!("no mail {template} to {to}")))
    }

    pub fn minutes_pass(&self, minutes: i64) {
        self.clock.advance(TimeDelta::minutes(minutes));
    }
}

/// The token of the link in the mail.
#[track_caller]
pub fn token_of(mail: &Value) -> String {
    let text = mail["text"].as_str().unwrap();
    let (_, rest) = text.split_once("?token=").unwrap_or_else(|| panic!("no link in {text}"));
    rest.chars().take_while(|c| c.is_ascii_alphanumeric() || "-_".contains(*c)).collect()
}
