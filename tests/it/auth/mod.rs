//! Who gets in, by which token, and as what.

mod hostile;
mod jwks;
mod own;
mod roles;
