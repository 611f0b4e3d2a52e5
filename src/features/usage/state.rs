//! State of the feature: what was recorded and is not stored yet.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;

use super::counters::{Batch, Counters};
use crate::app::feature::Setup;
use crate::platform::usage::{Event, Usage};

/// Events that may wait until they are counted: those of some seconds under full load.
const WAITING: usize = 65_536;

/// Cheap to clone (`Arc`).
#[derive(Clone)]
pub struct State(Arc<Inner>);

struct Inner {
    usage: Usage,
    counting: Mutex<Counting>,
    unstored: tokio::sync::Mutex<VecDeque<Batch>>,
}

struct Counting {
    /// `None` if usage is not counted.
    events: Option<mpsc::Receiver<Event>>,
    counters: Counters,
}

impl State {
    pub fn new(setup: &Setup<'_>, enabled: bool) -> Self {
        let events = if enabled { setup.usage.listen(WAITING) } else { None };
        let counting = Mutex::new(Counting { events, counters: Counters::default() });
        Self(Arc::new(Inner { usage: setup.usage.clone(), counting, unstored: tokio::sync::Mutex::default() }))
    }

    /// Counts the events that wait.
    pub fn count(&self) {
        let Counting { events, counters } = &mut *self.counting();
        let Some(events) = events else { return };
        let mut dropped = 0;
        // Not more than there may be at once, so that it ends under any load.
        for _ in 0..WAITING {
            let Ok(event) = events.try_recv() else { break };
            dropped += u64::from(!counters.add(event));
        }
        if dropped > 0 {
            self.0.usage.dropped(dropped);
        }
    }

    /// Takes a batch of what is counted.
    pub fn take(&self) -> Option<Batch> {
        self.counting().counters.take()
    }

    /// Tells that a batch is lost.
    pub fn dropped(&self, additions: usize) {
        self.0.usage.dropped(additions.try_into().unwrap_or(u64::MAX));
    }

    /// Batches that could not be stored, for the one who stores.
    pub async fn unstored(&self) -> tokio::sync::MutexGuard<'_, VecDeque<Batch>> {
        self.0.unstored.lock().await
    }

    fn counting(&self) -> std::sync::MutexGuard<'_, Counting> {
        self.0.counting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
