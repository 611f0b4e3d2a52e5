//! Reasons for rejecting a token.

use crate::platform::error::Error;

/// The reason for rejecting a token.
#[derive(Debug)]
pub enum Refusal {
    Missing,
    Expired,
    /// The detail is for the log only.
    Invalid(&'static str),
    /// The issuer's keys cannot be fetched at the moment.
    NoKeys,
    /// No issuer is configured; a retry does not help.
    NotConfigured,
}

impl Refusal {
    /// Value of the label `reason` of `auth_failures_total`.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Missing => "missing_token",
            Self::Expired => "expired_token",
            Self::Invalid(_) | Self::NoKeys | Self::NotConfigured => "invalid_token",
        }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Missing => Self::Unauthenticated("Not authenticated"),
            Refusal::Expired => Self::Unauthenticated("Token has expired"),
            Refusal::Invalid(_) => Self::Unauthenticated("Invalid token"),
            Refusal::NoKeys => Self::Unavailable { message: "The issuer's keys cannot be fetched", retry_after: Some(5) },
            Refusal::NotConfigured => Self::Unavailable { message: "Authentication is not configured", retry_after: None },
        }
    }
}
