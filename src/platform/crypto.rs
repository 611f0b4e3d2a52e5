//! Keys derived from `SECRET_KEY`, one per purpose, and the few operations done with them. Keys of earlier secrets
//! (`SECRET_KEY_PREVIOUS`) verify and open what they made; nothing new is made with them.
//!
//! HKDF-SHA-256 (RFC 5869), HMAC-SHA-256 (RFC 2104) and AES-256-GCM (RFC 5116), all from aws-lc. A key that leaks or is
//! misused for one purpose does not affect the other purposes.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::{constant_time, digest, hkdf, hmac};
use secrecy::{ExposeSecret, SecretString};

/// Derives the service's keys from its secrets, which it never exposes.
#[derive(Clone)]
pub struct Keys {
    current: hkdf::Prk,
    previous: Arc<[hkdf::Prk]>,
}

/// 32 bytes of key material for exactly one purpose.
pub type Key = [u8; 32];

impl Keys {
    pub fn new(secret: &SecretString) -> Self {
        Self::with_previous(secret, &[])
    }

    /// `previous` are secrets that were in use before, or that other instances use during a rotation.
    pub fn with_previous(secret: &SecretString, previous: &[SecretString]) -> Self {
        let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, b"omnistack");
        let extract = |secret: &SecretString| salt.extract(secret.expose_secret().as_bytes());
        Self { current: extract(secret), previous: previous.iter().map(extract).collect() }
    }

    /// The current key for `purpose`, a fixed name such as `access-token`.
    pub fn derive(&self, purpose: &str) -> Key {
        derive(&self.current, purpose)
    }

    /// The current key for `purpose` and those of earlier secrets.
    pub fn ring(&self, purpose: &str) -> KeyRing {
        KeyRing { current: self.derive(purpose), previous: self.previous.iter().map(|prk| derive(prk, purpose)).collect() }
    }
}

fn derive(prk: &hkdf::Prk, purpose: &str) -> Key {
    let mut key = [0; 32];
    let info = [purpose.as_bytes()];
    let filled = prk.expand(&info, hkdf::HKDF_SHA256).and_then(|okm| okm.fill(&mut key));
    debug_assert!(filled.is_ok(), "32 bytes are within HKDF-SHA-256's limit");
    key
}

/// The keys of one purpose. The current one makes; all of them verify and open, the current one first.
#[derive(Clone)]
pub struct KeyRing {
    current: Key,
    previous: Arc<[Key]>,
}

impl KeyRing {
    /// The current key, then the earlier ones.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        std::iter::once(&self.current).chain(self.previous.iter())
    }

    /// [`mac`] with the current key.
    pub fn mac(&self, parts: &[&[u8]]) -> [u8; 32] {
        mac(&self.current, parts)
    }

    /// Returns whether `tag` is the first `N` bytes of the parts' MAC by one of the keys. Compares in constant time. An array,
    /// so that the sender cannot choose a shorter tag.
    pub fn verify<const N: usize>(&self, parts: &[&[u8]], tag: &[u8; N]) -> bool {
        self.keys().any(|key| mac(key, parts).get(..N).is_some_and(|expected| same(expected, tag)))
    }

    /// [`seal`] with the current key.
    pub fn seal(&self, context: &[u8], plain: &[u8]) -> anyhow::Result<Vec<u8>> {
        seal(&self.current, context, plain)
    }

    /// Decrypts what was sealed with one of the keys; `None` if none of them fits.
    pub fn open(&self, context: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        self.keys().find_map(|key| open(key, context, sealed).ok())
    }
}

/// HMAC-SHA-256 over the parts, each preceded by its length, so that different lists of parts never hash the same bytes.
pub fn mac(key: &Key, parts: &[&[u8]]) -> [u8; 32] {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let mut out = [0; 32];
    out.copy_from_slice(context.sign().as_ref());
    out
}

/// A name for a personal value, such as an e-mail address, in logs and in keys of tables: the same for the same value, and
/// useless without the service's key. 128 bits in hexadecimal.
pub fn pseudonym(keys: &Keys, value: &str) -> String {
    hex(&mac(&keys.derive("pseudonym"), &[value.as_bytes()])[..16])
}

/// HMAC-SHA-256 of the data without length prefixes, for third-party protocols.
pub fn hmac_sha256(key: &[u8], data: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), data).as_ref());
    out
}

/// SHA-256.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    out
}

/// SHA-256 over the parts, each preceded by its length.
pub fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let mut out = [0; 32];
    out.copy_from_slice(context.finish().as_ref());
    out
}

/// Compares in constant time. Only the contents are secret, not the lengths.
pub fn same(a: &[u8], b: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(a, b).is_ok()
}

/// Returns random bytes from the operating system. Not from aws-lc, which collects entropy for about 50 ms before the first
/// byte.
pub fn random<const N: usize>() -> anyhow::Result<[u8; N]> {
    let mut out = [0; N];
    getrandom::fill(&mut out).map_err(|error| anyhow::anyhow!("the system's random source failed: {error}"))?;
    Ok(out)
}

/// Returns a random part of a time, so that what many do does not come at once. 0 if the system's random source fails.
pub fn random_part(of: Duration) -> Duration {
    of.mul_f64(f64::from(u16::from_le_bytes(random().unwrap_or_default())) / f64::from(u16::MAX))
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Encrypts `plain` so that only [`open`] with the same key and `context` reads it: nonce, then ciphertext and tag.
fn seal(key: &Key, context: &[u8], plain: &[u8]) -> anyhow::Result<Vec<u8>> {
    let cipher = RandomizedNonceKey::new(&AES_256_GCM, key).map_err(|_| anyhow::anyhow!("bad key"))?;
    let mut body = plain.to_vec();
    let nonce = cipher.seal_in_place_append_tag(Aad::from(context), &mut body).map_err(|_| anyhow::anyhow!("encryption failed"))?;
    let mut out = nonce.as_ref().to_vec();
    out.append(&mut body);
    Ok(out)
}

/// Decrypts the output of [`seal`]; fails for another key, another context or an altered byte.
fn open(key: &Key, context: &[u8], sealed: &[u8]) -> anyhow::Result<Vec<u8>> {
    let (nonce, body) = sealed.split_at_checked(NONCE_LEN).ok_or_else(|| anyhow::anyhow!("too short to be sealed"))?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| anyhow::anyhow!("bad nonce"))?;
    let cipher = RandomizedNonceKey::new(&AES_256_GCM, key).map_err(|_| anyhow::anyhow!("bad key"))?;
    let mut body = body.to_vec();
    let plain = cipher.open_in_place(nonce, Aad::from(context), &mut body).map_err(|_| anyhow::anyhow!("not sealed with this key"))?;
    Ok(plain.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derived_keys_differ_by_purpose_and_secret() {
        let one = Keys::new(&SecretString::from("a"));
        let two = Keys::new(&SecretString::from("b"));
        assert_ne!(one.derive("x"), one.derive("y"));
        assert_ne!(one.derive("x"), two.derive("x"));
    }

    #[test]
    fn earlier_secret_verifies_and_opens_but_makes_nothing() {
        let [old, new] = ["a", "b"].map(SecretString::from);
        let before = Keys::new(&old).ring("x");
        let (tag, sealed) = (before.mac(&[b"m"]), before.seal(b"row", b"hello").unwrap());
        let rotated = Keys::with_previous(&new, std::slice::from_ref(&old)).ring("x");
        assert!(
            rotated.verify(&[b"m"], &tag) && rotated.verify(&[b"m"], tag.first_chunk::<16>().unwrap()) && !rotated.verify(&[b"n"], &tag)
        );
        assert_eq!(rotated.open(b"row", &sealed).as_deref(), Some(&b"hello"[..]));
        assert_eq!(rotated.open(b"other row", &sealed), None);
        // What the rotated ring makes, the new secret alone accepts, and the old one does not.
        let alone = Keys::new(&new).ring("x");
        assert!(alone.verify(&[b"m"], &rotated.mac(&[b"m"])) && !before.verify(&[b"m"], &rotated.mac(&[b"m"])));
        assert!(alone.open(b"row", &rotated.seal(b"row", b"hi").unwrap()).is_some());
        assert!(!alone.verify(&[b"m"], &tag) && alone.open(b"row", &sealed).is_none());
        assert!(!Keys::with_previous(&new, &[old]).ring("y").verify(&[b"m"], &tag), "purposes stay apart");
    }

    #[test]
    fn sealed_text_opens_only_with_its_key_and_context() {
        let key = Keys::new(&SecretString::from("a")).derive("x");
        let mut sealed = seal(&key, b"row 1", b"hello").unwrap();
        assert_eq!(open(&key, b"row 1", &sealed).unwrap(), b"hello");
        assert!(open(&key, b"row 2", &sealed).is_err());
        sealed[14] ^= 1;
        assert!(open(&key, b"row 1", &sealed).is_err());
        assert!(open(&key, b"row 1", b"short").is_err());
    }

    #[test]
    fn pseudonym_depends_on_value_and_secret() {
        let (one, two) = (Keys::new(&SecretString::from("a")), Keys::new(&SecretString::from("b")));
        assert_eq!(pseudonym(&one, "x"), pseudonym(&one, "x"));
        assert_ne!(pseudonym(&one, "x"), pseudonym(&one, "y"));
        assert_ne!(pseudonym(&one, "x"), pseudonym(&two, "x"));
        assert_eq!(pseudonym(&one, "x").len(), 32);
    }

    #[test]
    fn mac_and_hash_separate_their_parts() {
        let key = [7; 32];
        assert_ne!(mac(&key, &[b"ab", b"c"]), mac(&key, &[b"a", b"bc"]));
        assert_ne!(hash(&[b"ab", b"c"]), hash(&[b"a", b"bc"]));
    }
}
