//! The pool, its up-or-down state, and the channel on which instances tell each other what to forget.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use deadpool_redis::redis::{AsyncCommands, Client, RedisResult};
use deadpool_redis::{Connection, Pool, PoolConfig, Runtime, Timeouts};
use futures_util::StreamExt;
use secrecy::ExposeSecret;
use tokio_util::task::TaskTracker;

use super::{Config, Health};

/// Redis answers within this, or the work is done in memory.
const CALL: Duration = Duration::from_millis(500);
/// How often a lost Redis is tried again.
const RETRY: Duration = Duration::from_secs(1);
const POOL_SIZE: usize = 16;

/// A configured Redis, up or down; cheap to clone.
#[derive(Clone)]
pub struct Redis(Arc<Inner>);

struct Inner {
    pool: Pool,
    client: Client,
    prefix: String,
    up: AtomicBool,
    /// Messages on their way.
    sending: TaskTracker,
}

impl Redis {
    /// Prepares the pool; nothing is connected yet. `None` where no URL is configured.
    pub fn connect(config: &Config) -> anyhow::Result<Option<Self>> {
        let Some(url) = &config.url else { return Ok(None) };
        let url = url.expose_secret();
        let mut pool_config = PoolConfig::new(POOL_SIZE);
        pool_config.timeouts = Timeouts { wait: Some(CALL), create: Some(CALL), recycle: Some(CALL) };
        let pool = deadpool_redis::Config::from_url(url)
            .builder()
            .context("REDIS_URL")?
            .config(pool_config)
            .runtime(Runtime::Tokio1)
            .build()
            .context("building the Redis pool")?;
        let client = Client::open(url).context("REDIS_URL")?;
        Ok(Some(Self(Arc::new(Inner {
            pool,
            client,
            prefix: config.prefix.clone(),
            up: AtomicBool::new(true),
            sending: TaskTracker::new(),
        }))))
    }

    /// A key or channel name under the configured prefix.
    pub fn key(&self, name: &str) -> String {
        format!("{}{name}", self.0.prefix)
    }

    pub fn connections(&self) -> usize {
        self.0.pool.status().size
    }

    /// Runs `call` on a connection. `None` where Redis is down, slow or refuses: do without.
    pub async fn call<T>(&self, call: impl AsyncFnOnce(&mut Connection) -> RedisResult<T>) -> Option<T> {
        if !self.0.up.load(Ordering::Relaxed) {
            return None;
        }
        match self.attempt(call).await {
            Ok(value) => Some(value),
            Err(error) => {
                self.went_down(&error);
                None
            }
        }
    }

    async fn attempt<T>(&self, call: impl AsyncFnOnce(&mut Connection) -> RedisResult<T>) -> anyhow::Result<T> {
        let mut connection = self.0.pool.get().await.context("no Redis connection")?;
        let answer = tokio::time::timeout(CALL, call(&mut connection)).await;
        if !matches!(answer, Ok(Ok(_))) {
            // It may still hold half an answer: never back into the pool.
            drop(Connection::take(connection));
        }
        Ok(answer.context("Redis took too long")??)
    }

    async fn ping(&self) -> anyhow::Result<()> {
        self.attempt(async |connection| deadpool_redis::redis::cmd("PING").query_async::<()>(connection).await).await
    }

    fn went_down(&self, error: &anyhow::Error) {
        if !self.0.up.swap(false, Ordering::SeqCst) {
            return;
        }
        tracing::warn!(cause = %error.root_cause(), "Redis is unreachable; working in memory until it is back");
        let redis = self.clone();
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(RETRY).await;
                if redis.ping().await.is_ok() {
                    redis.0.up.store(true, Ordering::SeqCst);
                    tracing::info!("Redis is back");
                    return;
                }
            }
        });
    }

    /// Asks Redis itself, whatever was last known of it.
    pub async fn health(redis: Option<&Self>) -> Health {
        match redis {
            None => Health::NotConfigured,
            Some(redis) => match redis.ping().await {
                Ok(()) => Health::Healthy,
                Err(error) => {
                    redis.went_down(&error);
                    Health::Unhealthy
                }
            },
        }
    }

    /// Sends a message to every instance that listens on the channel, this one too, while the caller goes on.
    pub fn publish(&self, channel: &str, message: String) {
        let (redis, channel) = (self.clone(), self.key(channel));
        self.0.sending.spawn(async move {
            redis.call(async |connection| connection.publish::<_, _, ()>(channel, message).await).await;
        });
    }

    /// Waits until every message is sent: for a process that is about to end.
    pub async fn flush(&self) {
        self.0.sending.close();
        self.0.sending.wait().await;
    }

    /// Listens on a channel for as long as the process lives. `connected` runs at each (re)connection:
    /// what was sent before may have been missed.
    pub fn listen(&self, channel: &str, connected: impl Fn() + Send + Sync + 'static, heard: impl Fn(String) + Send + Sync + 'static) {
        let (client, channel) = (self.0.client.clone(), self.key(channel));
        tokio::spawn(async move {
            loop {
                let subscribed = async {
                    let mut subscription = tokio::time::timeout(RETRY * 2, client.get_async_pubsub()).await.ok()?.ok()?;
                    subscription.subscribe(&channel).await.ok()?;
                    Some(subscription)
                };
                if let Some(subscription) = subscribed.await {
                    connected();
                    let mut messages = subscription.into_on_message();
                    while let Some(message) = messages.next().await {
                        if let Ok(text) = message.get_payload() {
                            heard(text);
                        }
                    }
                }
                tokio::time::sleep(RETRY).await;
            }
        });
    }
}
