//! The `Content-Disposition` header of downloads.

use crate::platform::crypto;
use crate::platform::text::cut;

/// `attachment` with the file name in both forms (RFC 6266, RFC 8187); old clients read the ASCII form.
pub fn attachment(filename: &str) -> String {
    let plain: String = cut(filename, 255)
        .chars()
        .map(|c| if c.is_ascii() && !c.is_ascii_control() && !matches!(c, '"' | '\\' | '%') { c } else { '_' })
        .collect();
    let mut encoded = String::new();
    for byte in filename.bytes() {
        // attr-char of RFC 8187.
        if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push('%');
            encoded.push_str(&crypto::hex(&[byte]).to_ascii_uppercase());
        }
    }
    if plain == filename {
        format!("attachment; filename=\"{plain}\"")
    } else {
        format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attachment_unsafe_name_is_escaped() {
        assert_eq!(attachment("a b.txt"), "attachment; filename=\"a b.txt\"");
        assert_eq!(attachment("grüße.txt"), "attachment; filename=\"gr__e.txt\"; filename*=UTF-8''gr%C3%BC%C3%9Fe.txt");
        assert_eq!(attachment("a\"; x=\"b"), "attachment; filename=\"a_; x=_b\"; filename*=UTF-8''a%22%3B%20x%3D%22b");
        assert!(attachment("100%.txt").contains("filename*=UTF-8''100%25.txt"));
    }
}
