//! Rules of purchases in the App Store: whose they are, what notices change, and how they are linked.

mod apply;
mod ask;
mod link;

pub use apply::apply_notice;
pub use ask::ask;
pub use link::link;
