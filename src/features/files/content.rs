//! Content type verification of uploads by their first bytes (magic numbers).
//!
//! Each type has a check of its own, because a guess of the type would have to choose between types that share bytes.

use infer::image;

use crate::providers::storage::media_type::essence;

/// Number of bytes read from the start of an upload.
pub const PREFIX: usize = 8192;
/// Maximum number of bytes before the header of a PDF. Readers skip them (PDF Reference 1.7, appendix H.3, note 13).
const BEFORE_PDF: usize = 1024;
/// Brands of HEIF files with HEVC pictures or sequences (ISO/IEC 23008-12).
const HEVC: [&[u8]; 6] = [b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis"];
/// Brands of HEIF files of any coding. AVIF files have them as well, but not as the major one.
const ANY_CODING: [&[u8]; 2] = [b"mif1", b"msf1"];

/// Returns the check of a media type that magic numbers identify: PDF, and images except SVG, which is text.
fn check(declared: &str) -> Option<fn(&[u8]) -> bool> {
    Some(match essence(declared).as_str() {
        "application/pdf" => is_pdf,
        "image/avif" => image::is_avif,
        "image/bmp" | "image/x-ms-bmp" => image::is_bmp,
        "image/gif" => image::is_gif,
        "image/heic" | "image/heif" | "image/heic-sequence" | "image/heif-sequence" => is_heif,
        "image/jpeg" | "image/jpg" | "image/pjpeg" => image::is_jpeg,
        "image/jxl" => image::is_jxl,
        "image/png" | "image/x-png" => image::is_png,
        "image/tiff" => is_tiff,
        "image/vnd.microsoft.icon" | "image/x-icon" => image::is_ico,
        "image/webp" => image::is_webp,
        _ => return None,
    })
}

/// Returns whether the declared type can be verified by magic numbers.
pub fn can_tell(declared: &str) -> bool {
    check(declared).is_some()
}

/// Returns whether the first bytes match the declared type. Always `true` for types that cannot be verified.
pub fn fits(declared: &str, start: &[u8]) -> bool {
    check(declared).is_none_or(|fits| fits(start))
}

fn is_pdf(start: &[u8]) -> bool {
    let header = b"%PDF-";
    start.windows(header.len()).take(BEFORE_PDF + 1).any(|bytes| bytes == header)
}

/// The file begins with a box `ftyp`: length, type, major brand, version, compatible brands.
fn is_heif(start: &[u8]) -> bool {
    let Some((length, [b'f', b't', b'y', b'p', rest @ ..])) = start.split_first_chunk() else { return false };
    let rest = &rest[..rest.len().min((u32::from_be_bytes(*length) as usize).saturating_sub(8))];
    let mut brands = rest.chunks_exact(4);
    let (Some(major), Some(_version)) = (brands.next(), brands.next()) else { return false };
    ANY_CODING.contains(&major) || HEVC.contains(&major) || brands.any(|brand| HEVC.contains(&brand))
}

/// TIFF or `BigTIFF`, of either byte order.
fn is_tiff(start: &[u8]) -> bool {
    [b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"].iter().any(|magic| start.starts_with(*magic))
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
    #[test]
    fn pdf_may_have_up_to_1024_bytes_before_its_header() {
        let pdf = |before: usize| [vec![b'x'; before], b"%PDF-1.7\n".to_vec(), vec![0; PREFIX]].concat();
        for before in [0, 1, 3, 1023, 1024] {
            assert!(fits("application/pdf", &pdf(before)), "{before}");
        }
        assert!(!fits("application/pdf", &pdf(1025)));
        assert!(fits("Application/PDF; version=1", b"\xef\xbb\xbf%PDF-1.4"), "a byte order mark");
        for other in [&b"%PDF"[..], b"%pdf-1.7", b"", &[0; PREFIX]] {
            assert!(!fits("application/pdf", other));
        }
    }

    /// A `ftyp` box with these brands, and the begin of the next box.
    fn ftyp(major: &str, compatible: &[&str]) -> Vec<u8> {
        let brands = [major.as_bytes(), &[0; 4], compatible.concat().as_bytes()].concat();
        let length = u32::try_from(brands.len() + 8).unwrap().to_be_bytes();
        [&length, b"ftyp".as_slice(), &brands, b"\0\0\0\x30metaheic"].concat()
    }

    #[test]
    fn heif_brands_fit_every_heif_type() {
        let types = ["image/heic", "image/heif", "image/heic-sequence", "image/heif-sequence", "IMAGE/HEIC; x=y"];
        for brand in ["heic", "heix", "hevc", "hevx", "heim", "heis", "mif1", "msf1"] {
            for declared in types {
                assert!(fits(declared, &ftyp(brand, &["mif1", "heic"])), "{brand} {declared}");
                assert!(fits(declared, &ftyp(brand, &[])), "{brand} {declared}");
            }
        }
        assert!(fits("image/heic", &ftyp("MiHB", &["mif1", "heix"])));
        let avif = ftyp("avif", &["avif", "mif1", "miaf"]);
        assert!(fits("image/avif", &avif) && !fits("image/heic", &avif));
        for other in [ftyp("isom", &["mp41"]), ftyp("isom", &["mif1"]), ftyp("heic", &[])[..11].to_vec(), b"heic".to_vec(), vec![]] {
            assert!(types.iter().all(|declared| !fits(declared, &other)), "{other:?}");
        }
    }

    #[test]
    fn tiff_of_any_kind_fits() {
        // The bytes after the magic number are an offset, then anything.
        for tiff in [
            b"II*\0\x08\0\0\0CR\0\0",
            b"II*\0\x10\0\0\0CR\x02\0",
            b"MM\0*\0\0\0\x08CRCR",
            b"II+\0\x08\0\0\0\0\0\0\0",
            b"MM\0+\0\x08\0\0\0\0\0\0",
        ] {
            assert!(fits("image/tiff", tiff), "{tiff:?}");
        }
        assert!(!fits("image/tiff", b"II\xbc\x01\x08\0\0\0\0\0\0\0"));
    }
}
