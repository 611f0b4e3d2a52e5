//! Builds without the cargo feature `redis`: never configured.

use super::{Config, Health, Heard};

/// Always absent.
#[derive(Clone)]
pub struct Redis(std::convert::Infallible);

/// Never run.
pub struct Script;

impl Script {
    pub fn new(_: &str) -> Self {
        Self
    }
}

impl Redis {
    pub fn connect(_: &Config) -> anyhow::Result<Option<Self>> {
        Ok(None)
    }

    pub async fn health(redis: Option<&Self>) -> Health {
        match redis {
            None => Health::NotConfigured,
            Some(redis) => match redis.0 {},
        }
    }

    pub async fn flush(&self) {
        match self.0 {}
    }

    pub async fn run(&self, _: &Script, _: &[String], _: &[&str]) -> Option<Vec<String>> {
        match self.0 {}
    }

    pub fn key(&self, _: &str) -> String {
        match self.0 {}
    }

    pub fn publish(&self, _: &str, _: String) {
        match self.0 {}
    }

    pub async fn publish_in_turn(&self, _: &str, _: String) {
        match self.0 {}
    }

    pub fn listen(&self, _: &str, _: impl Fn(Heard) + Send + Sync + 'static) {
        match self.0 {}
    }

    pub fn connections(&self) -> usize {
        match self.0 {}
    }
}
