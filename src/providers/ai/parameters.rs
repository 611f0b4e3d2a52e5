//! Parameters that some models refuse. Known refusals are rules of the vendors' files; the others are learned: a vendor's 400
//! that names a parameter is tried once without it, and remembered for that model.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

/// Limit on remembered models of one vendor. Their names come from clients.
const MAX_MODELS: usize = 256;

/// A parameter that a request can do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parameter {
    Temperature,
    ReasoningEffort,
    /// Without it, the older `max_tokens` is sent.
    MaxCompletionTokens,
    StreamOptions,
}

impl Parameter {
    /// Every parameter with its names in the vendors' errors.
    const NAMES: [(Self, &'static [&'static str]); 4] = [
        (Self::MaxCompletionTokens, &["max_completion_tokens"]),
        (Self::Temperature, &["temperature"]),
        (Self::ReasoningEffort, &["reasoning_effort", "reasoning.effort"]),
        (Self::StreamOptions, &["stream_options", "include_usage"]),
    ];

    /// The parameter that an error is about, by its `param` member or its text.
    pub fn named_in(words: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(_, names)| names.iter().any(|name| words.contains(name))).map(|(parameter, _)| *parameter)
    }
}

/// A set of parameters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Parameters(u8);

impl Parameters {
    pub fn has(self, parameter: Parameter) -> bool {
        self.0 & (1 << parameter as u8) != 0
    }

    #[must_use]
    pub fn with(self, parameter: Parameter) -> Self {
        Self(self.0 | 1 << parameter as u8)
    }

    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// The learned refusals of one vendor, by model.
#[derive(Debug, Default)]
pub struct Learned(RwLock<HashMap<String, Parameters>>);

impl Learned {
    pub fn of(&self, model: &str) -> Parameters {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(model).copied().unwrap_or_default()
    }

    pub fn remember(&self, model: &str, refused: Parameters) {
        let mut models = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if models.len() >= MAX_MODELS && !models.contains_key(model) {
            // Learning again costs one refused call for each model.
            models.clear();
        }
        models.insert(model.to_owned(), refused);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameter_is_found_in_vendor_errors() {
        let openai = "invalid_request_error unsupported_value temperature unsupported value: 'temperature' does not support 0.7";
        assert_eq!(Parameter::named_in(openai), Some(Parameter::Temperature));
        // Names both; the one that is to be left out counts.
        let compatible = "unrecognized request argument supplied: max_completion_tokens. use max_tokens";
        assert_eq!(Parameter::named_in(compatible), Some(Parameter::MaxCompletionTokens));
        assert_eq!(Parameter::named_in("messages: at least one message is required"), None);
    }

    #[test]
    fn learned_models_are_bounded() {
        let learned = Learned::default();
        for n in 0..MAX_MODELS * 2 {
            learned.remember(&n.to_string(), Parameters::default().with(Parameter::Temperature));
        }
        assert!(learned.0.read().unwrap().len() <= MAX_MODELS);
        let last = learned.of(&(MAX_MODELS * 2 - 1).to_string());
        assert!(last.has(Parameter::Temperature) && !last.has(Parameter::StreamOptions));
    }
}
