//! `/app/files…`.

use axum::extract::{FromRequestParts, State};
use axum::response::Response;
use http::request::Parts;
use http::{StatusCode, header};

use crate::app::App;
use crate::features::files::model::{ConfirmUpload, DownloadUrl, FileFilter, FileId, FileRead, RequestUpload, UploadUrl};
use crate::features::files::service;
use crate::platform::actor::CurrentUser;
use crate::platform::error::Result;
use crate::platform::http::idempotency::{Created, idempotent};
use crate::platform::http::{Json, KeyedJson, ListParams, Page, Path, Query};

/// Base URL of the server as clients see it, without a trailing slash: configured, or else from the request.
pub struct BaseUrl(String);

impl FromRequestParts<App> for BaseUrl {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> std::result::Result<Self, Self::Rejection> {
        if let Some(url) = &app.config.core.public_base_url {
            return Ok(Self(url.as_str().trim_end_matches('/').to_owned()));
        }
        // HTTP/2 sends the host in the URI.
        let host =
            parts.headers.get(header::HOST).and_then(|host| host.to_str().ok()).or(parts.uri.authority().map(http::uri::Authority::as_str));
        let host = host.filter(|host| host.parse::<http::uri::Authority>().is_ok_and(|authority| !authority.as_str().contains('@')));
        Ok(Self(match host {
            Some(host) => format!("http://{host}"),
            None => format!("http://localhost:{}", app.config.core.port),
        }))
    }
}

/// List files
///
/// Own files, newest first.
#[utoipa::path(get, path = "/files", operation_id = "listFiles", tag = "files", params(ListParams, FileFilter),
    responses((status = 200, body = Page<FileRead>)))]
pub async fn list(
    State(app): State<App>,
    user: CurrentUser,
    Query(params): Query<ListParams>,
    Query(filter): Query<FileFilter>,
) -> Result<Json<Page<FileRead>>> {
    Ok(Json(service::list(&user.id, filter.status).page(&app.db, &app.cursors, params).await?))
}

/// Request an upload
///
/// Send the bytes to `upload_url` within an hour: with `PUT` as they are, under the declared `Content-Type`; with `POST` as a form
/// of all `fields` and then `file`. Then confirm. 400 if 100 uploads are pending, or together more than 1 GiB; 403 if the plan
/// allows no more storage.
#[utoipa::path(post, path = "/files/upload-url", operation_id = "requestUpload", tag = "files",
    params(("Idempotency-Key" = Option<String>, Header, max_length = 255, description = "A repeated request with this key gets the first answer again")),
    request_body = RequestUpload, responses((status = 201, body = UploadUrl), (status = 403, description = "PLAN_LIMIT_EXCEEDED"), (status = 502)))]
pub async fn request_upload(State(app): State<App>, user: CurrentUser, base: BaseUrl, body: KeyedJson<RequestUpload>) -> Result<Response> {
    let (file, upload) = service::prepare_upload(&app, &user, body.value, &base.0).await?;
    idempotent(app.answers(), &user.id, body.key, async |tx| {
        let quota = service::insert_pending(&app, tx, &file).await?;
        Ok(Created { body: upload, location: None, quota })
    })
    .await
}

/// Confirm an upload
///
/// 400 if the bytes were not sent, are more than declared, are not a picture or PDF though declared as one, or were confirmed
/// before.
#[utoipa::path(post, path = "/files/confirm", operation_id = "confirmUpload", tag = "files", request_body = ConfirmUpload,
    responses((status = 200, body = FileRead), (status = 404), (status = 502)))]
pub async fn confirm(State(app): State<App>, user: CurrentUser, Json(body): Json<ConfirmUpload>) -> Result<Json<FileRead>> {
    Ok(Json(service::confirm(&app, &user, &body.file_id).await?.into()))
}

/// Get a file
#[utoipa::path(get, path = "/files/{file_id}", operation_id = "getFile", tag = "files", params(("file_id" = String, Path)),
    responses((status = 200, body = FileRead)))]
pub async fn get(State(app): State<App>, user: CurrentUser, Path(id): Path<FileId>) -> Result<Json<FileRead>> {
    Ok(Json(service::get(&app, &user, id).await?.into()))
}

/// Get a download URL
///
/// The URL gives the file's bytes for an hour.
#[utoipa::path(get, path = "/files/{file_id}/download-url", operation_id = "getDownloadUrl", tag = "files",
    params(("file_id" = String, Path)), responses((status = 200, body = DownloadUrl), (status = 400), (status = 502)))]
pub async fn download_url(State(app): State<App>, user: CurrentUser, base: BaseUrl, Path(id): Path<FileId>) -> Result<Json<DownloadUrl>> {
    Ok(Json(service::download_url(&app, &user, id, &base.0).await?))
}

/// Delete a file
///
/// Removes its bytes, too.
#[utoipa::path(delete, path = "/files/{file_id}", operation_id = "deleteFile", tag = "files", params(("file_id" = String, Path)),
    responses((status = 204), (status = 502)))]
pub async fn delete(State(app): State<App>, user: CurrentUser, Path(id): Path<FileId>) -> Result<StatusCode> {
    service::delete(&app, &user, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
