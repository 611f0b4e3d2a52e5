//! Payment vendors: the protocol of each, without a feature's rules.

pub mod apple;
pub mod google;
pub mod stripe;
