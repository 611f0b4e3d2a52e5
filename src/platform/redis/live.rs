//! The shared connection, its up-or-down state, and the channel on which instances tell each other what to invalidate.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock, Weak};
use std::time::Duration;

use anyhow::Context;
use deadpool_redis::redis::aio::MultiplexedConnection;
use deadpool_redis::redis::{self, Client, RedisResult, cmd, pipe};
use deadpool_redis::{Connection, Pool, PoolConfig, Runtime, Timeouts};
use futures_util::StreamExt;
use secrecy::ExposeSecret;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::time::timeout;

use super::{Config, Health, Heard};

/// Time-out of one call; after it the caller works in memory.
const CALL_TIMEOUT: Duration = Duration::from_millis(500);
/// Interval between attempts to reach a Redis that is down.
const RETRY: Duration = Duration::from_secs(1);

/// Pauses between attempts to listen: doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LAST_PAUSE: Duration = Duration::from_secs(5);
/// Messages that may wait to be published, and how many are sent at once.
const WAITING: usize = 16_384;
const BATCH: usize = 256;

/// What the publishing task does next.
enum Publish {
    Message { channel: String, message: String },
    Flush(oneshot::Sender<()>),
}

/// A Lua script, which Redis runs as one step.
pub struct Script(redis::Script);

impl Script {
    pub fn new(code: &str) -> Self {
        Self(redis::Script::new(code))
    }
}

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
    /// Messages that are to be published.
    publisher: OnceLock<mpsc::Sender<Publish>>,
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
            publisher: OnceLock::new(),
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

    /// Runs a script that returns texts. `None` as for [`Redis::call`].
    pub async fn run(&self, script: &Script, keys: &[String], arguments: &[&str]) -> Option<Vec<String>> {
        let mut invocation = script.0.prepare_invoke();
        for key in keys {
            invocation.key(key);
        }
        for argument in arguments {
            invocation.arg(*argument);
        }
        self.call(async |connection| invocation.invoke_async(connection).await).await
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

    /// Publishes a message to every instance that listens on the channel, including this one. Messages arrive in the order of the
    /// calls. Returns at once; the message is lost if Redis is down, or too many wait.
    pub fn publish(&self, channel: &str, message: String) {
        if self.publisher().try_send(Publish::Message { channel: self.key(channel), message }).is_err() {
            tracing::warn!(channel, "too many messages wait for Redis: one is dropped");
        }
    }

    /// As [`Redis::publish`], but waits while too many messages wait.
    pub async fn publish_in_turn(&self, channel: &str, message: String) {
        // Fails only when the process ends.
        let _ = self.publisher().send(Publish::Message { channel: self.key(channel), message }).await;
    }

    /// Waits until every message is sent. Called before the process ends.
    pub async fn flush(&self) {
        let Some(publisher) = self.0.publisher.get() else { return };
        let (sent, waiting) = oneshot::channel();
        if publisher.send(Publish::Flush(sent)).await.is_ok() {
            let _ = waiting.await;
        }
    }

    /// The queue of the task that publishes; the first call starts it.
    fn publisher(&self) -> &mpsc::Sender<Publish> {
        self.0.publisher.get_or_init(|| {
            let (sender, receiver) = mpsc::channel(WAITING);
            tokio::spawn(publish_all(Arc::downgrade(&self.0), receiver));
            sender
        })
    }

    /// Listens on a channel for the life of the process, and connects again when the connection is lost. Messages that are
    /// published meanwhile are missed.
    pub fn listen(&self, channel: &str, heard: impl Fn(Heard) + Send + Sync + 'static) {
        let (client, channel) = (self.0.client.clone(), self.key(channel));
        tokio::spawn(async move {
            let mut pause = FIRST_PAUSE;
            loop {
                let subscribed = async {
                    let mut subscription = timeout(RETRY * 2, client.get_async_pubsub()).await.ok()?.ok()?;
                    timeout(RETRY * 2, subscription.subscribe(&channel)).await.ok()?.ok()?;
                    Some(subscription)
                };
                if let Some(subscription) = subscribed.await {
                    pause = FIRST_PAUSE;
                    heard(Heard::Connected);
                    let mut messages = subscription.into_on_message();
                    while let Some(message) = messages.next().await {
                        if let Ok(text) = message.get_payload() {
                            heard(Heard::Message(text));
                        }
                    }
                }
                heard(Heard::Lost);
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LAST_PAUSE);
            }
        });
    }
}

/// Publishes what waits, many messages in one round trip.
async fn publish_all(redis: Weak<Inner>, mut waiting: mpsc::Receiver<Publish>) {
    let mut batch = Vec::with_capacity(BATCH);
    while waiting.recv_many(&mut batch, BATCH).await > 0 {
        let Some(redis) = redis.upgrade().map(Redis) else { return };
        let (mut messages, mut flushed) = (pipe(), Vec::new());
        for next in batch.drain(..) {
            match next {
                Publish::Message { channel, message } => {
                    messages.publish(channel, message).ignore();
                }
                Publish::Flush(sent) => flushed.push(sent),
            }
        }
        if !messages.is_empty() {
            redis.call(async |connection| messages.query_async::<()>(connection).await).await;
        }
        for sent in flushed {
            // The one who waited may have given up.
            let _ = sent.send(());
        }
    }
}
