//! Refresh tokens and the tokens of links in mails. Both are made again when they are checked: neither is stored.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;

use super::model::SessionId;
use crate::app::jobs::JobId;
use crate::platform::crypto::{self, Keys};

const REFRESH: &str = "refresh-token";
const MAILED: &str = "mailed-token";
/// Bytes of the parts: session, generation, signature.
const ID: usize = 16;
const GENERATION: usize = 4;
const SIGNATURE: usize = 32;

/// A refresh token taken apart: session id ‖ generation ‖ HMAC, base64url without padding. Nothing of it is checked yet.
pub struct Presented {
    pub session: SessionId,
    pub generation: u32,
    signature: [u8; SIGNATURE],
}

/// The token of one generation of a session. The seed is random, so that a session deleted and made again has other tokens.
pub fn refresh(keys: &Keys, seed: &[u8], session: SessionId, generation: u32) -> String {
    let mut bytes = Vec::with_capacity(ID + GENERATION + SIGNATURE);
    bytes.extend_from_slice(session.as_bytes());
    bytes.extend_from_slice(&generation.to_be_bytes());
    bytes.extend_from_slice(&sign(keys, seed, session, generation));
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Presented {
    pub fn read(token: &str) -> Option<Self> {
        // Its one length: longer texts are not even decoded.
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

    /// Whether we made it, in constant time.
    pub fn is_signed(&self, keys: &Keys, seed: &[u8]) -> bool {
        crypto::same(&sign(keys, seed, self.session, self.generation), &self.signature)
    }
}

fn sign(keys: &Keys, seed: &[u8], session: SessionId, generation: u32) -> [u8; SIGNATURE] {
    crypto::mac(&keys.derive(REFRESH), &[seed, session.as_bytes(), &generation.to_be_bytes()])
}

/// What a mailed token allows, once.
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

/// The token that the job mails, the same at each of its attempts.
pub fn mailed(keys: &Keys, purpose: Purpose, job: JobId) -> String {
    URL_SAFE_NO_PAD.encode(crypto::mac(&keys.derive(MAILED), &[purpose.name().as_bytes(), job.to_string().as_bytes()]))
}

/// The form at rest.
pub fn at_rest(token: &str) -> String {
    crypto::hex(&crypto::sha256(token.as_bytes()))
}

/// A password that nobody has chosen: 100 bits, in letters that are not mistaken for one another.
pub fn random_password() -> anyhow::Result<String> {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let bytes = crypto::random::<20>()?;
    Ok(bytes.iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect())
}

/// Fresh randomness for a session.
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
