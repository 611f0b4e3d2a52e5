//! Refresh tokens and the tokens of links in mails. Tokens are not stored: a refresh token is verified by its HMAC, a mailed
//! token by its SHA-256 hash.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;

use super::model::SessionId;
use crate::app::jobs::JobId;
use crate::platform::crypto::{self, Keys};

const REFRESH: &str = "refresh-token";
const MAILED: &str = "mailed-token";
/// Sizes of the parts in bytes: session id, generation, signature.
const ID: usize = 16;
const GENERATION: usize = 4;
const SIGNATURE: usize = 32;

/// A parsed refresh token: session id ‖ generation ‖ HMAC, base64url without padding. Not verified yet.
pub struct Presented {
    pub session: SessionId,
    pub generation: u32,
    signature: [u8; SIGNATURE],
}

/// Returns the refresh token of one generation of a session. The random seed ensures that a session recreated with the same id
/// has different tokens.
pub fn refresh(keys: &Keys, seed: &[u8], session: SessionId, generation: u32) -> String {
    let mut bytes = Vec::with_capacity(ID + GENERATION + SIGNATURE);
    bytes.extend_from_slice(session.as_bytes());
    bytes.extend_from_slice(&generation.to_be_bytes());
    bytes.extend_from_slice(&crypto::mac(&keys.derive(REFRESH), &[seed, session.as_bytes(), &generation.to_be_bytes()]));
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Presented {
    pub fn read(token: &str) -> Option<Self> {
        // All tokens have the same length. Checked first so that long input is not decoded.
        if token.len() != (ID + GENERATION + SIGNATURE) * 4 / 3 + 1 {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (id, rest) = bytes.split_first_chunk::<ID>()?;
        let (generation, signature) = rest.split_first_chunk::<GENERATION>()?;
        Some(Self {
            session: SessionId::from_bytes(*id),
            generation: u32::from_be_bytes(*generation),
            signature: signature.try_into().ok()?,
        })
    }

    /// Verifies the signature in constant time. A token of an earlier `SECRET_KEY` is valid; its successor is signed with the
    /// current one.
    pub fn is_signed(&self, keys: &Keys, seed: &[u8]) -> bool {
        keys.ring(REFRESH).verify(&[seed, self.session.as_bytes(), &self.generation.to_be_bytes()], &self.signature)
    }
}

/// Purpose of a mailed single-use token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Purpose {
    VerifyEmail,
    ResetPassword,
}

impl Purpose {
    fn name(self) -> &'static str {
        match self {
            Self::VerifyEmail => "verify_email",
            Self::ResetPassword => "reset_password",
        }
    }

    pub fn life(self) -> TimeDelta {
        match self {
            Self::VerifyEmail => TimeDelta::hours(24),
            Self::ResetPassword => TimeDelta::hours(1),
        }
    }
}

/// Returns the token that the job mails. Derived from the job id, so every attempt sends the same token, except after a change
/// of `SECRET_KEY`: then the later mail's link replaces the earlier one's. Verified by its hash, without a key.
pub fn mailed(keys: &Keys, purpose: Purpose, job: JobId) -> String {
    URL_SAFE_NO_PAD.encode(crypto::mac(&keys.derive(MAILED), &[purpose.name().as_bytes(), job.to_string().as_bytes()]))
}

/// Returns the stored form of a mailed token: SHA-256 in hex.
pub fn at_rest(token: &str) -> String {
    crypto::hex(&crypto::sha256(token.as_bytes()))
}

/// Returns a random password of 100 bits, without characters that are easily confused.
pub fn random_password() -> anyhow::Result<String> {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let bytes = crypto::random::<20>()?;
    Ok(bytes.iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect())
}

/// Returns the random seed of a new session (32 bytes).
pub fn seed() -> anyhow::Result<Vec<u8>> {
    Ok(crypto::random::<32>()?.to_vec())
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::*;

    #[test]
    fn refresh_token_with_any_changed_bit_is_refused() {
        let (keys, id) = (Keys::new(&SecretString::from("a")), SessionId::new());
        let token = refresh(&keys, b"seed", id, 7);
        let read = Presented::read(&token).unwrap();
        assert_eq!((read.session, read.generation), (id, 7));
        assert!(read.is_signed(&keys, b"seed"));
        assert!(!read.is_signed(&keys, b"other") && !read.is_signed(&Keys::new(&SecretString::from("b")), b"seed"));
        let rotated = Keys::with_previous(&SecretString::from("b"), &[SecretString::from("a")]);
        assert!(read.is_signed(&rotated, b"seed") && !read.is_signed(&rotated, b"other"));
        assert_eq!(refresh(&rotated, b"seed", id, 8), refresh(&Keys::new(&SecretString::from("b")), b"seed", id, 8));
        let bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let altered = Presented::read(&URL_SAFE_NO_PAD.encode(bytes)).unwrap();
            assert!(!altered.is_signed(&keys, b"seed"), "bit {bit}");
        }
        for junk in ["", "x", &token[1..], &format!("{token}A"), &token.replace(&token[..1], "="), &"A".repeat(1 << 20)] {
            assert!(Presented::read(junk).is_none(), "{}", junk.len());
        }
    }

    #[test]
    fn mailed_tokens_differ_by_purpose_job_and_key() {
        let (keys, other, job) = (Keys::new(&SecretString::from("a")), Keys::new(&SecretString::from("b")), JobId::new());
        let token = mailed(&keys, Purpose::VerifyEmail, job);
        assert_eq!(token, mailed(&keys, Purpose::VerifyEmail, job));
        for another in [
            mailed(&keys, Purpose::ResetPassword, job),
            mailed(&keys, Purpose::VerifyEmail, JobId::new()),
            mailed(&other, Purpose::VerifyEmail, job),
        ] {
            assert_ne!(token, another);
        }
        assert_eq!((token.len(), at_rest(&token).len()), (43, 64));
    }
}
