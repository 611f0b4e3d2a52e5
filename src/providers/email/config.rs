//! Settings of e-mail. Those of one vendor are read in the vendor's own file.

use std::sync::Arc;

use super::provider::EmailProvider;
use super::{VENDORS, address};
use crate::platform::config::{Env, Environment, Section};
use crate::providers::vendor::{self, VendorSettings};

/// The settings of e-mail.
#[derive(Debug, Clone)]
pub struct Config {
    /// The chosen vendor's.
    pub vendor: Arc<dyn VendorSettings<dyn EmailProvider>>,
    pub from_address: String,
    pub from_name: String,
    /// With ENVIRONMENT=local: every mail is kept for the developer to see.
    pub local: bool,
}

impl Section for Config {
    fn read(env: &mut Env) -> Self {
        env.section("E-mail");
        let from_address = env.var("EMAIL_FROM_ADDRESS", "Sender address").checked(
            "hello@example.com".to_owned(),
            |address: &String| address::check("sender", address).is_ok(),
            "one e-mail address",
        );
        let from_name = env.var("EMAIL_FROM_NAME", "Sender name").or("My App".to_owned());
        let help = "E-mail vendor: `console` (no delivery, shown to the developer), `resend`, `sendgrid` or `smtp`";
        let (_, vendor) = vendor::choose(env, "EMAIL_PROVIDER", help, VENDORS);
        Self { vendor, from_address, from_name, local: env.environment() == Environment::Local }
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
    fn chosen_vendor_requires_its_variables() {
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
    fn smtp_url_is_checked_at_start() {
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
    fn build_without_smtp_reports_it() {
        assert_eq!(problems(&[("EMAIL_PROVIDER", "smtp"), ("SMTP_URL", "smtp://localhost")]), ["EMAIL_PROVIDER"]);
    }
}
