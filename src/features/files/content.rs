//! Whether an upload has the declared type, judged by its first bytes.

/// Bytes that are read of an upload.
pub const PREFIX: usize = 8192;

/// Types that the first bytes prove: pictures except SVG, which is text, and PDF.
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

/// The one name of a type that goes by several.
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

/// Whether the first bytes of a file of this type tell that it is one.
pub fn can_tell(declared: &str) -> bool {
    known(declared).is_some()
}

/// Whether bytes that begin so can be of the declared type. Of a type that cannot be told nothing is known.
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
