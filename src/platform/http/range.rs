//! Range requests (RFC 9110 §14): the part of a representation that a request asks for.

use std::ops::RangeInclusive;

use http::header::{ETAG, IF_RANGE, LAST_MODIFIED, RANGE};
use http::{HeaderMap, HeaderValue, Method};

/// What to answer a request with.
#[derive(Debug, PartialEq, Eq)]
pub enum Part {
    /// The whole representation: there is no `Range`, or it must be ignored.
    Everything,
    /// These bytes.
    Bytes(RangeInclusive<u64>),
    /// 416: the range lies outside of the representation, which has this many bytes.
    Unsatisfiable(u64),
}

/// Returns whether the request asks for a range: only a GET can.
pub fn is_wanted(method: &Method, request: &HeaderMap) -> bool {
    method == Method::GET && request.contains_key(RANGE)
}

/// Returns the part that a GET asks for. `current` holds the representation's `ETag` and `Last-Modified`, `size` is in bytes.
///
/// Several ranges are answered with everything, as RFC 9110 §14.2 allows.
pub fn part(request: &HeaderMap, current: &HeaderMap, size: u64) -> Part {
    let Some(range) = single(request, RANGE).and_then(|range| range.to_str().ok()) else { return Part::Everything };
    if request.contains_key(IF_RANGE) && !single(request, IF_RANGE).is_some_and(|validator| is_current(validator, current)) {
        return Part::Everything;
    }
    parse(range, size)
}

/// The only value of a header that is not a list.
fn single(headers: &HeaderMap, name: http::HeaderName) -> Option<&HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

/// Strong comparison of `If-Range` (RFC 9110 §13.1.5): a weak entity tag never matches, a date must be the same.
fn is_current(validator: &HeaderValue, current: &HeaderMap) -> bool {
    !validator.as_bytes().starts_with(b"W/") && [ETAG, LAST_MODIFIED].iter().any(|name| current.get(name) == Some(validator))
}

/// Reads a `Range` of one range; a malformed one counts as absent (RFC 9110 §14.2).
fn parse(range: &str, size: u64) -> Part {
    let Some((unit, ranges)) = range.split_once('=') else { return Part::Everything };
    let mut ranges = ranges.split(',').map(|range| range.trim_matches([' ', '\t'])).filter(|range| !range.is_empty());
    let (true, Some(range), None) = (unit.eq_ignore_ascii_case("bytes"), ranges.next(), ranges.next()) else { return Part::Everything };
    let Some((first, last)) = range.split_once('-') else { return Part::Everything };
    let (first, last) = match (position(first), position(last)) {
        (None, Some(0)) if first.is_empty() => return Part::Unsatisfiable(size),
        // The bytes of an empty representation cannot be named.
        (None, Some(_)) if first.is_empty() && size == 0 => return Part::Everything,
        (None, Some(suffix)) if first.is_empty() => (size.saturating_sub(suffix), u64::MAX),
        (Some(first), None) if last.is_empty() => (first, u64::MAX),
        (Some(first), Some(last)) if first <= last => (first, last),
        _ => return Part::Everything,
    };
    if first < size { Part::Bytes(first..=last.min(size - 1)) } else { Part::Unsatisfiable(size) }
}

/// A number too large for the type lies beyond every representation.
fn position(digits: &str) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(http::HeaderName, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn range_of_one_part_is_cut_to_the_size() {
        for (range, bytes) in [
            ("bytes=0-0", 0..=0),
            ("bytes=3-7", 3..=7),
            ("bytes=15-", 15..=19),
            ("bytes=0-", 0..=19),
            ("bytes=-4", 16..=19),
            ("bytes=-20", 0..=19),
            ("bytes=-500", 0..=19),
            ("bytes=18-500", 18..=19),
            ("bytes=0-99999999999999999999999", 0..=19),
            ("BYTES=003-007", 3..=7),
            ("bytes= 3-7\t", 3..=7),
            ("bytes=,3-7,", 3..=7),
        ] {
            assert_eq!(parse(range, 20), Part::Bytes(bytes), "{range}");
        }
    }

    #[test]
    fn range_malformed_or_several_gives_everything() {
        for range in [
            "items=0-5",
            "bytes=abc",
            "bytes=9-5",
            "bytes=",
            "bytes",
            "bytes 0-5",
            "bytes =0-5",
            "bytes=1-x",
            "bytes=--5",
            "bytes=-",
            "bytes=+1-2",
            "bytes=1 -2",
            "bytes=0-2,5-7",
            "bytes=0-0,30-40",
            "bytes=30-40,50-60",
            "0-5",
            "",
            "bytes=1-2-3",
            "bytes=99999999999999999999999-5",
        ] {
            assert_eq!(parse(range, 20), Part::Everything, "{range}");
        }
    }

    #[test]
    fn range_outside_is_unsatisfiable() {
        for range in ["bytes=20-", "bytes=20-25", "bytes=4000000000-", "bytes=-0", "bytes=99999999999999999999999-"] {
            assert_eq!(parse(range, 20), Part::Unsatisfiable(20), "{range}");
        }
        assert_eq!((parse("bytes=0-", 0), parse("bytes=-5", 0)), (Part::Unsatisfiable(0), Part::Everything));
    }

    #[test]
    fn range_counts_only_while_if_range_is_current() {
        let current = headers(&[(ETAG, "\"a\""), (LAST_MODIFIED, "Sat, 10 Jan 2026 12:00:00 GMT")]);
        let asked = |more: &[(http::HeaderName, &'static str)]| part(&headers(&[&[(RANGE, "bytes=0-3")], more].concat()), &current, 20);
        for fresh in ["\"a\"", "Sat, 10 Jan 2026 12:00:00 GMT"] {
            assert_eq!(asked(&[(IF_RANGE, fresh)]), Part::Bytes(0..=3), "{fresh}");
        }
        for stale in ["\"b\"", "W/\"a\"", "a", "", "Sat, 10 Jan 2026 12:00:01 GMT", "Fri, 09 Jan 2026 12:00:00 GMT", "\"a\", \"b\""] {
            assert_eq!(asked(&[(IF_RANGE, stale)]), Part::Everything, "{stale}");
        }
        assert_eq!(asked(&[(IF_RANGE, "\"a\""), (IF_RANGE, "\"a\"")]), Part::Everything);
        assert_eq!((asked(&[]), asked(&[(RANGE, "bytes=0-3")])), (Part::Bytes(0..=3), Part::Everything));
        let weak = headers(&[(ETAG, "W/\"a\"")]);
        assert_eq!(part(&headers(&[(RANGE, "bytes=0-3"), (IF_RANGE, "W/\"a\"")]), &weak, 20), Part::Everything);
    }
}
