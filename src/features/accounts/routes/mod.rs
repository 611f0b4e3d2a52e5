//! HTTP of accounts: one file for whoever is not logged in, one for whoever is.

pub mod app;
pub mod public;

use std::net::{IpAddr, Ipv4Addr};

use axum::extract::FromRequestParts;
use http::header::USER_AGENT;
use http::request::Parts;

use super::model::Device;
use crate::platform::error::Error;
use crate::platform::http::route::Options;
use crate::platform::middleware::observe::ClientIp;
use crate::platform::text::cut;

/// Characters of a user agent that are kept.
const USER_AGENT_LENGTH: usize = 255;

/// Only where the accounts are our own.
fn local() -> Options {
    Options { own_accounts: true, ..Options::default() }
}

impl<S: Send + Sync> FromRequestParts<S> for Device {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        let address = parts.extensions.get::<ClientIp>().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |ip| ip.0);
        let user_agent = parts.headers.get(USER_AGENT).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        let user_agent = user_agent.map(|text| cut(&text.replace(char::is_control, " "), USER_AGENT_LENGTH).to_owned());
        Ok(Self { address, user_agent })
    }
}
