//! Sanitizing of client-supplied file names, for display and for object keys.

use crate::platform::crypto;
use crate::platform::error::{Error, Result};
use crate::platform::id::UserId;
use crate::platform::text::has_control;

/// Returns the last path segment, with `/` or `\` as separator. Removes bidirectional control characters, which make `exe.gpj`
/// look like a picture. Errors on control characters and empty names.
pub fn clean(name: &str) -> Result<String> {
    let refused = |reason: &str| Error::invalid("filename", "filename", reason);
    if has_control(name) {
        return Err(refused("Must not contain control characters"));
    }
    let turns = |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let name: String = name.rsplit(['/', '\\']).next().unwrap_or_default().chars().filter(|c| !turns(*c)).collect();
    match name.trim() {
        "" | "." | ".." => Err(refused("Must name a file")),
        name => Ok(name.to_owned()),
    }
}

/// Returns `uploads/<owner>/<12 hex>/<name>`. Segments contain only ASCII letters, digits, `.`, `_`, `-` and `~`.
pub fn key(owner: &UserId, filename: &str) -> Result<String> {
    let random = crypto::hex(&crypto::random::<6>()?);
    Ok(format!("uploads/{}/{random}/{}", folder(owner.as_str()), segment(filename)))
}

/// Returns the owner's folder: the id if it is short and safe in a path, else a part of it and a hash.
fn folder(owner: &str) -> String {
    let harmless = owner.len() <= 64 && owner.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
    if harmless {
        return owner.to_owned();
    }
    let piece: String = owner.chars().filter(char::is_ascii_alphanumeric).take(24).collect();
    format!("{piece}~{}", &crypto::hex(&crypto::hash(&[owner.as_bytes()]))[..16])
}

fn segment(filename: &str) -> String {
    let safe: String = filename.chars().map(|c| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '_' }).collect();
    // Keeps the end, because it contains the extension.
    let start = safe.len().saturating_sub(100);
    let safe = safe[start..].trim_start_matches(['.', '-']);
    if safe.is_empty() { "file".to_owned() } else { safe.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_name_keeps_only_the_last_segment() {
        for (name, shown) in [
            ("a.txt", "a.txt"),
            ("../../../etc/passwd", "passwd"),
            ("..\\..\\win.ini", "win.ini"),
            ("C:\\x.txt", "x.txt"),
            ("a/b/c.txt", "c.txt"),
            ("....//x", "x"),
            ("%2e%2e%2fx", "%2e%2e%2fx"),
            (" grüße 🚀.txt ", "grüße 🚀.txt"),
            ("photo\u{202e}gpj.exe", "photogpj.exe"),
        ] {
            assert_eq!(clean(name).unwrap(), shown, "{name}");
        }
        for bad in ["", ".", "..", "/", "a/", "a/..", "\\", " ", "\u{202e}", "a\0b", "a\nb.txt", "con\r\nSet-Cookie: a=b", "a\u{7f}"] {
            assert!(clean(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn object_key_contains_only_safe_characters() {
        let owner = |id: &str| UserId::parse(id).unwrap();
        for id in ["user_1", "../../../../tmp/x", "auth0|7", "a/../../b", "x y", ".", "..", &"🚀".repeat(255), &"é/".repeat(100)] {
            for name in
                ["a.txt", "..hidden", "🚀🚀", &"🚀".repeat(255), "-rf", "we\"ird; name='x'.txt", &format!("{}.jpeg", "x".repeat(250))]
            {
                let key = key(&owner(id), name).unwrap();
                let parts: Vec<&str> = key.split('/').collect();
                assert_eq!((parts.len(), parts[0], parts[2].len()), (4, "uploads", 12), "{key}");
                assert!(key.len() < 250 && key.chars().all(|c| c.is_ascii_alphanumeric() || "/._-~".contains(c)), "{key}");
                assert!(parts.iter().all(|part| !part.is_empty() && !part.starts_with('.')), "{key}");
            }
        }
        assert!(key(&owner("user_1"), "a.jpeg").unwrap().starts_with("uploads/user_1/"));
        assert_ne!(folder("a|b"), folder("a/b"));
    }
}
