//! Google's Gemini (<https://ai.google.dev/api/generate-content>).

use std::sync::Arc;

use http::{HeaderMap, HeaderName};
use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};

use super::access::{self, Access, Variables};
use super::http::HttpLlm;
use super::model::{Figures, Role};
use super::parameters::Parameters;
use super::protocol;
use super::protocol::{Answered, Ask, Fault, Protocol, Reading, Signal};
use super::provider::{ListedModel, Llm, Vendor};
use crate::platform::config::Env;
use crate::platform::outgoing::event_stream::Event;
use crate::providers::ProviderError;
use crate::providers::vendor::{Outside, VendorSettings};

const NAME: &str = "gemini";
const VERSION: &str = "v1beta";

pub(super) static VENDOR: Vendor =
    Vendor { name: NAME, default_model: Gemini::DEFAULT_MODEL, read: |env| Arc::new(Settings(access::Settings::read(env, &VARIABLES))) };

const VARIABLES: Variables = Variables {
    vendor: NAME,
    key: ("GOOGLE_API_KEY", "gemini: API key; setting it turns the provider on"),
    base_url: ("GEMINI_BASE_URL", "gemini: base URL, for gateways and tests"),
    home: "https://generativelanguage.googleapis.com/",
};

#[derive(Debug)]
struct Settings(access::Settings);

impl VendorSettings<dyn Llm> for Settings {
    fn check(&self, _: &mut Env) {}

    fn connect(&self, outside: &Outside) -> Result<Arc<dyn Llm>, ProviderError> {
        Ok(Arc::new(HttpLlm::new(Gemini(self.0.access()?), outside)))
    }
}

struct Gemini(Access);

impl Gemini {
    fn headers(&self) -> HeaderMap {
        self.0.key_header(HeaderName::from_static("x-goog-api-key"), "")
    }

    /// The path below the base URL, which may name the version itself.
    fn path<'s>(&self, rest: &[&'s str]) -> Vec<&'s str> {
        let named = self.0.base_segments().next_back().is_some_and(|last| matches!(last, "v1" | "v1beta" | "v1alpha"));
        (!named).then_some(VERSION).into_iter().chain(rest.iter().copied()).collect()
    }
}

impl Protocol for Gemini {
    const NAME: &'static str = NAME;
    const DEFAULT_MODEL: &'static str = "gemini-3.5-flash-lite";

    fn refused(&self, _: &str) -> Parameters {
        Parameters::default()
    }

    fn request(&self, client: &Client, ask: &Ask<'_>) -> RequestBuilder {
        let contents = ask.prompt.conversation().map(|message| {
            let role = if message.role == Role::Assistant { "model" } else { "user" };
            json!({"role": role, "parts": [{"text": message.content}]})
        });
        let mut body = json!({
            "contents": contents.collect::<Vec<_>>(),
            "generationConfig": {"maxOutputTokens": ask.prompt.max_tokens},
        });
        if let Some(system) = ask.prompt.system() {
            body["systemInstruction"] = json!({"parts": [{"text": system}]});
        }
        if let Some(temperature) = ask.temperature() {
            body["generationConfig"]["temperature"] = json!(temperature);
        }
        let model = ask.model.strip_prefix("models/").unwrap_or(ask.model);
        let method = if ask.stream { "streamGenerateContent" } else { "generateContent" };
        let mut url = self.0.url(&self.path(&["models", &format!("{model}:{method}")]));
        if ask.stream {
            url.set_query(Some("alt=sse"));
        }
        client.post(url).headers(self.headers()).json(&body)
    }

    fn read_answer(&self, body: &Value) -> Option<Answered> {
        let figures = figures(&body["usageMetadata"]).unwrap_or_default();
        if let Some(candidate) = body["candidates"].get(0) {
            let finish_reason = candidate["finishReason"].as_str().unwrap_or("stop").to_lowercase();
            return Some(Answered { content: text_of(candidate), figures, finish_reason });
        }
        let blocked = body["promptFeedback"]["blockReason"].is_string();
        blocked.then(|| Answered { content: String::new(), figures, finish_reason: "blocked".to_owned() })
    }

    fn read_event(&self, event: &Event, reading: &mut Reading) -> Result<Signal, Fault> {
        if event.data.is_empty() {
            return Ok(Signal::Idle);
        }
        let chunk: Value = serde_json::from_str(&event.data).map_err(|_| Fault::MALFORMED)?;
        if let Some(fault) = Fault::within(&chunk) {
            return Err(fault);
        }
        if let Some(figures) = figures(&chunk["usageMetadata"]) {
            reading.figures = figures;
        }
        let candidate = &chunk["candidates"][0];
        reading.ended |= candidate["finishReason"].is_string() || chunk["promptFeedback"]["blockReason"].is_string();
        Ok(Signal::text(text_of(candidate)))
    }

    fn list_request(&self, client: &Client) -> RequestBuilder {
        let mut url = self.0.url(&self.path(&["models"]));
        url.set_query(Some("pageSize=1000"));
        client.get(url).headers(self.headers())
    }

    fn read_list(&self, body: &Value) -> Option<Vec<ListedModel>> {
        protocol::listed(&body["models"], "name")
    }
}

/// The text of a candidate, without the model's thoughts.
fn text_of(candidate: &Value) -> String {
    let parts = candidate["content"]["parts"].as_array().into_iter().flatten();
    parts.filter(|part| part["thought"] != true).filter_map(|part| part["text"].as_str()).collect()
}

fn figures(usage: &Value) -> Option<Figures> {
    let count = |name: &str| usage[name].as_u64();
    let completion = match (count("candidatesTokenCount"), count("thoughtsTokenCount")) {
        (None, None) => None,
        (answer, thoughts) => Some(answer.unwrap_or(0).saturating_add(thoughts.unwrap_or(0))),
    };
    usage.is_object().then(|| Figures { prompt: count("promptTokenCount"), completion, total: count("totalTokenCount") })
}

#[cfg(test)]
mod tests {
    use super::access::tests::access;
    use super::*;
    use crate::providers::ai::model::{Message, Prompt};

    #[test]
    fn request_url_names_model_and_never_the_key() {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        #[expect(clippy::disallowed_methods, reason = "builds requests and sends none")]
        let client = Client::new();
        let prompt = Prompt { messages: vec![Message { role: Role::User, content: "x".to_owned() }], temperature: None, max_tokens: 1 };
        let url = |base: &str, model: &str, stream: bool| {
            let ask = Ask { model, prompt: &prompt, without: Parameters::default(), stream };
            Gemini(access(base)).request(&client, &ask).build().unwrap().url().to_string()
        };
        let home = "https://g.example";
        assert_eq!(url(home, "gemini-x", false), "https://g.example/v1beta/models/gemini-x:generateContent");
        assert_eq!(url(home, "models/gemini-x", true), "https://g.example/v1beta/models/gemini-x:streamGenerateContent?alt=sse");
        assert_eq!(url("https://g.example/v1", "../x", false), "https://g.example/v1/models/..%2Fx:generateContent");
    }
}
