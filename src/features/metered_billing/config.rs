//! Settings of the reports to Stripe.

use std::collections::HashSet;
use std::time::Duration;

use crate::platform::config::{Env, List, Section, Value};
use crate::platform::rate_limit::Rate;
use crate::platform::usage::Metric;

const ENABLED: &str = "USAGE_STRIPE_SYNC_ENABLED";
const METERS: &str = "USAGE_STRIPE_METERS";
/// Longest name of a meter's events at Stripe.
const MAX_NAME: usize = 100;

#[derive(Debug, Clone)]
pub struct Settings {
    pub enabled: bool,
    pub interval: Duration,
    /// What is reported. Each metric and each meter is there once, because a meter's sum must belong to one metric.
    pub meters: Vec<Meter>,
}

/// A metric and the meter at Stripe that adds it up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meter {
    pub metric: Metric,
    /// As Stripe's meter calls its events.
    pub event_name: String,
}

impl Section for Settings {
    fn read(env: &mut Env) -> Self {
        env.section("Usage");
        let enabled = env.var(ENABLED, "Report usage to Stripe's billing meters").or(false);
        let help = "Time between two reports: seconds, or `<n>/<second|minute|hour|day>`";
        let interval = env.var("USAGE_STRIPE_SYNC_INTERVAL", help).checked(
            Interval(Duration::from_secs(3600)),
            |interval| (1..=86_400).contains(&interval.0.as_secs()),
            "from a second to a day",
        );
        let help = "Metrics that are reported, and the event names of their meters: `api_requests=<name>,ai_tokens=<name>`";
        let meters = env.var(METERS, help).optional_checked::<List<Meter>>(
            |meters| is_unambiguous(&meters.0),
            "a list in which each metric and each event name is there once",
        );
        Self { enabled, interval: interval.0, meters: meters.map_or_else(Vec::new, |meters| meters.0) }
    }
}

impl Settings {
    /// Warns of settings without which nothing is reported.
    pub fn check(&self, has_key: bool, env: &mut Env) {
        if !self.enabled {
            return;
        }
        if !has_key {
            let remedy = "Set STRIPE_SECRET_KEY, or leave USAGE_STRIPE_SYNC_ENABLED unset";
            env.warning(ENABLED, "has no effect without STRIPE_SECRET_KEY: no usage is reported", remedy);
        }
        if self.meters.is_empty() && !env.has_problem(METERS) {
            env.warning(METERS, "is not set: no usage is reported", "Name the metrics and their meters, such as api_requests=<event name>");
        }
    }

    /// Whether anything is reported.
    pub fn reports(&self, has_key: bool) -> bool {
        self.enabled && has_key && !self.meters.is_empty()
    }
}

fn is_unambiguous(meters: &[Meter]) -> bool {
    let (mut metrics, mut names) = (HashSet::new(), HashSet::new());
    meters.iter().all(|meter| metrics.insert(meter.metric) && names.insert(&meter.event_name))
}

impl Value for Meter {
    fn parse(text: &str) -> Result<Self, String> {
        let wants = || format!("a list of <metric>=<event name>, with names of 1 to {MAX_NAME} characters");
        let (metric, name) = text.split_once('=').ok_or_else(wants)?;
        let metric = Metric::parse(metric.trim()).map_err(|names| format!("a list of <metric>=<event name>, each metric {names}"))?;
        let name = name.trim();
        if name.is_empty() || name.chars().count() > MAX_NAME || name.contains(char::is_control) {
            return Err(wants());
        }
        Ok(Self { metric, event_name: name.to_owned() })
    }

    fn show(&self) -> String {
        format!("{}={}", self.metric.show(), self.event_name)
    }
}

/// Seconds, or a number of times in a unit of time.
#[derive(Debug, Clone, Copy)]
struct Interval(Duration);

impl Value for Interval {
    fn parse(text: &str) -> Result<Self, String> {
        let parsed = if text.contains('/') { Rate::parse(text).map(Rate::interval) } else { Duration::parse(text) };
        parsed.map(Self).map_err(|_| "a whole number of seconds, or <n>/<second|minute|hour|day> such as 1/hour".to_owned())
    }

    fn show(&self) -> String {
        self.0.show()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(vars: &[(&str, &str)], has_key: bool) -> (Settings, Vec<String>, Vec<String>) {
        let mut env = Env::from_vars(vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let settings = Settings::read(&mut env);
        settings.check(has_key, &mut env);
        let found = env.finish();
        let text = |problems: Vec<_>| problems.iter().map(ToString::to_string).collect();
        (settings, text(found.problems), text(found.warnings))
    }

    #[test]
    fn intervals_are_seconds_or_rates() {
        for (text, seconds) in [("60", 60), ("1/hour", 3600), ("4/hour", 900), ("1 / minute", 60), ("1/day", 86_400), ("1", 1)] {
            let (settings, problems, _) = read(&[("USAGE_STRIPE_SYNC_INTERVAL", text)], true);
            assert_eq!((settings.interval.as_secs(), problems), (seconds, vec![]), "{text}");
        }
        for wrong in ["0", "-1", "86401", "2/second", "0/hour", "1/week", "hourly", "1/", "1.5"] {
            let (settings, problems, _) = read(&[("USAGE_STRIPE_SYNC_INTERVAL", wrong)], true);
            assert_eq!((settings.interval.as_secs(), problems.len()), (3600, 1), "{wrong}");
        }
        assert_eq!(read(&[], true).0.interval.as_secs(), 3600);
    }

    #[test]
    fn meters_are_read_by_metric() {
        let (settings, problems, _) = read(&[("USAGE_STRIPE_METERS", "api_requests=calls, ai_tokens = tokens of AI,")], true);
        let meter = |metric, name: &str| Meter { metric, event_name: name.to_owned() };
        assert_eq!(settings.meters, [meter(Metric::ApiRequests, "calls"), meter(Metric::AiTokens, "tokens of AI")]);
        assert!(problems.is_empty() && !settings.enabled && !settings.reports(true));
        let long = format!("ai_tokens={}", "x".repeat(101));
        for wrong in [
            "requests=calls",
            "api_requests",
            "api_requests=",
            "=calls",
            "api_requests=a,api_requests=b",
            "api_requests=a,ai_tokens=a",
            &long,
        ] {
            let (settings, problems, warnings) = read(&[("USAGE_STRIPE_SYNC_ENABLED", "true"), ("USAGE_STRIPE_METERS", wrong)], true);
            assert!(settings.meters.is_empty() && problems.len() == 1 && problems[0].starts_with("USAGE_STRIPE_METERS"), "{wrong}");
            assert!(warnings.is_empty(), "{warnings:?}");
        }
    }

    #[test]
    fn settings_without_effect_are_warned_of() {
        let enabled = ("USAGE_STRIPE_SYNC_ENABLED", "true");
        let meters = ("USAGE_STRIPE_METERS", "api_requests=calls");
        let (settings, _, warnings) = read(&[enabled, meters], false);
        assert!(!settings.reports(false) && warnings.len() == 1 && warnings[0].contains("STRIPE_SECRET_KEY"), "{warnings:?}");
        let (settings, _, warnings) = read(&[enabled], true);
        assert!(!settings.reports(true) && warnings.len() == 1 && warnings[0].starts_with("USAGE_STRIPE_METERS"), "{warnings:?}");
        let (settings, _, warnings) = read(&[enabled, meters], true);
        assert!(settings.reports(true) && warnings.is_empty());
        assert!(read(&[meters], false).2.is_empty() && read(&[], false).2.is_empty());
    }
}
