//! OpenAI's chat completions (<https://platform.openai.com/docs/api-reference/chat>), and every server that is compatible with
//! them: set `OPENAI_BASE_URL`.

use std::sync::Arc;

use http::{HeaderMap, header};
use reqwest::{Client, RequestBuilder};
use serde::Serialize;
use serde_json::{Value, json};

use super::access::{self, Access, Variables};
use super::http::HttpLlm;
use super::model::{Figures, Message};
use super::parameters::{Parameter, Parameters};
use super::protocol;
use super::protocol::{Answered, Ask, Fault, Protocol, Reading, Signal};
use super::provider::{ListedModel, Llm, Vendor};
use crate::platform::config::Env;
use crate::platform::outgoing::event_stream::Event;
use crate::providers::ProviderError;
use crate::providers::vendor::{Outside, VendorSettings};

const NAME: &str = "openai";
/// Answers without thinking, so that it is as quick and as cheap as its name says.
const UNTHINKING: &str = "gpt-6-luna";

pub(super) static VENDOR: Vendor = Vendor { name: NAME, default_model: UNTHINKING, read: |env| Arc::new(Settings::read(env)) };

const VARIABLES: Variables = Variables {
    vendor: NAME,
    key: ("OPENAI_API_KEY", "openai: API key; setting it turns the provider on"),
    base_url: ("OPENAI_BASE_URL", "openai: base URL, for any compatible server; without a path it gets `/v1`"),
    home: "https://api.openai.com/v1",
};

#[derive(Debug)]
struct Settings {
    access: access::Settings,
    effort: Option<String>,
}

impl Settings {
    fn read(env: &mut Env) -> Self {
        let word = |text: &String| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase());
        Self {
            access: access::Settings::read(env, &VARIABLES),
            effort: env
                .var("AI_REASONING_EFFORT", "openai: `reasoning_effort` of reasoning models, e.g. `low`")
                .optional_checked(word, "a word in lower case, such as none, low, medium or high"),
        }
    }
}

impl VendorSettings<dyn Llm> for Settings {
    fn check(&self, _: &mut Env) {}

    fn connect(&self, outside: &Outside) -> Result<Arc<dyn Llm>, ProviderError> {
        let openai = OpenAi { access: self.access.access()?, effort: self.effort.clone() };
        Ok(Arc::new(HttpLlm::new(openai, outside)))
    }
}

struct OpenAi {
    access: Access,
    effort: Option<String>,
}

impl OpenAi {
    fn effort(&self, model: &str) -> Option<&str> {
        match base_name(model) {
            UNTHINKING => Some("none"),
            name if takes_no_effort(name) => None,
            _ => self.effort.as_deref(),
        }
    }

    /// The path below the base URL, which is `/v1` if the URL has none.
    fn path<'s>(&self, rest: &[&'s str]) -> Vec<&'s str> {
        let version = self.access.base_segments().next().is_none().then_some("v1");
        version.into_iter().chain(rest.iter().copied()).collect()
    }

    fn headers(&self) -> HeaderMap {
        self.access.key_header(header::AUTHORIZATION, "Bearer ")
    }
}

/// The model's name without the organisation that some compatible servers put before it.
fn base_name(model: &str) -> &str {
    model.rsplit('/').next().unwrap_or(model)
}

/// Whether the model thinks unless it is told not to: `o1`, `o3-mini`, `gpt-5`, `gpt-6-sol`.
fn is_reasoning(name: &str) -> bool {
    let number = |rest: &str| rest.split(|c: char| !c.is_ascii_digit()).next().and_then(|digits| digits.parse::<u32>().ok());
    let series_o = name.strip_prefix('o').and_then(number).is_some();
    let series_gpt = name.strip_prefix("gpt-").and_then(number).is_some_and(|series| series >= 5);
    (series_o || series_gpt) && !name.contains("-chat")
}

fn takes_no_effort(name: &str) -> bool {
    ["gpt-3", "gpt-4", "chatgpt-"].iter().any(|family| name.starts_with(family))
}

#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    messages: &'a [Message],
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<u32>,
    /// For servers that do not know the newer name.
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_effort: Option<&'a str>,
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_options: Option<Value>,
}

impl Protocol for OpenAi {
    const NAME: &'static str = NAME;
    const DEFAULT_MODEL: &'static str = UNTHINKING;

    fn refused(&self, model: &str) -> Parameters {
        let thinks = is_reasoning(base_name(model)) && self.effort(model) != Some("none");
        if thinks { Parameters::default().with(Parameter::Temperature) } else { Parameters::default() }
    }

    fn request(&self, client: &Client, ask: &Ask<'_>) -> RequestBuilder {
        let takes = |parameter| !ask.without.has(parameter);
        let limit = Some(ask.prompt.max_tokens);
        let body = Request {
            model: ask.model,
            messages: &ask.prompt.messages,
            max_completion_tokens: limit.filter(|_| takes(Parameter::MaxCompletionTokens)),
            max_tokens: limit.filter(|_| !takes(Parameter::MaxCompletionTokens)),
            temperature: ask.temperature(),
            reasoning_effort: self.effort(ask.model).filter(|_| takes(Parameter::ReasoningEffort)),
            stream: ask.stream,
            stream_options: (ask.stream && takes(Parameter::StreamOptions)).then(|| json!({"include_usage": true})),
        };
        self.access.post(client, &self.path(&["chat", "completions"]), self.headers(), &body)
    }

    fn read_answer(&self, body: &Value) -> Option<Answered> {
        let choice = body["choices"].get(0)?;
        let message = choice.get("message")?;
        Some(Answered {
            content: text_of(&message["content"]).or_else(|| text_of(&message["refusal"])).unwrap_or_default(),
            figures: figures(&body["usage"]).unwrap_or_default(),
            finish_reason: choice["finish_reason"].as_str().unwrap_or("stop").to_owned(),
        })
    }

    fn read_event(&self, event: &Event, reading: &mut Reading) -> Result<Signal, Fault> {
        if event.data.trim() == "[DONE]" {
            (reading.ended, reading.closed) = (true, true);
            return Ok(Signal::Progress);
        }
        if event.data.is_empty() {
            return Ok(Signal::Idle);
        }
        let chunk: Value = serde_json::from_str(&event.data).map_err(|_| Fault::MALFORMED)?;
        if let Some(fault) = Fault::within(&chunk) {
            return Err(fault);
        }
        if let Some(figures) = figures(&chunk["usage"]) {
            reading.figures = figures;
        }
        let Some(choice) = chunk["choices"].get(0) else { return Ok(Signal::Progress) };
        if choice["finish_reason"].is_string() {
            reading.ended = true;
        }
        let delta = &choice["delta"];
        Ok(Signal::text(text_of(&delta["content"]).or_else(|| text_of(&delta["refusal"])).unwrap_or_default()))
    }

    fn list_request(&self, client: &Client) -> RequestBuilder {
        client.get(self.access.url(&self.path(&["models"]))).headers(self.headers())
    }

    fn read_list(&self, body: &Value) -> Option<Vec<ListedModel>> {
        protocol::listed(&body["data"], "id")
    }
}

/// Text, or the text parts of a list, as some compatible servers send it.
fn text_of(content: &Value) -> Option<String> {
    match content {
        Value::String(text) => Some(text.clone()),
        Value::Array(parts) => Some(parts.iter().filter_map(|part| part["text"].as_str()).collect()),
        _ => None,
    }
}

fn figures(usage: &Value) -> Option<Figures> {
    usage.is_object().then(|| Figures {
        prompt: usage["prompt_tokens"].as_u64(),
        completion: usage["completion_tokens"].as_u64(),
        total: usage["total_tokens"].as_u64(),
    })
}

#[cfg(test)]
mod tests {
    use super::access::tests::access;
    use super::*;

    fn openai(base: &str, effort: Option<&str>) -> OpenAi {
        OpenAi { access: access(base), effort: effort.map(str::to_owned) }
    }

    #[test]
    fn temperature_is_refused_by_models_that_think() {
        let refused = |effort, model: &str| openai("https://a.example", effort).refused(model).has(Parameter::Temperature);
        for model in ["o1", "o3-mini", "o4-mini", "gpt-5", "gpt-5.2", "gpt-6-sol", "openai/gpt-5"] {
            assert!(refused(None, model), "{model}");
            assert!(!refused(Some("none"), model), "{model}");
        }
        for model in ["gpt-6-luna", "gpt-4o", "gpt-4.1-mini", "gpt-5-chat-latest", "llama3:8b", "o", "ollama", "mistral-large"] {
            assert!(!refused(None, model) && !refused(Some("high"), model), "{model}");
        }
    }

    #[test]
    fn effort_is_sent_to_models_that_take_one() {
        let effort = |model: &str| openai("https://a.example", Some("low")).effort(model).map(str::to_owned);
        assert_eq!(effort("gpt-6-luna").as_deref(), Some("none"));
        assert_eq!(effort("gpt-6-sol").as_deref(), Some("low"));
        assert_eq!(effort("gpt-4o"), None);
    }

    #[test]
    fn address_without_path_gets_v1() {
        let url = |base: &str| {
            let openai = openai(base, None);
            openai.access.url(&openai.path(&["models"])).to_string()
        };
        assert_eq!(url("http://localhost:11434"), "http://localhost:11434/v1/models");
        assert_eq!(url("http://localhost:11434/"), "http://localhost:11434/v1/models");
        assert_eq!(url("https://openrouter.example/api/v1"), "https://openrouter.example/api/v1/models");
    }
}
