//! `/app/files…`.

use axum::extract::{FromRequestParts, State};
use axum::response::Response;
use http::request::Parts;
use http::{StatusCode, header};
use utoipa_axum::routes;

use crate::app::{App, Routes};
use crate::features::files::model::{ConfirmUpload, DownloadUrl, File, FileFilter, FileRead, RequestUpload, Status, UploadUrl};
use crate::features::files::service;
use crate::features::users::extract::CurrentUser;
use crate::platform::error::Result;
use crate::platform::http::idempotency::{Once, Start};
use crate::platform::http::list::{ListParams, Listing, Window, position_in_time};
use crate::platform::http::{Json, KeyedJson, PathParam, Query};

pub fn app() -> Routes {
    Routes::new().add(routes!(list)).add(routes!(request_upload)).add(routes!(confirm)).add(routes!(get, delete)).add(routes!(download_url))
}

/// How the client reaches us, without a slash at its end: configured, else by the name that it asked for.
struct BaseUrl(String);

impl FromRequestParts<App> for BaseUrl {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> std::result::Result<Self, Self::Rejection> {
        if let Some(url) = &app.config.core.public_base_url {
            return Ok(Self(url.as_str().trim_end_matches('/').to_owned()));
        }
        // HTTP/2 has it in the address.
        let host =
            parts.headers.get(header::HOST).and_then(|host| host.to_str().ok()).or(parts.uri.authority().map(http::uri::Authority::as_str));
        let host = host.filter(|host| host.parse::<http::uri::Authority>().is_ok_and(|authority| !authority.as_str().contains('@')));
        Ok(Self(match host {
            Some(host) => format!("http://{host}"),
            None => format!("http://localhost:{}", app.config.core.port),
        }))
    }
}

/// Own files, newest first.
#[utoipa::path(get, path = "/files", operation_id = "listFiles", tag = "files", params(ListParams, FileFilter),
    responses((status = 200, body = Listing<FileRead>)))]
async fn list(
    State(app): State<App>,
    user: CurrentUser,
    Query(params): Query<ListParams>,
    Query(filter): Query<FileFilter>,
) -> Result<Json<Listing<FileRead>>> {
    let status = filter.status;
    let name = match status {
        None => "all",
        Some(Status::Pending) => "pending",
        Some(Status::Uploaded) => "uploaded",
    };
    let scope = ["files", user.id.as_str(), name];
    let wanted = params.wanted(&app.cursors, &scope)?;
    Ok(Json(match wanted.window {
        Window::Skip(skip) => {
            let (files, total) = service::page(&app, &user.id, status, wanted.limit, skip).await?;
            Listing::Page { items: files.into_iter().map(Into::into).collect(), total, skip, limit: wanted.limit }
        }
        Window::After(position) => {
            let files = service::page_after(&app, &user.id, status, position, wanted.limit).await?;
            Listing::by_cursor(files, wanted.limit, &app.cursors, &scope, |file: &File| {
                position_in_time(file.created_at, file.id.to_string())
            })
        }
    }))
}

/// Ask to upload a file.
///
/// Send the bytes to `upload_url` within an hour: with `PUT` as they are, under the declared `Content-Type`; with `POST` as a form
/// of all `fields` and then `file`. Then confirm.
#[utoipa::path(post, path = "/files/upload-url", operation_id = "requestUpload", tag = "files",
    params(("Idempotency-Key" = Option<String>, Header, max_length = 255, description = "Repeating the request with this key answers the first answer again")),
    request_body = RequestUpload, responses((status = 201, body = UploadUrl), (status = 502)))]
async fn request_upload(State(app): State<App>, user: CurrentUser, base: BaseUrl, body: KeyedJson<RequestUpload>) -> Result<Response> {
    let mut once = match Once::begin(&app.db, &app.keys, user.id.as_str(), body.key, app.clock.now()).await? {
        Start::Replay(answer) => return Ok(answer),
        Start::Run(once) => once,
    };
    let upload = service::request_upload(&app, once.on(), &user.id, body.value, &base.0).await?;
    once.finish(StatusCode::CREATED, None, &upload).await
}

/// Say that the bytes were sent.
///
/// 400 where they have not come, are more than declared, are no picture or PDF though declared as one, or were confirmed before.
#[utoipa::path(post, path = "/files/confirm", operation_id = "confirmUpload", tag = "files", request_body = ConfirmUpload,
    responses((status = 200, body = FileRead), (status = 404), (status = 502)))]
async fn confirm(State(app): State<App>, user: CurrentUser, Json(body): Json<ConfirmUpload>) -> Result<Json<FileRead>> {
    Ok(Json(service::confirm(&app, &user.id, &body.file_id).await?.into()))
}

/// One of the own files.
#[utoipa::path(get, path = "/files/{file_id}", operation_id = "getFile", tag = "files", params(("file_id" = String, Path)),
    responses((status = 200, body = FileRead)))]
async fn get(State(app): State<App>, user: CurrentUser, PathParam(id): PathParam) -> Result<Json<FileRead>> {
    Ok(Json(service::get(&app, &user.id, &id).await?.into()))
}

/// An address to fetch the bytes from, for an hour.
#[utoipa::path(get, path = "/files/{file_id}/download-url", operation_id = "getDownloadUrl", tag = "files",
    params(("file_id" = String, Path)), responses((status = 200, body = DownloadUrl), (status = 400), (status = 502)))]
async fn download_url(State(app): State<App>, user: CurrentUser, base: BaseUrl, PathParam(id): PathParam) -> Result<Json<DownloadUrl>> {
    Ok(Json(service::download_url(&app, &user.id, &id, &base.0).await?))
}

/// Delete a file and its bytes.
#[utoipa::path(delete, path = "/files/{file_id}", operation_id = "deleteFile", tag = "files", params(("file_id" = String, Path)),
    responses((status = 204), (status = 502)))]
async fn delete(State(app): State<App>, user: CurrentUser, PathParam(id): PathParam) -> Result<StatusCode> {
    service::delete(&app, &user.id, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}
