//! The middleware that knows nothing of users: from the outermost layer to the gate. `boot::router` puts
//! them in order and says why in that order.

pub mod catch_panic;
pub mod compress;
pub mod cors;
pub mod errors;
pub mod headers;
pub mod observe;
