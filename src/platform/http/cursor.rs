//! Pagination cursors: opaque and signed. A cursor holds the sort key of the last row and is valid only for the same list,
//! caller and filters.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::platform::crypto::{KeyRing, Keys};
use crate::platform::error::{Error, Result};

const MAC: usize = 16;

/// Where a page starts: after the row with this sort key and this id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    pub key: String,
    pub id: String,
}

/// Encodes and verifies cursors.
#[derive(Clone)]
pub struct Cursors(KeyRing);

impl Cursors {
    pub fn new(keys: &Keys) -> Self {
        Self(keys.ring("cursor"))
    }

    /// `scope` is the list's name, then its filters.
    pub fn encode(&self, scope: &[String], position: &Position) -> String {
        let body = format!("{}\n{}", position.id, position.key);
        let mut bytes = self.0.mac(&parts(scope, body.as_bytes()))[..MAC].to_vec();
        bytes.extend_from_slice(body.as_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Fails for a cursor that is broken, forged or from another list.
    pub fn decode(&self, scope: &[String], cursor: &str) -> Result<Position> {
        let read = || {
            let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
            let (mac, body) = bytes.split_first_chunk::<MAC>()?;
            let (id, key) = std::str::from_utf8(body).ok()?.split_once('\n')?;
            self.0.verify(&parts(scope, body), mac).then(|| Position { key: key.to_owned(), id: id.to_owned() })
        };
        read().ok_or_else(|| Error::invalid("cursor", "cursor", "Not a cursor of this list"))
    }
}

fn parts<'p>(scope: &'p [String], body: &'p [u8]) -> Vec<&'p [u8]> {
    scope.iter().map(String::as_bytes).chain([body]).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use secrecy::SecretString;

    use super::*;

    fn cursors() -> Cursors {
        Cursors::new(&Keys::new(&SecretString::from("x".repeat(32))))
    }

    fn scope(parts: &[&str]) -> Vec<String> {
        parts.iter().map(|part| (*part).to_owned()).collect()
    }

    proptest! {
        #[test]
        fn cursor_decodes_only_in_its_own_list(key in "\\PC*", id in "[a-z0-9|:-]{1,40}", user in "\\PC{1,20}", other in "\\PC{1,20}") {
            let position = Position { key, id };
            let text = cursors().encode(&scope(&["projects", &user]), &position);
            prop_assert_eq!(cursors().decode(&scope(&["projects", &user]), &text).ok(), Some(position));
            prop_assert!(user == other || cursors().decode(&scope(&["projects", &other]), &text).is_err());
            prop_assert!(cursors().decode(&scope(&["files", &user]), &text).is_err());
        }

        #[test]
        fn cursor_random_text_is_refused(text in "\\PC*") {
            prop_assert!(cursors().decode(&scope(&["projects", "u"]), &text).is_err());
        }
    }
}
