//! Who delivers mail, and from whom it is. What belongs to one vendor is read in the vendor's own file.

use super::address;
use crate::platform::config::{Choice, Env, Environment, Section};

/// Who delivers; the first is the default.
#[rustfmt::skip] // A line each, here and below: a vendor goes with its lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vendor {
    /// Nobody: mails are shown to the developer.
    Console,
    Resend,
    Sendgrid,
    Smtp,
}

impl Choice for Vendor {
    #[rustfmt::skip]
    const NAMES: &'static [(&'static str, Self)] = &[
        ("console", Self::Console),
        ("resend", Self::Resend),
        ("sendgrid", Self::Sendgrid),
        ("smtp", Self::Smtp),
    ];
}

/// Everything about e-mail that can be set.
#[derive(Debug, Clone)]
pub struct Config {
    pub vendor: Vendor,
    pub from_address: String,
    pub from_name: String,
    /// With ENVIRONMENT=local: every mail is kept for the developer to see.
    pub local: bool,
    pub resend: super::resend::Settings,
    pub sendgrid: super::sendgrid::Settings,
    pub smtp: super::smtp::Settings,
}

impl Section for Config {
    fn read(env: &mut Env) -> Self {
        env.section("E-mail");
        let vendor =
            env.var("EMAIL_PROVIDER", "Who delivers mail: `console` (nobody), `resend`, `sendgrid` or `smtp`").or(Vendor::NAMES[0].1);
        let from_address = env.var("EMAIL_FROM_ADDRESS", "The address that mail is from").checked(
            "hello@example.com".to_owned(),
            |address: &String| address::check("sender", address).is_ok(),
            "one e-mail address",
        );
        let from_name = env.var("EMAIL_FROM_NAME", "The name that mail is from").or("My App".to_owned());
        let config = Self {
            vendor,
            from_address,
            from_name,
            local: env.environment() == Environment::Local,
            resend: super::resend::read(env),
            sendgrid: super::sendgrid::read(env),
            smtp: super::smtp::Settings::read(env),
        };
        config.check(env);
        config
    }
}

impl Config {
    fn check(&self, env: &mut Env) {
        match self.vendor {
            Vendor::Console => super::console::check(env),
            Vendor::Resend => self.resend.check(env, Vendor::Resend),
            Vendor::Sendgrid => self.sendgrid.check(env, Vendor::Sendgrid),
            Vendor::Smtp => super::smtp::check(env),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Variables with problems, variables with warnings.
    fn read(vars: &[(&str, &str)]) -> (Vec<String>, Vec<String>) {
        let mut env = Env::from_vars(vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        env.read_environment();
        let _ = Config::read(&mut env);
        let found = env.finish();
        let all = found.problems.iter().chain(&found.warnings).map(ToString::to_string).collect::<String>();
        assert!(!all.contains("hunter2"), "{all}");
        let names = |problems: Vec<crate::platform::config::Problem>| problems.into_iter().map(|p| p.variable).collect();
        (names(found.problems), names(found.warnings))
    }

    fn problems(vars: &[(&str, &str)]) -> Vec<String> {
        read(vars).0
    }

    #[test]
    fn the_chosen_vendor_has_its_variables() {
        assert!(problems(&[]).is_empty());
        assert_eq!(problems(&[("EMAIL_PROVIDER", "resend")]), ["RESEND_API_KEY"]);
        assert!(problems(&[("EMAIL_PROVIDER", "resend"), ("RESEND_API_KEY", "re_1")]).is_empty());
        assert_eq!(problems(&[("EMAIL_PROVIDER", "sendgrid")]), ["SENDGRID_API_KEY"]);
        assert_eq!(problems(&[("EMAIL_PROVIDER", "pigeon")]), ["EMAIL_PROVIDER"]);
        assert_eq!(problems(&[("EMAIL_FROM_ADDRESS", "Ada <ada@example.com>")]), ["EMAIL_FROM_ADDRESS"]);
        let production = read(&[("ENVIRONMENT", "production")]);
        assert_eq!(production, (vec![], vec!["EMAIL_PROVIDER".to_owned()]));
    }

    #[test]
    #[cfg(feature = "smtp")]
    fn the_url_of_a_mail_server_is_read_at_the_start() {
        assert_eq!(problems(&[("EMAIL_PROVIDER", "smtp")]), ["SMTP_URL"]);
        for good in ["smtp://localhost:1025", "smtps://ada%40example.com:hunter2@mail.example.com", "smtp://[::1]:25"] {
            assert!(problems(&[("EMAIL_PROVIDER", "smtp"), ("SMTP_URL", good)]).is_empty(), "{good}");
        }
        for bad in ["http://ada:hunter2@mail.example.com", "hunter2", "smtp:hunter2", "smtp://ada:hunter2@", "smtp://ho st:hunter2"] {
            assert_eq!(problems(&[("EMAIL_PROVIDER", "smtp"), ("SMTP_URL", bad)]), ["SMTP_URL"], "{bad}");
        }
    }

    #[test]
    #[cfg(not(feature = "smtp"))]
    fn a_build_without_smtp_says_so() {
        assert_eq!(problems(&[("EMAIL_PROVIDER", "smtp"), ("SMTP_URL", "smtp://localhost")]), ["EMAIL_PROVIDER"]);
    }
}
