//! What all handlers share.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use super::settings::Settings;
use super::world::World;
use crate::platform::outgoing::Service;

pub struct Shared {
    /// Address of the look-alike.
    pub base: String,
    pub settings: Settings,
    /// Sends the webhooks.
    pub service: Service,
    pub stop: CancellationToken,
    world: Mutex<World>,
}

impl Shared {
    pub fn new(base: String, settings: Settings, service: Service, stop: CancellationToken) -> Self {
        let world = Mutex::new(World::new(settings.clone()));
        Self { base, settings, service, stop, world }
    }

    /// Locks the objects. Never held across an await.
    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
