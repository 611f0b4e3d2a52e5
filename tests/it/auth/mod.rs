//! Authentication and authorization: tokens, keys and roles.

mod hostile;
mod jwks;
mod own;
mod roles;
