//! Payment vendors: the protocol of each, without a feature's rules.

pub mod google;
