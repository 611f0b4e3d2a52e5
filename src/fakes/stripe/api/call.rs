//! A request to the API, as the functions that answer it see it.

use crate::fakes::stripe::params::Params;

/// A request whose key was checked.
pub struct Call<'c> {
    /// Address of the look-alike.
    pub base: &'c str,
    pub params: &'c Params,
}
