//! Builds without the cargo feature `redis`: never configured.

use super::{Config, Health};

/// Always absent.
#[derive(Clone)]
pub struct Redis(std::convert::Infallible);

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

    pub async fn server_version(&self) -> Option<String> {
        match self.0 {}
    }

    pub async fn flush(&self) {
        match self.0 {}
    }

    pub fn connections(&self) -> usize {
        match self.0 {}
    }
}
