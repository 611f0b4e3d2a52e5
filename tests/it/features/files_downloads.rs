//! Downloads from the local folder: ranges and conditional requests as RFC 9110 says, and headers.

use http::Method;
use serde_json::json;

use crate::harness::Backend;
use crate::harness::files::{Place, link, upload};

crate::on_both_backends![download_range_returns_206];
crate::on_sqlite![
    download_range_not_honoured_returns_everything,
    download_range_outside_returns_416,
    download_range_with_stale_if_range_returns_everything,
    download_condition_is_checked_before_range,
    download_range_headers_are_readable_by_scripts,
    download_document_names_206_and_416,
];

const DATA: &[u8] = b"0123456789abcdefghij";

/// A server, and the link of a file with [`DATA`].
async fn served(b: Backend) -> (Place, String) {
    let p = Place::with(b, &[("BACKEND_CORS_ORIGINS", "https://app.example.com")]).await;
    let amy = p.t.user("amy").await;
    let file = upload(&p.t, &amy, "a.txt", "text/plain", DATA).await;
    let link = link(&amy, &file).await;
    (p, link)
}

async fn download_range_returns_206(b: Backend) {
    let (p, link) = served(b).await;
    for (range, first, last) in [
        ("bytes=0-0", 0, 0),
        ("bytes=3-7", 3, 7),
        ("bytes=15-", 15, 19),
        ("bytes=-4", 16, 19),
        ("bytes=18-500", 18, 19),
        ("Bytes=003-007", 3, 7),
        // A file of any length can be asked for its last 500 bytes.
        ("bytes=-500", 0, 19),
        ("bytes=0-", 0, 19),
    ] {
        let part = p.t.anonymous().get(&link).header("range", range).header("accept-encoding", "gzip").await;
        assert_eq!((part.status.as_u16(), part.body.as_slice()), (206, &DATA[first..=last]), "{range}");
        assert_eq!(part.header("content-range"), Some(format!("bytes {first}-{last}/20").as_str()), "{range}");
        assert_eq!(part.header("content-length"), Some((last - first + 1).to_string().as_str()), "{range}");
        assert_eq!(part.header("content-disposition"), Some("attachment; filename=\"a.txt\""));
        assert_eq!((part.header("x-content-type-options"), part.header("content-type")), (Some("nosniff"), Some("text/plain")));
        assert_eq!((part.header("content-encoding"), part.header("accept-ranges")), (None, Some("bytes")));
    }
}

async fn download_range_not_honoured_returns_everything(b: Backend) {
    let (p, link) = served(b).await;
    for range in [
        "items=0-5",
        "bytes=abc",
        "bytes=9-5",
        "bytes=",
        "bytes",
        "bytes 0-5",
        "bytes=1-x",
        "bytes=--5",
        "bytes=0-2,5-7",
        "bytes=0-0,30-40",
        "bytes=30-40,50-60",
        "0-5",
        "",
    ] {
        let whole = p.t.anonymous().get(&link).header("range", range).await;
        assert_eq!((whole.status.as_u16(), whole.body.as_slice(), whole.header("content-range")), (200, DATA, None), "{range}");
    }
    let twice = p.t.anonymous().get(&link).header("range", "bytes=0-3").header("range", "bytes=5-7").await;
    assert_eq!((twice.status.as_u16(), twice.body.as_slice()), (200, DATA));
    for range in ["bytes=0-3", "bytes=50-"] {
        let head = p.t.anonymous().call(Method::HEAD, &link).header("range", range).await;
        assert_eq!((head.status.as_u16(), head.header("content-length"), head.header("content-range")), (200, Some("20"), None));
    }
}

async fn download_range_outside_returns_416(b: Backend) {
    let (p, link) = served(b).await;
    for range in ["bytes=20-", "bytes=20-25", "bytes=4000000000-", "bytes=99999999999999999999-", "bytes=-0"] {
        let refused = p.t.anonymous().get(&link).header("range", range).await;
        assert_eq!(refused.header("content-range"), Some("bytes */20"), "{range}");
        assert_eq!((refused.header("content-disposition"), refused.header("content-type")), (None, Some("application/json")));
        assert_eq!(refused.expect_error(416, "RANGE_NOT_SATISFIABLE"), json!({}));
    }
}

async fn download_range_with_stale_if_range_returns_everything(b: Backend) {
    let (p, link) = served(b).await;
    let whole = p.t.anonymous().get(&link).await;
    let (etag, modified) = (whole.header("etag").unwrap(), whole.header("last-modified").unwrap());
    let get = async |range: &str, validator: &str| p.t.anonymous().get(&link).header("range", range).header("if-range", validator).await;
    for fresh in [etag, modified] {
        assert_eq!(get("bytes=0-3", fresh).await.body, DATA[..4], "{fresh}");
        get("bytes=20-", fresh).await.expect_error(416, "RANGE_NOT_SATISFIABLE");
    }
    for stale in ["\"another\"", "W/\"another\"", &format!("W/{etag}"), "Mon, 01 Jan 2001 00:00:00 GMT", "nonsense"] {
        for range in ["bytes=0-3", "bytes=20-"] {
            let everything = get(range, stale).await;
            assert_eq!((everything.status.as_u16(), everything.body.as_slice()), (200, DATA), "{stale}");
        }
    }
    // Without a range the condition means nothing.
    assert_eq!(p.t.anonymous().get(&link).header("if-range", "\"another\"").await.status, 200);
}

async fn download_condition_is_checked_before_range(b: Backend) {
    let (p, link) = served(b).await;
    let etag = p.t.anonymous().get(&link).await.header("etag").unwrap().to_owned();
    for range in ["bytes=0-3", "bytes=20-", "nonsense"] {
        let get = async |name: &str, value: &str| p.t.anonymous().get(&link).header("range", range).header(name, value).await;
        assert_eq!(get("if-none-match", &etag).await.status, 304, "{range}");
        get("if-match", "\"another\"").await.expect_error(400, "BAD_REQUEST");
        get("if-unmodified-since", "Mon, 01 Jan 2001 00:00:00 GMT").await.expect_error(400, "BAD_REQUEST");
    }
    let other = p.t.anonymous().get(&link).header("if-none-match", "\"other\"").header("range", "bytes=0-3").await;
    assert_eq!((other.status.as_u16(), other.body.as_slice()), (206, &DATA[..4]));
}

async fn download_range_headers_are_readable_by_scripts(b: Backend) {
    let (p, link) = served(b).await;
    for range in ["bytes=0-3", "bytes=20-"] {
        let reply = p.t.anonymous().get(&link).header("range", range).header("origin", "https://app.example.com").await;
        assert_eq!(reply.header("access-control-allow-origin"), Some("https://app.example.com"));
        let exposed: Vec<_> =
            reply.headers.get_all("access-control-expose-headers").iter().flat_map(|line| line.to_str().unwrap().split(", ")).collect();
        for name in ["Accept-Ranges", "Content-Disposition", "Content-Range", "ETag", "X-Request-ID", "Retry-After"] {
            assert!(exposed.contains(&name), "{exposed:?}");
        }
    }
}

async fn download_document_names_206_and_416(b: Backend) {
    let p = Place::new(b).await;
    let document = p.t.anonymous().get("/openapi.json").await.expect(200);
    let answers = &document["paths"]["/api/v1/public/storage/download/{token}"]["get"]["responses"];
    assert!(answers["206"]["headers"]["Content-Range"].is_object(), "{answers}");
    assert!(answers["206"]["content"]["application/octet-stream"].is_object(), "{answers}");
    let refusal = &answers["416"]["content"]["application/json"];
    assert_eq!(refusal["schema"]["$ref"], "#/components/schemas/ErrorBody");
    assert_eq!(refusal["example"]["error"]["code"], "RANGE_NOT_SATISFIABLE");
    let upload = &document["paths"]["/api/v1/public/storage/upload/{token}"]["put"]["responses"];
    for status in ["204", "400", "403", "409", "413", "502", "503"] {
        assert!(upload[status].is_object(), "{status}");
    }
}
