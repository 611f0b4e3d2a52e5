//! `X-Request-ID`: the caller's id if it is valid, else a fresh one.

use http::{HeaderMap, HeaderName, HeaderValue};
use uuid::Uuid;

pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Returns the id of a request, as text and as the header of its answer.
pub fn request_id(headers: &HeaderMap) -> (String, HeaderValue) {
    let valid =
        |id: &&str| (1..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    if let Some(value) = headers.get(X_REQUEST_ID)
        && let Some(id) = value.to_str().ok().filter(valid)
    {
        return (id.to_owned(), value.clone());
    }
    let mut buffer = Uuid::encode_buffer();
    let id: &str = Uuid::now_v7().hyphenated().encode_lower(&mut buffer);
    // A UUID is always a valid header.
    let header = HeaderValue::from_str(id).unwrap_or(HeaderValue::from_static(""));
    (id.to_owned(), header)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_id_invalid_is_replaced() {
        let id = |value: &str| request_id(&HeaderMap::from_iter([(X_REQUEST_ID, HeaderValue::from_str(value).unwrap())])).0;
        assert_eq!(id("A.b_C-9"), "A.b_C-9");
        for junk in ["", "a b", "<script>", "a,b"] {
            assert_ne!(id(junk), junk);
        }
        assert_ne!(id(&"x".repeat(129)), "x".repeat(129));
    }
}
