//! Pooled connections: how long one may be used, when it is closed, and how the pool recovers from dead ones.
//!
//! A connection is only given back after its last statement ended well. One that failed, timed out or was dropped in the
//! middle of a statement is closed without waiting for the server, so dead connections never hold a place in the pool.
//! (sqlx' own pool pings each connection when it is given back, without a time limit.)

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use deadpool::managed::{self, Metrics, Object, PoolError, QueueMode, RecycleError, RecycleResult};
use sqlx::{ConnectOptions, Connection, Database};
use tokio::time::timeout;

use super::failure::{Damage, damage, is_starting};

/// Maximum time that a request waits for a connection; then it fails with 503.
pub(super) const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// A connection that was idle for longer may have been cut off meanwhile, so it is pinged before use.
const PING_AFTER: Duration = Duration::from_secs(1);
/// Time limit of a ping, and of a rollback.
pub(super) const PING: Duration = Duration::from_secs(1);
/// Unused connections are closed after this time, but for a few.
const IDLE: Duration = Duration::from_secs(600);
/// How often idle and old connections are looked for.
const MAINTENANCE: Duration = Duration::from_secs(30);
/// Time limit for connections in use when the pool is closed.
const CLOSE: Duration = Duration::from_secs(5);
/// Pauses between attempts to connect to a server that is starting or full.
const RETRY: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(500));
/// Minimum time between two decisions to replace all connections because the server refuses writes, in milliseconds.
const DISTRUST_MS: u64 = 1000;

/// How long connections are kept.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    /// Closed after each use.
    Never,
    /// Closed at this age, or when unused for a while except for this number.
    Until { age: Duration, idle: usize },
    /// Never closed: the connection is the database, which lives in memory.
    Forever,
}

/// A pool of connections. Cheap to clone.
pub struct Pool<DB: Database>(managed::Pool<Manager<DB>>);

impl<DB: Database> Clone for Pool<DB> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

type Options<DB> = <<DB as Database>::Connection as Connection>::Options;

struct Manager<DB: Database> {
    options: Options<DB>,
    kept: Kept,
    /// Connections of an older generation are not used again.
    generation: AtomicU64,
    started: Instant,
    /// Milliseconds from `started` to the last time that all connections were distrusted; 0 for never.
    distrusted: AtomicU64,
}

struct Pooled<C> {
    raw: C,
    generation: u64,
}

impl<DB: Database> managed::Manager for Manager<DB> {
    type Type = Pooled<DB::Connection>;
    type Error = sqlx::Error;

    /// Connects. Waits for a server that is starting or full; the caller limits the time.
    async fn create(&self) -> sqlx::Result<Self::Type> {
        let mut pause = RETRY.0;
        loop {
            let generation = self.generation.load(Ordering::Acquire);
            // Boxed, because it is rare: otherwise every query's future would include its size.
            match Box::pin(self.options.connect()).await {
                Ok(raw) => return Ok(Pooled { raw, generation }),
                Err(error) if is_starting(&error) => tokio::time::sleep(pause).await,
                Err(error) => return Err(error),
            }
            pause = (pause * 2).min(RETRY.1);
        }
    }

    async fn recycle(&self, pooled: &mut Self::Type, metrics: &Metrics) -> RecycleResult<sqlx::Error> {
        let Kept::Until { age, .. } = self.kept else { return Ok(()) };
        if pooled.generation != self.generation.load(Ordering::Acquire) || metrics.age() > age {
            return Err(RecycleError::message("replaced"));
        }
        if metrics.last_used() > PING_AFTER && !matches!(Box::pin(timeout(PING, pooled.raw.ping())).await, Ok(Ok(()))) {
            // What cut off this connection has cut off the others that are as old.
            self.replace_all(pooled.generation);
            return Err(RecycleError::message("no answer to a ping"));
        }
        Ok(())
    }
}

impl<DB: Database> Manager<DB> {
    /// Stops the use of all connections that are as old as this generation or older.
    fn replace_all(&self, generation: u64) {
        let _ = self.generation.compare_exchange(generation, generation + 1, Ordering::AcqRel, Ordering::Relaxed);
    }

    /// As [`Manager::replace_all`], but at most once in a while: while a server refuses every write, its readers must not all
    /// reconnect for each of them.
    fn distrust(&self, generation: u64) {
        let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let last = self.distrusted.load(Ordering::Relaxed);
        let due = now.saturating_sub(last) >= DISTRUST_MS || last == 0;
        if due && self.distrusted.compare_exchange(last, now.max(1), Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            self.replace_all(generation);
        }
    }
}

impl<DB: Database> Pool<DB> {
    /// Opens no connection yet.
    #[expect(clippy::expect_used, reason = "only a pool with time limits of its own can fail to be built")]
    pub(super) fn new(options: Options<DB>, size: u32, kept: Kept) -> Self {
        let manager = Manager { options, kept, generation: AtomicU64::new(0), started: Instant::now(), distrusted: AtomicU64::new(0) };
        // Last in, first out: the connections that a quiet service does not need grow idle and are closed.
        let pool = managed::Pool::builder(manager).max_size(size as usize).queue_mode(QueueMode::Lifo).build().expect("no time limits");
        if let Kept::Until { age, idle } = kept {
            tokio::spawn(maintain(pool.weak(), age, idle));
        }
        Self(pool)
    }

    /// The options that connections are opened with.
    #[cfg(feature = "postgres")]
    pub(super) fn options(&self) -> &Options<DB> {
        &self.0.manager().options
    }

    #[cfg(feature = "postgres")]
    pub(super) fn kept(&self) -> Kept {
        self.0.manager().kept
    }

    /// Waits for a free connection, or opens one.
    pub async fn acquire(&self) -> sqlx::Result<Held<DB>> {
        match timeout(ACQUIRE_TIMEOUT, self.0.get()).await {
            Ok(Ok(object)) => Ok(Held { object: Some(object), intact: true }),
            Ok(Err(PoolError::Backend(error))) => Err(error),
            Ok(Err(PoolError::Closed)) => Err(sqlx::Error::PoolClosed),
            Ok(Err(_)) | Err(_) => Err(sqlx::Error::PoolTimedOut),
        }
    }

    /// Opens new connections instead of using those that are open, but not too often.
    pub(super) fn distrust(&self) {
        let manager = self.0.manager();
        manager.distrust(manager.generation.load(Ordering::Acquire));
    }

    /// The numbers of idle and of active connections.
    pub(super) fn connections(&self) -> (u32, u32) {
        let status = self.0.status();
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        (count(status.available), count(status.size - status.available))
    }

    /// Waits for running statements for a limited time and closes every connection.
    pub(super) async fn close(&self) {
        let deadline = tokio::time::Instant::now() + CLOSE;
        loop {
            for pooled in self.0.retain(|_, _| false).removed {
                let _ = timeout(PING, pooled.raw.close()).await;
            }
            if self.0.status().size == 0 || tokio::time::Instant::now() > deadline {
                return self.0.close();
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Closes old connections and those that nobody uses, until the pool is gone.
async fn maintain<DB: Database>(pool: managed::WeakPool<Manager<DB>>, age: Duration, idle: usize) {
    loop {
        tokio::time::sleep(MAINTENANCE.min(age)).await;
        let Some(pool) = pool.upgrade().filter(|pool| !pool.is_closed()) else { return };
        let mut kept = 0;
        let removed = pool.retain(|_, metrics| {
            let keep = metrics.age() < age && (kept < idle || metrics.last_used() < IDLE);
            kept += usize::from(keep);
            keep
        });
        for pooled in removed.removed {
            let _ = timeout(PING, pooled.raw.close()).await;
        }
    }
}

/// A connection in use. Given back when it is dropped, unless it failed or a statement was cut short: then it is closed.
pub struct Held<DB: Database> {
    object: Option<Object<Manager<DB>>>,
    /// No statement is running, and the last one left the connection usable.
    intact: bool,
}

impl<DB: Database> Held<DB> {
    /// Marks the start of a statement. If its future is dropped, the connection is closed.
    pub(super) fn enter(&mut self) -> &mut DB::Connection {
        self.intact = false;
        self
    }

    /// Marks the end of a statement and judges the connection by its error.
    pub(super) fn leave(&mut self, error: Option<&sqlx::Error>) {
        let damage = error.map_or(Damage::None, damage);
        self.intact = damage == Damage::None;
        let Some(object) = &self.object else { return };
        let Some(pool) = Object::pool(object) else { return };
        match damage {
            Damage::None | Damage::Connection => {}
            Damage::AllConnections => pool.manager().replace_all(object.generation),
            Damage::ReadOnly => pool.manager().distrust(object.generation),
        }
    }

    /// Whether [`Held::leave`] found nothing wrong, or the connection is kept in any case.
    pub(super) fn is_usable(&self) -> bool {
        self.intact || self.kept() == Some(Kept::Forever)
    }

    /// Has the connection closed when it is dropped.
    pub(super) fn give_up(&mut self) {
        self.intact = false;
    }

    fn kept(&self) -> Option<Kept> {
        self.object.as_ref().and_then(Object::pool).map(|pool| pool.manager().kept)
    }
}

const HELD: &str = "a connection is held until it is dropped";

#[expect(clippy::expect_used, reason = "only `drop` takes the connection")]
impl<DB: Database> Deref for Held<DB> {
    type Target = DB::Connection;

    fn deref(&self) -> &DB::Connection {
        &self.object.as_ref().expect(HELD).raw
    }
}

#[expect(clippy::expect_used, reason = "only `drop` takes the connection")]
impl<DB: Database> DerefMut for Held<DB> {
    fn deref_mut(&mut self) -> &mut DB::Connection {
        &mut self.object.as_mut().expect(HELD).raw
    }
}

impl<DB: Database> Drop for Held<DB> {
    fn drop(&mut self) {
        let keep = match self.kept() {
            Some(Kept::Forever) => true,
            Some(Kept::Until { .. }) => self.intact,
            Some(Kept::Never) | None => false,
        };
        if let Some(object) = self.object.take()
            && !keep
        {
            // Closes the socket or the file without a word to the server: nothing here may wait.
            drop(Object::take(object));
        }
    }
}
