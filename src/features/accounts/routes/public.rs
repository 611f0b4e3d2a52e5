//! `/public/auth…`.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use utoipa_axum::routes;

use super::local;
use crate::app::{App, Routes};
use crate::features::accounts::model::{
    Address, AuthConfig, Device, Login, MailedToken, Message, RefreshToken, Register, ResetPassword, Session,
};
use crate::features::accounts::service::{self, Registered};
use crate::platform::error::Result;
use crate::platform::http::Json;

pub fn public() -> Routes {
    Routes::new()
        .add(routes!(config))
        .add_with(local(), routes!(register))
        .add_with(local(), routes!(login))
        .add_with(local(), routes!(refresh))
        .add_with(local(), routes!(logout))
        .add_with(local(), routes!(verify_email))
        .add_with(local(), routes!(resend_verification))
        .add_with(local(), routes!(forgot_password))
        .add_with(local(), routes!(reset_password))
}

/// The same words for every address, whoever has it.
fn by_mail() -> Response {
    (StatusCode::ACCEPTED, Json(Message { message: "If that is possible, a mail is on its way" })).into_response()
}

/// How people get in: whose accounts they are, and what registering asks for.
#[utoipa::path(get, path = "/auth/config", operation_id = "getAuthConfig", tag = "auth", responses((status = 200, body = AuthConfig)))]
async fn config(State(app): State<App>) -> Json<AuthConfig> {
    Json(service::config(&app))
}

/// Make an account.
///
/// 201 with a session; or, where addresses must be verified first, always 202, and a mail says how it goes on.
#[utoipa::path(post, path = "/auth/register", operation_id = "register", tag = "auth", request_body = Register,
    responses((status = 201, body = Session), (status = 202, body = Message), (status = 403), (status = 409)))]
async fn register(State(app): State<App>, device: Device, Json(body): Json<Register>) -> Result<Response> {
    Ok(match service::register(&app, body, device).await? {
        Registered::In(session) => (StatusCode::CREATED, Json(session)).into_response(),
        Registered::ByMail => by_mail(),
    })
}

/// Log in.
///
/// 401 for every cause. 403 after the right password: the account is deactivated, or its address must be verified first.
#[utoipa::path(post, path = "/auth/login", operation_id = "login", tag = "auth", request_body = Login,
    responses((status = 200, body = Session), (status = 401), (status = 403)))]
async fn login(State(app): State<App>, device: Device, Json(body): Json<Login>) -> Result<Json<Session>> {
    Ok(Json(service::login(&app, body, device).await?))
}

/// Exchange a refresh token for a new pair of tokens.
///
/// Each is used once. Sent again within 10 seconds it gives the same successor; later it ends the session, for then
/// somebody has a copy.
#[utoipa::path(post, path = "/auth/refresh", operation_id = "refreshSession", tag = "auth", request_body = RefreshToken,
    responses((status = 200, body = Session), (status = 401)))]
async fn refresh(State(app): State<App>, Json(body): Json<RefreshToken>) -> Result<Json<Session>> {
    Ok(Json(service::refresh(&app, &body).await?))
}

/// Log out: end the session of a refresh token.
#[utoipa::path(post, path = "/auth/logout", operation_id = "logout", tag = "auth", request_body = RefreshToken, responses((status = 204)))]
async fn logout(State(app): State<App>, Json(body): Json<RefreshToken>) -> Result<StatusCode> {
    service::log_out(&app, &body).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Verify an e-mail address with the token of the mail.
#[utoipa::path(post, path = "/auth/verify-email", operation_id = "verifyEmail", tag = "auth", request_body = MailedToken,
    responses((status = 200, body = Message)))]
async fn verify_email(State(app): State<App>, Json(body): Json<MailedToken>) -> Result<Json<Message>> {
    service::verify_email(&app, &body.token).await?;
    Ok(Json(Message { message: "The e-mail address is verified" }))
}

/// Ask for another verification mail.
///
/// Always 202, also where there is nothing to verify.
#[utoipa::path(post, path = "/auth/resend-verification", operation_id = "resendVerification", tag = "auth", request_body = Address,
    responses((status = 202, body = Message)))]
async fn resend_verification(State(app): State<App>, Json(body): Json<Address>) -> Result<Response> {
    service::resend_verification(&app, &body.email).await?;
    Ok(by_mail())
}

/// Ask for a mail with a link to choose a new password.
///
/// Always 202, also where nobody has the address.
#[utoipa::path(post, path = "/auth/forgot-password", operation_id = "forgotPassword", tag = "auth", request_body = Address,
    responses((status = 202, body = Message)))]
async fn forgot_password(State(app): State<App>, Json(body): Json<Address>) -> Result<Response> {
    service::forgot_password(&app, &body.email).await?;
    Ok(by_mail())
}

/// Choose a new password with the token of the mail.
///
/// Ends every session, and verifies the address.
#[utoipa::path(post, path = "/auth/reset-password", operation_id = "resetPassword", tag = "auth", request_body = ResetPassword,
    responses((status = 200, body = Message)))]
async fn reset_password(State(app): State<App>, device: Device, Json(body): Json<ResetPassword>) -> Result<Json<Message>> {
    service::reset_password(&app, &body, &device).await?;
    Ok(Json(Message { message: "The password is changed; log in with the new one" }))
}
