//! Anthropic's messages (<https://docs.anthropic.com/en/api/messages>).

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, RequestBuilder};
use serde::Serialize;
use serde_json::Value;

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

const NAME: &str = "anthropic";
const VERSION: HeaderValue = HeaderValue::from_static("2023-06-01");
/// The highest temperature that the API takes.
const MAX_TEMPERATURE: f64 = 1.0;

pub(super) static VENDOR: Vendor =
    Vendor { name: NAME, default_model: Anthropic::DEFAULT_MODEL, read: |env| Arc::new(Settings(access::Settings::read(env, &VARIABLES))) };

const VARIABLES: Variables = Variables {
    vendor: NAME,
    key: ("ANTHROPIC_API_KEY", "anthropic: API key; setting it turns the provider on"),
    base_url: ("ANTHROPIC_BASE_URL", "anthropic: base URL, for gateways and tests"),
    home: "https://api.anthropic.com/",
};

#[derive(Debug)]
struct Settings(access::Settings);

impl VendorSettings<dyn Llm> for Settings {
    fn check(&self, _: &mut Env) {}

    fn connect(&self, outside: &Outside) -> Result<Arc<dyn Llm>, ProviderError> {
        Ok(Arc::new(HttpLlm::new(Anthropic(self.0.access()?), outside)))
    }
}

struct Anthropic(Access);

impl Anthropic {
    fn headers(&self) -> HeaderMap {
        let mut headers = self.0.key_header(HeaderName::from_static("x-api-key"), "");
        headers.insert(HeaderName::from_static("anthropic-version"), VERSION);
        headers
    }

    /// The path below the base URL, which may name the version itself.
    fn path<'s>(&self, rest: &'s str) -> Vec<&'s str> {
        if self.0.base_segments().next_back() == Some("v1") { vec![rest] } else { vec!["v1", rest] }
    }
}

/// Whether the model is one of those that take no temperature: Opus from 4.7, Sonnet from 5, Haiku from 5.5.
fn refuses_temperature(model: &str) -> bool {
    let Some((_, name)) = model.split_once("claude-") else { return false };
    let mut parts = name.split('-');
    let from = match parts.next() {
        Some("opus") => (4, 7),
        Some("sonnet") => (5, 0),
        Some("haiku") => (5, 5),
        _ => return false,
    };
    // A part of more than two digits is a date.
    let mut number = || parts.next().filter(|part| part.len() <= 2)?.parse::<u32>().ok();
    let major = number();
    major.is_some_and(|major| (major, number().unwrap_or(0)) >= from)
}

#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    max_tokens: u32,
    messages: Vec<&'a Message>,
    #[serde(skip_serializing_if = "Option::is_none")]
    system: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    stream: bool,
}

impl Protocol for Anthropic {
    const NAME: &'static str = NAME;
    const DEFAULT_MODEL: &'static str = "claude-sonnet-5-5";

    fn refused(&self, model: &str) -> Parameters {
        if refuses_temperature(model) { Parameters::default().with(Parameter::Temperature) } else { Parameters::default() }
    }

    fn request(&self, client: &Client, ask: &Ask<'_>) -> RequestBuilder {
        let body = Request {
            model: ask.model,
            max_tokens: ask.prompt.max_tokens,
            messages: ask.prompt.conversation().collect(),
            system: ask.prompt.system(),
            temperature: ask.temperature().map(|temperature| temperature.min(MAX_TEMPERATURE)),
            stream: ask.stream,
        };
        self.0.post(client, &self.path("messages"), self.headers(), &body)
    }

    fn read_answer(&self, body: &Value) -> Option<Answered> {
        let blocks = body["content"].as_array()?;
        let texts = blocks.iter().filter(|block| block["type"] == "text").filter_map(|block| block["text"].as_str());
        let mut figures = Figures { completion: body["usage"]["output_tokens"].as_u64(), ..Figures::default() };
        figures.prompt = prompt_tokens(&body["usage"]);
        Some(Answered { content: texts.collect(), figures, finish_reason: body["stop_reason"].as_str().unwrap_or("end_turn").to_owned() })
    }

    fn read_event(&self, event: &Event, reading: &mut Reading) -> Result<Signal, Fault> {
        if event.data.is_empty() {
            return Ok(Signal::Idle);
        }
        let data: Value = serde_json::from_str(&event.data).map_err(|_| Fault::MALFORMED)?;
        match data["type"].as_str().unwrap_or(&event.name) {
            // Its output_tokens are a placeholder.
            "message_start" => reading.figures.prompt = prompt_tokens(&data["message"]["usage"]),
            "content_block_start" if data["content_block"]["type"] == "text" => return Ok(text(&data["content_block"])),
            "content_block_delta" if data["delta"]["type"] == "text_delta" => return Ok(text(&data["delta"])),
            "content_block_start" | "content_block_delta" | "content_block_stop" => {}
            "message_delta" => {
                let usage = &data["usage"];
                reading.figures.completion = usage["output_tokens"].as_u64().or(reading.figures.completion);
                reading.figures.prompt = prompt_tokens(usage).or(reading.figures.prompt);
                reading.ended |= data["delta"]["stop_reason"].is_string();
            }
            "message_stop" => (reading.ended, reading.closed) = (true, true),
            "error" => return Err(Fault::within(&data).unwrap_or(Fault::MALFORMED)),
            _ => return Ok(Signal::Idle),
        }
        Ok(Signal::Progress)
    }

    fn list_request(&self, client: &Client) -> RequestBuilder {
        let mut url = self.0.url(&self.path("models"));
        url.query_pairs_mut().append_pair("limit", "1000");
        client.get(url).headers(self.headers())
    }

    fn read_list(&self, body: &Value) -> Option<Vec<ListedModel>> {
        protocol::listed(&body["data"], "id")
    }
}

fn text(block: &Value) -> Signal {
    Signal::text(block["text"].as_str().unwrap_or_default().to_owned())
}

/// All tokens of the prompt, those of the cache included; `None` if the usage has none.
fn prompt_tokens(usage: &Value) -> Option<u64> {
    let input = usage["input_tokens"].as_u64()?;
    let cached = ["cache_creation_input_tokens", "cache_read_input_tokens"].map(|name| usage[name].as_u64().unwrap_or(0));
    Some(cached.into_iter().fold(input, u64::saturating_add))
}

#[cfg(test)]
mod tests {
    use super::access::tests::access;
    use super::*;

    #[test]
    fn newer_models_take_no_temperature() {
        for model in ["claude-opus-4-7", "claude-opus-5", "claude-sonnet-5", "claude-sonnet-5-5", "claude-haiku-5-5-20270101"] {
            assert!(refuses_temperature(model), "{model}");
        }
        for model in ["claude-opus-4-6", "claude-opus-4-20250514", "claude-sonnet-4-5", "claude-haiku-5", "claude-3-5-sonnet-20241022", "x"]
        {
            assert!(!refuses_temperature(model), "{model}");
        }
    }

    #[test]
    fn base_url_may_name_the_version() {
        for base in ["https://a.example/proxy", "https://a.example/proxy/", "https://a.example/proxy/v1"] {
            let anthropic = Anthropic(access(base));
            assert_eq!(anthropic.0.url(&anthropic.path("messages")).as_str(), "https://a.example/proxy/v1/messages", "{base}");
        }
    }
}
