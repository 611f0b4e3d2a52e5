//! Whether the process takes requests.

use std::sync::atomic::{AtomicBool, Ordering};

/// Ready between the end of the start and the signal to stop.
#[derive(Debug, Default)]
pub struct Phase(AtomicBool);

impl Phase {
    pub fn set_ready(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    pub fn set_stopping(&self) {
        self.0.store(false, Ordering::SeqCst);
    }

    pub fn is_ready(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}
