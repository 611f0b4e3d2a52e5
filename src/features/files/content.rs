//! Content type verification of uploads by their first bytes (magic numbers).

/// Number of bytes read from the start of an upload.
pub const PREFIX: usize = 8192;

/// Types that magic numbers identify: PDF, and images except SVG, which is text.
const PROVABLE: [&str; 11] = [
    "application/pdf",
    "image/avif",
    "image/bmp",
    "image/gif",
    "image/heif",
    "image/jpeg",
    "image/jxl",
    "image/png",
    "image/tiff",
    "image/vnd.microsoft.icon",
    "image/webp",
];

/// Returns the canonical name of a verifiable media type, resolving aliases.
fn known(declared: &str) -> Option<&'static str> {
    let essence = declared.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let name = match essence.as_str() {
        "image/jpg" | "image/pjpeg" => "image/jpeg",
        "image/x-png" => "image/png",
        "image/x-icon" => "image/vnd.microsoft.icon",
        "image/x-ms-bmp" => "image/bmp",
        "image/heic" => "image/heif",
        other => other,
    };
    PROVABLE.into_iter().find(|provable| *provable == name)
}

/// Returns whether the declared type can be verified by magic numbers.
pub fn can_tell(declared: &str) -> bool {
    known(declared).is_some()
}

/// Returns whether the first bytes match the declared type. Always `true` for types that cannot be verified.
pub fn fits(declared: &str, start: &[u8]) -> bool {
    known(declared).is_none_or(|known| infer::get(start).is_some_and(|kind| kind.mime_type() == known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_type_of_images_and_pdfs_matches_magic_bytes() {
        let (png, pdf) = (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", b"%PDF-1.7\n");
        assert!(fits("image/png", png) && fits("IMAGE/PNG; x=y", png) && fits("application/pdf", pdf));
        assert!(fits("image/jpeg", b"\xff\xd8\xff\xe0\0\x10JFIF") && fits("image/jpg", b"\xff\xd8\xff\xe0\0\x10JFIF"));
        assert!(!fits("image/png", pdf) && !fits("application/pdf", png) && !fits("image/png", b"<script>") && !fits("image/gif", b""));
        for free in ["text/plain", "application/octet-stream", "image/svg+xml", "video/mp4", "nonsense"] {
            assert!(fits(free, b"anything"), "{free}");
        }
    }
}
