//! `/public/storage…`: upload to and download from the local folder by signed links.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use tower_http::services::ServeFile;

use crate::app::App;
use crate::features::files::service::local;
use crate::platform::error::Result;
use crate::platform::http::{PathParam, StreamBody};
use crate::providers::storage::disposition::attachment;

/// Upload a file's bytes
///
/// 403 for a link that is invalid or expired, or whose upload is confirmed; 413 for more bytes than were declared.
#[utoipa::path(put, path = "/storage/upload/{token}", operation_id = "uploadBytes", tag = "files", params(("token" = String, Path)),
    request_body(content = String, content_type = "application/octet-stream", example = json!("the bytes")), responses((status = 204), (status = 403), (status = 502)))]
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
/// Ranges and conditional requests are answered (RFC 9110). Always an attachment.
#[utoipa::path(get, path = "/storage/download/{token}", operation_id = "downloadBytes", tag = "files", params(("token" = String, Path)),
    responses((status = 200, body = String, content_type = "application/octet-stream", example = "the bytes"), (status = 206), (status = 304), (status = 403), (status = 416), (status = 502)))]
pub async fn download(State(app): State<App>, PathParam(token): PathParam, request: Request) -> Result<Response> {
    let (path, permission) = local::served(&app, &token)?;
    let mime = permission.content_type.parse().unwrap_or(mime::APPLICATION_OCTET_STREAM);
    let answer = ServeFile::new_with_mime(path, &mime).try_call(request).await;
    let mut response = answer.map_err(|error| local::unreadable(&error))?.map(Body::new);
    if response.status() == StatusCode::NOT_FOUND {
        return Err(local::gone());
    }
    let headers = response.headers_mut();
    if let Ok(name) = HeaderValue::from_str(&attachment(&permission.filename)) {
        headers.insert(header::CONTENT_DISPOSITION, name);
    }
    // The link expires, so caches must revalidate before they serve the file.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    Ok(response.into_response())
}
