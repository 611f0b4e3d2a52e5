//! The shared connection, its up-or-down state, and the channel on which instances tell each other what to invalidate.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use anyhow::Context;
use deadpool_redis::redis::aio::MultiplexedConnection;
use deadpool_redis::redis::{AsyncCommands, Client, RedisResult, cmd};
use deadpool_redis::{Connection, Pool, PoolConfig, Runtime, Timeouts};
use futures_util::StreamExt;
use secrecy::ExposeSecret;
use tokio::sync::Mutex;
use tokio_util::task::TaskTracker;

use super::{Config, Health};

/// Time-out of one call; after it the caller works in memory.
const CALL_TIMEOUT: Duration = Duration::from_millis(500);
/// Interval between attempts to reach a Redis that is down.
const RETRY: Duration = Duration::from_secs(1);

/// A configured Redis, up or down. Cheap to clone (`Arc`).
#[derive(Clone)]
pub struct Redis(Arc<Inner>);

struct Inner {
    /// Only opens connections; holds none.
    pool: Pool,
    client: Client,
    prefix: String,
    up: AtomicBool,
    /// One multiplexed connection for all requests: concurrent commands leave in one write, and no call waits for a check-out
    /// or a ping.
    shared: RwLock<Option<MultiplexedConnection>>,
    connecting: Mutex<()>,
    /// Messages that are being published.
    sending: TaskTracker,
}

impl Redis {
    /// Prepares the client; nothing is connected yet. `None` where no URL is configured.
    pub fn connect(config: &Config) -> anyhow::Result<Option<Self>> {
        let Some(url) = &config.url else { return Ok(None) };
        let url = url.expose_secret();
        let mut pool_config = PoolConfig::new(1);
        pool_config.timeouts = Timeouts { wait: Some(CALL_TIMEOUT), create: Some(CALL_TIMEOUT), recycle: Some(CALL_TIMEOUT) };
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
            shared: RwLock::new(None),
            connecting: Mutex::new(()),
            sending: TaskTracker::new(),
        }))))
    }

    /// A key or channel name under the configured prefix.
    pub fn key(&self, name: &str) -> String {
        format!("{}{name}", self.0.prefix)
    }

    /// The number of open connections for commands.
    pub fn connections(&self) -> usize {
        self.shared().is_some().into()
    }

    /// Runs `call` on the shared connection. `None` if Redis is down, slow or answers with an error: the caller then works
    /// without it.
    pub async fn call<T>(&self, call: impl AsyncFnOnce(&mut MultiplexedConnection) -> RedisResult<T>) -> Option<T> {
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

    async fn attempt<T>(&self, call: impl AsyncFnOnce(&mut MultiplexedConnection) -> RedisResult<T>) -> anyhow::Result<T> {
        let mut connection = match self.shared() {
            Some(connection) => connection,
            None => self.open().await?,
        };
        match call(&mut connection).await {
            Ok(value) => Ok(value),
            Err(error) => {
                // The connection may be broken: the next call opens a new one.
                *self.0.shared.write().unwrap_or_else(PoisonError::into_inner) = None;
                Err(error.into())
            }
        }
    }

    fn shared(&self) -> Option<MultiplexedConnection> {
        self.0.shared.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Opens the shared connection; concurrent callers open it only once.
    async fn open(&self) -> anyhow::Result<MultiplexedConnection> {
        let _turn = self.0.connecting.lock().await;
        if let Some(connection) = self.shared() {
            return Ok(connection);
        }
        let mut connection = Connection::take(self.0.pool.get().await.context("no Redis connection")?);
        connection.set_response_timeout(CALL_TIMEOUT);
        *self.0.shared.write().unwrap_or_else(PoisonError::into_inner) = Some(connection.clone());
        Ok(connection)
    }

    async fn ping(&self) -> anyhow::Result<()> {
        self.attempt(async |connection| cmd("PING").query_async::<()>(connection).await).await
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

    /// Asks Redis itself, whatever its last known state.
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

    /// Returns the version number of the server. `None` if Redis is down or keeps it to itself.
    pub async fn server_version(&self) -> Option<String> {
        let info = self.attempt(async |connection| match cmd("INFO").arg("server").query_async::<String>(connection).await {
            // Refused by an access rule: the connection is sound.
            Err(error) if error.code().is_some() => Ok(String::new()),
            other => other,
        });
        let info = info.await.ok()?;
        info.lines().find_map(|line| line.strip_prefix("redis_version:")).map(|version| version.trim().to_owned())
    }

    /// Publishes a message to every instance that listens on the channel, including this one. Does not block the caller.
    pub fn publish(&self, channel: &str, message: String) {
        let (redis, channel) = (self.clone(), self.key(channel));
        self.0.sending.spawn(async move {
            redis.call(async |connection| connection.publish::<_, _, ()>(channel, message).await).await;
        });
    }

    /// Waits until every message is sent. Called before the process ends.
    pub async fn flush(&self) {
        self.0.sending.close();
        self.0.sending.wait().await;
    }

    /// Listens on a channel for the life of the process. `connected` runs at each (re)connection, because earlier messages
    /// may have been missed.
    pub fn listen(&self, channel: &str, connected: impl Fn() + Send + Sync + 'static, received: impl Fn(String) + Send + Sync + 'static) {
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
                            received(text);
                        }
                    }
                }
                tokio::time::sleep(RETRY).await;
            }
        });
    }
}
