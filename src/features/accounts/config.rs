//! Settings of the service's own accounts, except those of tokens and hashes, which `platform::auth` reads.

use chrono::TimeDelta;
use url::Url;

use crate::platform::config::Env;

#[derive(Debug, Clone)]
pub struct Settings {
    pub registration_open: bool,
    pub require_verified_email: bool,
    /// Minimum length of new passwords in characters.
    pub password_min: usize,
    /// A session ends when it is not used for this long.
    pub refresh_idle: TimeDelta,
    /// Maximum age of a session, regardless of use.
    pub refresh_max: TimeDelta,
    /// Base URL of the front end that links in mails lead to.
    pub link_base: Option<Url>,
}

impl Settings {
    pub fn read(env: &mut Env) -> Self {
        env.section("Authentication");
        let production = env.environment().is_production();
        let days = |days: u16| TimeDelta::days(days.into());
        Self {
            registration_open: env
                .var("AUTH_REGISTRATION_OPEN", "local: allow self-registration; otherwise `omnistack users create` creates accounts")
                .or(true),
            require_verified_email: env
                .var("AUTH_REQUIRE_VERIFIED_EMAIL", "local: require a verified e-mail address to log in")
                .shown_default("`false`; `true` in production")
                .or(production),
            password_min: env
                .var("AUTH_PASSWORD_MIN_LENGTH", "local: minimum length of new passwords, 8 to 64; 15 is better")
                .checked(8_u16, |n| (8..=64).contains(n), "from 8 to 64")
                .into(),
            refresh_idle: days(env.var("AUTH_REFRESH_IDLE_DAYS", "local: idle time-out of a session in days, 1 to 365").checked(
                14,
                |n| (1..=365).contains(n),
                "from 1 to 365",
            )),
            refresh_max: days(env.var("AUTH_REFRESH_MAX_DAYS", "local: maximum lifetime of a session in days, 1 to 3650").checked(
                90,
                |n| (1..=3650).contains(n),
                "from 1 to 3650",
            )),
            link_base: env
                .var("AUTH_LINK_BASE_URL", "local: base URL of links in e-mails; production needs this or PUBLIC_BASE_URL")
                .shown_default("`PUBLIC_BASE_URL`")
                .optional(),
        }
    }
}
