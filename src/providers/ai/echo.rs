//! `echo`: a model for development without a key. It repeats the last message of the user, always the same way, so front ends
//! and their tests can be built against it. Refused in production.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{Instant, sleep};

use super::error::AiError;
use super::model::{Completion, Figures, Prompt, Role, estimated_tokens};
use super::provider::{Clocks, ListedModel, Llm, Pieces, Vendor};
use crate::platform::config::Env;
use crate::providers::ProviderError;
use crate::providers::vendor::{Outside, VendorSettings};

const NAME: &str = "echo";
/// Pause between two words of a stream, so that a front end shows a stream and can stop it.
const PAUSE: Duration = Duration::from_millis(30);
const GREETING: &str = "You said:";

pub(super) static VENDOR: Vendor = Vendor { name: NAME, default_model: NAME, read: |_| Arc::new(Settings) };

#[derive(Debug)]
struct Settings;

impl VendorSettings<dyn Llm> for Settings {
    fn check(&self, env: &mut Env) {
        if env.environment().is_production() {
            env.problem("AI_DEFAULT_PROVIDER", "must not be echo in production", "Choose openai, anthropic or gemini, and set its key");
        }
    }

    fn connect(&self, _: &Outside) -> Result<Arc<dyn Llm>, ProviderError> {
        Ok(Arc::new(Echo))
    }
}

struct Echo;

/// The answer as words, each with the white space before it, and why it ends. A word counts as the tokens of its bytes.
fn answer(prompt: &Prompt) -> (VecDeque<String>, &'static str) {
    let said = prompt.messages.iter().rev().find(|message| message.role == Role::User).map_or("", |message| message.content.as_str());
    let mut words = VecDeque::new();
    let mut tokens = 0;
    for word in split_words(&format!("{GREETING} {said}")) {
        tokens += estimated_tokens(word.len());
        if tokens > u64::from(prompt.max_tokens) {
            return (words, "length");
        }
        words.push_back(word.to_owned());
    }
    (words, "stop")
}

/// Splits a text before each run of white space. The parts joined are the text.
fn split_words(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let start = rest.find(|c: char| !c.is_whitespace()).unwrap_or(rest.len());
        let end = rest[start..].find(char::is_whitespace).map_or(rest.len(), |end| start + end);
        let (word, after) = rest.split_at(end);
        rest = after;
        (!word.is_empty()).then_some(word)
    })
}

#[async_trait]
impl Llm for Echo {
    fn name(&self) -> &'static str {
        NAME
    }

    fn default_model(&self) -> &'static str {
        NAME
    }

    fn is_stand_in(&self) -> bool {
        true
    }

    async fn complete(&self, _: &str, prompt: &Prompt, _: Instant) -> Result<Completion, AiError> {
        let started = Instant::now();
        let (words, finish_reason) = answer(prompt);
        let completion = words.iter().map(|word| estimated_tokens(word.len())).sum();
        let figures = Figures { prompt: Some(prompt.estimated_tokens()), completion: Some(completion), total: None };
        Ok(Completion {
            content: words.into_iter().collect(),
            usage: figures.usage(),
            finish_reason: finish_reason.to_owned(),
            latency: started.elapsed(),
        })
    }

    async fn stream(&self, _: &str, prompt: &Prompt, clocks: Clocks) -> Result<Box<dyn Pieces>, AiError> {
        let figures = Figures { prompt: Some(prompt.estimated_tokens()), completion: Some(0), total: None };
        Ok(Box::new(Words { left: answer(prompt).0, figures, end: clocks.end, begun: false }))
    }

    async fn models(&self) -> Result<Option<Vec<ListedModel>>, AiError> {
        Ok(None)
    }
}

struct Words {
    left: VecDeque<String>,
    figures: Figures,
    end: Instant,
    begun: bool,
}

#[async_trait]
impl Pieces for Words {
    async fn next(&mut self) -> Result<Option<String>, AiError> {
        if Instant::now() >= self.end {
            return Err(AiError::timed_out(NAME, "the stream took too long", false));
        }
        if std::mem::replace(&mut self.begun, true) && !self.left.is_empty() {
            sleep(PAUSE).await;
        }
        let word = self.left.pop_front();
        let tokens = word.as_ref().map_or(0, |word| estimated_tokens(word.len()));
        self.figures.completion = self.figures.completion.map(|sum| sum + tokens);
        Ok(word)
    }

    fn ready(&mut self) -> Result<Option<String>, AiError> {
        Ok(None)
    }

    fn figures(&self) -> Figures {
        self.figures
    }
}

#[cfg(test)]
mod tests {
    use super::super::model::Message;
    use super::*;

    fn prompt(text: &str, max_tokens: u32) -> Prompt {
        Prompt { messages: vec![Message { role: Role::User, content: text.to_owned() }], temperature: None, max_tokens }
    }

    #[tokio::test(start_paused = true)]
    async fn echo_streams_what_it_completes() {
        for text in ["Hello  big\nworld 你好 ", "", " x"] {
            let whole = Echo.complete(NAME, &prompt(text, 100), Instant::now()).await.unwrap();
            assert_eq!(whole.content, format!("You said: {text}"));
            let later = Instant::now() + Duration::from_secs(60);
            let clocks = Clocks { first_piece: later, silence: PAUSE, end: later };
            let mut pieces = Echo.stream(NAME, &prompt(text, 100), clocks).await.unwrap();
            let mut joined = String::new();
            while let Some(piece) = pieces.next().await.unwrap() {
                assert!(!piece.is_empty());
                joined.push_str(&piece);
            }
            assert_eq!((joined, pieces.figures().usage()), (whole.content, whole.usage));
        }
    }

    #[tokio::test]
    async fn echo_obeys_the_limit_on_tokens() {
        let whole = Echo.complete(NAME, &prompt("one two three four five six", 4), Instant::now()).await.unwrap();
        assert_eq!((whole.content.as_str(), whole.finish_reason.as_str()), ("You said: one", "length"));
        assert!(whole.usage.completion_tokens <= 4);
    }
}
