//! The client of a request: its address and its user agent.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::header::USER_AGENT;
use http::request::Parts;

use crate::features::accounts::model::Device;
use crate::platform::error::Error;
use crate::platform::http::RequestContext;
use crate::platform::text::cut;

/// Maximum stored length of a user agent, in characters.
const USER_AGENT_LENGTH: usize = 255;

impl<S: Send + Sync> FromRequestParts<S> for Device {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        let address = parts.extensions.get::<Arc<RequestContext>>().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |context| context.client_ip);
        let user_agent = parts.headers.get(USER_AGENT).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        let user_agent = user_agent.map(|text| cut(&text.replace(char::is_control, " "), USER_AGENT_LENGTH).to_owned());
        Ok(Self { address, user_agent })
    }
}
