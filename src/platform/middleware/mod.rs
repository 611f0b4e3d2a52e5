//! Middleware that does not depend on users. `boot::pipeline` sets the order.

pub mod body;
pub mod client_ip;
pub mod compress;
pub mod cors;
pub mod csrf;
pub mod developer;
pub mod errors;
pub mod headers;
pub mod panics;
pub mod places;
pub mod request_id;
pub mod version_headers;
