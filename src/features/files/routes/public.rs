//! `/public/storage…`: upload to and download from the local folder by signed links.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use tower_http::services::ServeFile;

use crate::app::App;
use crate::features::files::service::local;
use crate::platform::error::{Error, Result};
use crate::platform::http::range::{self, Part};
use crate::platform::http::{PathParam, StreamBody};
use crate::providers::storage::disposition::attachment;

/// Headers that scripts of other origins need to load a file in parts, and to name it.
const EXPOSED: HeaderValue = HeaderValue::from_static("Accept-Ranges, Content-Disposition, Content-Range, ETag");

/// Upload a file's bytes
///
/// 400 if there are none, or they break off; 403 for a link that is invalid or expired, or whose upload is confirmed; 409 while
/// another upload with this link is running; 413 for more bytes than were declared; 503 below 1 KiB/s over 30 s.
#[utoipa::path(put, path = "/storage/upload/{token}", operation_id = "uploadBytes", tag = "files", params(("token" = String, Path)),
    request_body(content = String, content_type = "application/octet-stream", example = json!("the bytes")),
    responses((status = 204), (status = 400), (status = 403), (status = 409), (status = 502)))]
pub async fn upload(
    State(app): State<App>,
    PathParam(token): PathParam,
    headers: HeaderMap,
    StreamBody(body): StreamBody,
) -> Result<StatusCode> {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let announced = text(header::CONTENT_LENGTH).and_then(|length| length.parse().ok());
    local::receive(&app, &token, text(header::CONTENT_TYPE), announced, body.into_data_stream()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Download a file's bytes
///
/// Always an attachment. `Range` with one range, `If-Range` and conditional requests are answered (RFC 9110); several ranges give
/// everything. 400 if `If-Match` or `If-Unmodified-Since` does not hold.
#[utoipa::path(get, path = "/storage/download/{token}", operation_id = "downloadBytes", tag = "files", params(("token" = String, Path)),
    responses(
        (status = 200, body = String, content_type = "application/octet-stream", example = "the bytes"),
        (status = 206, body = String, content_type = "application/octet-stream",
            headers(("Content-Range" = String, description = "The range and the size: `bytes 0-2/9`")), example = "the"),
        (status = 304), (status = 400), (status = 403), (status = 416), (status = 502)))]
pub async fn download(State(app): State<App>, PathParam(token): PathParam, mut request: Request) -> Result<Response> {
    let (path, permission) = local::served(&app, &token)?;
    let mime = permission.content_type.parse().unwrap_or(mime::APPLICATION_OCTET_STREAM);
    let mut file = ServeFile::new_with_mime(path, &mime);
    let part = wanted_part(&mut file, request.method(), request.headers()).await?;
    request.headers_mut().remove(header::RANGE);
    match part {
        Part::Everything => {}
        Part::Bytes(range) => {
            let range = format!("bytes={}-{}", range.start(), range.end());
            request.headers_mut().insert(header::RANGE, HeaderValue::try_from(range).map_err(anyhow::Error::from)?);
        }
        Part::Unsatisfiable(size) => return unsatisfiable(size),
    }
    let mut response = file.try_call(request).await.map_err(|error| local::unreadable(&error))?.map(Body::new);
    match response.status() {
        StatusCode::NOT_FOUND => return Err(local::gone()),
        StatusCode::PRECONDITION_FAILED => {
            return Err(Error::BadRequest("If-Match or If-Unmodified-Since does not hold for this file".to_owned()));
        }
        _ => {}
    }
    let headers = response.headers_mut();
    if let Ok(name) = HeaderValue::from_str(&attachment(&permission.filename)) {
        headers.insert(header::CONTENT_DISPOSITION, name);
    }
    // The link expires, so caches must revalidate before they serve the file.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    Ok(response.into_response())
}

/// Returns the part of the file that the request asks for. tower-http does not know `If-Range`, and refuses ranges that must be
/// ignored, so it is asked for the file's size and validators first.
async fn wanted_part(file: &mut ServeFile, method: &Method, headers: &HeaderMap) -> Result<Part> {
    if !range::is_wanted(method, headers) {
        return Ok(Part::Everything);
    }
    let mut head = Request::new(Body::empty());
    *head.method_mut() = Method::HEAD;
    head.headers_mut().clone_from(headers);
    head.headers_mut().remove(header::RANGE);
    let current = file.try_call(head).await.map_err(|error| local::unreadable(&error))?;
    let size = current.headers().get(header::CONTENT_LENGTH).and_then(|size| size.to_str().ok()?.parse().ok());
    Ok(match size {
        Some(size) if current.status() == StatusCode::OK => range::part(headers, current.headers(), size),
        // A condition does not hold: the answer has no part.
        _ => Part::Everything,
    })
}

fn unsatisfiable(size: u64) -> Result<Response> {
    let mut response = Error::RangeNotSatisfiable.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_RANGE, HeaderValue::try_from(format!("bytes */{size}")).map_err(anyhow::Error::from)?);
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    Ok(response)
}
