//! Checks for `omnistack doctor` and the start: whether the vendors accept the keys, and offer the configured models for longer
//! than the next weeks.

use std::collections::BTreeSet;

use chrono::{NaiveDate, TimeDelta};
use futures_util::future::join_all;

use super::state::State;
use crate::app::App;
use crate::app::feature::Finding;
use crate::platform::outgoing::AccountProblem;
use crate::providers::ai::{AiError, Gateway, ListedModel, Llm};

/// Models that retire within this time are named.
const NOTICE: TimeDelta = TimeDelta::days(60);
const WHAT: &str = "ai";
const VARIABLES: &str = "Name another one in AI_DEFAULT_MODEL or AI_ROUTE_…, or update to a version with newer defaults";

/// What the start banner says of the feature.
pub fn banner(app: &App) -> String {
    let gateway = &app.state::<State>().gateway;
    let (provider, model) = gateway.default_names();
    match gateway.vendors() {
        [] => "off (set OPENAI_API_KEY, ANTHROPIC_API_KEY or GOOGLE_API_KEY; or AI_DEFAULT_PROVIDER=echo to try it)".to_owned(),
        vendors if vendors.iter().any(|vendor| vendor.is_stand_in()) => {
            format!("{provider}, which stands in for a model during development")
        }
        vendors => {
            let names: Vec<_> = vendors.iter().map(|vendor| vendor.name()).collect();
            format!("{} (default: {provider}, {model})", names.join(", "))
        }
    }
}

/// Asks each vendor for its list of models.
pub async fn diagnose(app: &App) -> Vec<Finding> {
    let gateway = &app.state::<State>().gateway;
    if gateway.vendors().is_empty() {
        return vec![Finding::ok(WHAT, "not configured: AI requests are answered with 503".to_owned())];
    }
    let today = app.clock.now().date_naive();
    let lists = gateway.vendors().iter().map(|vendor| async move {
        match vendor.models().await {
            Ok(None) => vec![Finding::ok(WHAT, format!("{} stands in for a model", vendor.name()))],
            Ok(Some(list)) => {
                let found = of_models(vendor.name(), &models_of(gateway, vendor.as_ref()), &list, today);
                if found.is_empty() {
                    vec![Finding::ok(WHAT, format!("{}: answers, and has the configured models", vendor.name()))]
                } else {
                    found
                }
            }
            Err(error) => vec![of_failure(&error)],
        }
    });
    join_all(lists).await.into_iter().flatten().collect()
}

/// The models that the configuration names for a vendor, each once.
fn models_of(gateway: &Gateway, vendor: &dyn Llm) -> BTreeSet<String> {
    let models = gateway.configured_models().into_iter().filter(|target| target.provider() == vendor.name());
    models.map(|target| target.model).collect()
}

/// What is wrong with the configured models of a vendor.
fn of_models(vendor: &str, models: &BTreeSet<String>, list: &[ListedModel], today: NaiveDate) -> Vec<Finding> {
    let problem = |model: &String| {
        let Some(listed) = listed(model, list) else {
            return Some(format!("{vendor} does not have the configured model {model}"));
        };
        let retires = listed.retires.filter(|day| *day <= today + NOTICE)?;
        Some(format!("{vendor} retires the configured model {model} on {retires}"))
    };
    models.iter().filter_map(problem).map(|text| Finding::warn(WHAT, text, VARIABLES)).collect()
}

/// The model in a vendor's list: by its name, or by that of a dated version of it.
fn listed<'l>(model: &str, list: &'l [ListedModel]) -> Option<&'l ListedModel> {
    let is_dated = |id: &str| {
        let rest = id.strip_prefix(model).and_then(|rest| rest.strip_prefix('-'));
        rest.is_some_and(|rest| rest.len() >= 8 && rest.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-'))
    };
    let exact = list.iter().find(|listed| listed.id == model);
    exact.or_else(|| list.iter().filter(|listed| is_dated(&listed.id)).max_by(|a, b| a.id.cmp(&b.id)))
}

fn of_failure(error: &AiError) -> Finding {
    let remedy = match error.account {
        Some(AccountProblem::KeyRefused) => "Check the key's variable, and the key's permissions in the vendor's console",
        Some(AccountProblem::Billing) => "Add credit to the account in the vendor's console",
        None => "Check the base URL and the network; the vendor's status page may say more",
    };
    Finding::warn(WHAT, format!("the models of {error}"), remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_and_retiring_models_are_named() {
        let model = |id: &str, retires: Option<&str>| ListedModel { id: id.to_owned(), retires: retires.map(|day| day.parse().unwrap()) };
        let list = [
            model("current", None),
            model("soon", Some("2026-12-31")),
            model("later", Some("2027-03-01")),
            model("alias-20250101", Some("2026-12-01")),
            model("alias-20260901", None),
            model("current-mini", None),
        ];
        let configured = ["current", "soon", "later", "alias", "gone", "curren"].map(str::to_owned).into();
        let texts: Vec<_> = of_models("v", &configured, &list, "2026-11-28".parse().unwrap()).into_iter().map(|f| f.text).collect();
        assert_eq!(
            texts,
            [
                "v does not have the configured model curren",
                "v does not have the configured model gone",
                "v retires the configured model soon on 2026-12-31",
            ]
        );
    }
}
