//! Settings of language models. Those of one vendor are read in the vendor's own file.

use std::sync::Arc;
use std::time::Duration;

use super::VENDORS;
use super::provider::Llm;
use crate::platform::config::{Env, List, Section, Value};
use crate::providers::vendor::VendorSettings;

/// The settings of one vendor.
pub type LlmSettings = Arc<dyn VendorSettings<dyn Llm>>;

/// The longest time-out that may be configured.
const LONGEST: Duration = Duration::from_secs(3600);

/// The settings of language models.
#[derive(Debug, Clone)]
pub struct Config {
    /// Every vendor's, in the order of [`VENDORS`].
    pub vendors: Vec<(&'static str, LlmSettings)>,
    pub default_provider: &'static str,
    /// Applies to the default provider only.
    pub default_model: Option<String>,
    pub routes: Routes,
    /// Vendors that may answer in another's place, in this order.
    pub fallback: Vec<&'static str>,
    /// For a whole answer; for a stream, between two pieces.
    pub timeout: Duration,
    pub first_piece: Duration,
    pub stream_max: Duration,
}

/// The models of the routing table.
#[derive(Debug, Clone)]
pub struct Routes {
    pub simple: Route,
    pub moderate: Route,
    pub complex: Route,
    pub search: Route,
}

/// A vendor and a model, written `provider:model`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    pub provider: String,
    pub model: String,
}

impl Value for Route {
    fn parse(text: &str) -> Result<Self, String> {
        let wants = || format!("<provider>:<model>, with one of the providers {}", names().join(", "));
        let (provider, model) = text.split_once(':').ok_or_else(wants)?;
        let (provider, model) = (provider.trim().to_owned(), model.trim().to_owned());
        if model.is_empty() || !names().contains(&provider.as_str()) { Err(wants()) } else { Ok(Self { provider, model }) }
    }

    fn show(&self) -> String {
        format!("{}:{}", self.provider, self.model)
    }
}

/// A vendor's name.
struct Name(&'static str);

impl Value for Name {
    fn parse(text: &str) -> Result<Self, String> {
        let known = names().into_iter().find(|name| *name == text);
        known.map(Self).ok_or_else(|| format!("a list of {}, separated by commas", names().join(", ")))
    }

    fn show(&self) -> String {
        self.0.to_owned()
    }
}

fn names() -> Vec<&'static str> {
    VENDORS.iter().map(|vendor| vendor.name).collect()
}

impl Section for Config {
    fn read(env: &mut Env) -> Self {
        env.section("AI");
        let default_provider = env
            .var("AI_DEFAULT_PROVIDER", "AI provider of requests that name no route; `echo` needs no key and is for development only")
            .one_of(&names());
        let default_model = env
            .var("AI_DEFAULT_MODEL", "Model of the default provider")
            .shown_default("`gpt-6-luna` for openai, `claude-sonnet-5-5` for anthropic, `gemini-3.5-flash-lite` for gemini")
            .optional();
        let mut route = |name, help, provider: &str, model: &str| {
            env.var(name, help).or(Route { provider: provider.to_owned(), model: model.to_owned() })
        };
        let routes = Routes {
            simple: route("AI_ROUTE_SIMPLE", "`provider:model` for classification, extraction, short questions", "openai", "gpt-6-luna"),
            moderate: route("AI_ROUTE_MODERATE", "`provider:model` for summaries and basic analysis", "openai", "gpt-6-luna"),
            complex: route("AI_ROUTE_COMPLEX", "`provider:model` for reasoning, code, creative work", "anthropic", "claude-sonnet-5-5"),
            search: route("AI_ROUTE_SEARCH", "`provider:model` for questions about facts", "openai", "gpt-6-luna"),
        };
        let fallback = env
            .var("AI_FALLBACK", "Providers that may answer in another's place if it fails, separated by commas")
            .optional::<List<Name>>()
            .map(|list| list.0.into_iter().map(|name| name.0).collect())
            .unwrap_or_default();
        let mut seconds = |name, help, default| {
            let within = |time: &Duration| (1..=LONGEST.as_secs()).contains(&time.as_secs());
            env.var(name, help).checked(Duration::from_secs(default), within, "from 1 to 3600")
        };
        let timeout = seconds("AI_TIMEOUT_SECONDS", "Time limit of a whole answer with its retries; in streams, of a silence", 60);
        let first_piece = seconds("AI_FIRST_TOKEN_SECONDS", "Time limit of a stream's first piece", 30);
        let stream_max = seconds("AI_STREAM_MAX_SECONDS", "Time limit of a whole stream", 600);
        let vendors: Vec<_> = VENDORS.iter().map(|vendor| (vendor.name, (vendor.read)(env))).collect();
        if let Some((_, chosen)) = vendors.iter().find(|(name, _)| *name == default_provider) {
            chosen.check(env);
        }
        // A variable of the service that this one takes the place of.
        let _ = env.var("PERPLEXITY_API_KEY", "Accepted for compatibility; not used").secret(1);
        Self { vendors, default_provider, default_model, routes, fallback, timeout, first_piece, stream_max }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(vars: &[(&str, &str)]) -> Vec<String> {
        let mut env = Env::from_vars(vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        env.read_environment();
        let _ = Config::read(&mut env);
        env.finish().problems.into_iter().map(|problem| problem.variable).collect()
    }

    #[test]
    fn ai_settings_are_checked_at_start() {
        assert!(problems(&[]).is_empty());
        assert!(problems(&[("AI_ROUTE_COMPLEX", "openai:llama3:8b"), ("AI_FALLBACK", "anthropic, gemini")]).is_empty());
        for (name, wrong) in [
            ("AI_DEFAULT_PROVIDER", "perplexity"),
            ("AI_ROUTE_SIMPLE", "gpt-6-luna"),
            ("AI_ROUTE_SIMPLE", "mistral:large"),
            ("AI_ROUTE_SEARCH", "openai:"),
            ("AI_FALLBACK", "openai,mistral"),
            ("AI_TIMEOUT_SECONDS", "0"),
            ("AI_FIRST_TOKEN_SECONDS", "3601"),
            ("AI_REASONING_EFFORT", "Very high"),
            ("OPENAI_BASE_URL", "localhost:11434"),
        ] {
            assert_eq!(problems(&[(name, wrong)]), [name], "{wrong}");
        }
    }

    #[test]
    fn echo_is_refused_in_production() {
        assert!(problems(&[("AI_DEFAULT_PROVIDER", "echo")]).is_empty());
        assert_eq!(problems(&[("AI_DEFAULT_PROVIDER", "echo"), ("ENVIRONMENT", "production")]), ["AI_DEFAULT_PROVIDER"]);
    }

    #[test]
    fn route_model_may_hold_colons() {
        assert_eq!(Route::parse("openai:llama3:8b").map(|route| route.model).as_deref(), Ok("llama3:8b"));
    }
}
