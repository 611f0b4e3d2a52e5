//! The worker. Its parts:
//!
//! - `dispatch` claims rows for free places and hands apalis a ticket for each;
//! - `runner` is apalis: it bounds how many jobs run at once, and opens the trace span;
//! - `execute` holds one claimed row until its outcome is stored, and runs the job in a task of its own;
//! - `finish` stores outcomes, many in one statement, and tries again until they are stored;
//! - `leases` renews the leases of the rows held here, and takes back those of lost workers.

mod control;
mod dispatch;
pub(super) mod execute;
pub(super) mod finish;
mod leases;
mod runner;
pub(super) mod state;

pub use control::Worker;
pub use state::Settings;
