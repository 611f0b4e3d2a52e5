//! `/public/auth…`.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;

use crate::app::App;
use crate::features::accounts::model::{
    Address, AuthConfig, AuthMessage, AuthSession, Device, Login, MailedToken, RefreshToken, Register, ResetPassword,
};
use crate::features::accounts::service::{self, Registered};
use crate::platform::error::Result;
use crate::platform::http::Json;

/// Returns 202 with the same message for every address, whether or not it has an account.
fn by_mail() -> Response {
    (StatusCode::ACCEPTED, Json(AuthMessage { message: "If that is possible, a mail is on its way" })).into_response()
}

/// Get the login configuration
///
/// The provider of accounts, and what registration requires.
#[utoipa::path(get, path = "/auth/config", operation_id = "getAuthConfig", tag = "auth", responses((status = 200, body = AuthConfig)))]
pub async fn config(State(app): State<App>) -> Json<AuthConfig> {
    Json(service::config(&app))
}

/// Register
///
/// 201 with a session; or always 202 where addresses must be verified first: a mail has the next step.
#[utoipa::path(post, path = "/auth/register", operation_id = "register", tag = "auth", request_body = Register,
    responses((status = 201, body = AuthSession), (status = 202, body = AuthMessage), (status = 403), (status = 409)))]
pub async fn register(State(app): State<App>, device: Device, Json(body): Json<Register>) -> Result<Response> {
    Ok(match service::register(&app, body, device).await? {
        Registered::In(session) => (StatusCode::CREATED, Json(session)).into_response(),
        Registered::ByMail => by_mail(),
    })
}

/// Log in
///
/// 401 for every cause. 403 after the right password: the account is deactivated, or its address must be verified first.
#[utoipa::path(post, path = "/auth/login", operation_id = "login", tag = "auth", request_body = Login,
    responses((status = 200, body = AuthSession), (status = 401), (status = 403)))]
pub async fn login(State(app): State<App>, device: Device, Json(body): Json<Login>) -> Result<Json<AuthSession>> {
    Ok(Json(service::login(&app, body, device).await?))
}

/// Refresh a session
///
/// Exchanges a refresh token for a new pair of tokens. A refresh token is used once. Sent again within 10 seconds it gives the
/// same successor; later it ends the session, because then a copy of it exists.
#[utoipa::path(post, path = "/auth/refresh", operation_id = "refreshSession", tag = "auth", request_body = RefreshToken,
    responses((status = 200, body = AuthSession), (status = 401)))]
pub async fn refresh(State(app): State<App>, Json(body): Json<RefreshToken>) -> Result<Json<AuthSession>> {
    Ok(Json(service::refresh(&app, &body).await?))
}

/// Log out
///
/// Ends the session of a refresh token.
#[utoipa::path(post, path = "/auth/logout", operation_id = "logout", tag = "auth", request_body = RefreshToken, responses((status = 204)))]
pub async fn logout(State(app): State<App>, Json(body): Json<RefreshToken>) -> Result<StatusCode> {
    service::log_out(&app, &body).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Verify an e-mail address
///
/// With the token of the mail.
#[utoipa::path(post, path = "/auth/verify-email", operation_id = "verifyEmail", tag = "auth", request_body = MailedToken,
    responses((status = 200, body = AuthMessage)))]
pub async fn verify_email(State(app): State<App>, Json(body): Json<MailedToken>) -> Result<Json<AuthMessage>> {
    service::verify_email(&app, &body.token).await?;
    Ok(Json(AuthMessage { message: "The e-mail address is verified" }))
}

/// Resend the verification mail
///
/// Always 202, also where there is nothing to verify.
#[utoipa::path(post, path = "/auth/resend-verification", operation_id = "resendVerification", tag = "auth", request_body = Address,
    responses((status = 202, body = AuthMessage)))]
pub async fn resend_verification(State(app): State<App>, Json(body): Json<Address>) -> Result<Response> {
    service::resend_verification(&app, &body.email).await?;
    Ok(by_mail())
}

/// Request a password reset
///
/// Sends a mail with a link. Always 202, also for addresses without an account.
#[utoipa::path(post, path = "/auth/forgot-password", operation_id = "forgotPassword", tag = "auth", request_body = Address,
    responses((status = 202, body = AuthMessage)))]
pub async fn forgot_password(State(app): State<App>, Json(body): Json<Address>) -> Result<Response> {
    service::forgot_password(&app, &body.email).await?;
    Ok(by_mail())
}

/// Reset a password
///
/// With the token of the mail. Ends every session, and verifies the address.
#[utoipa::path(post, path = "/auth/reset-password", operation_id = "resetPassword", tag = "auth", request_body = ResetPassword,
    responses((status = 200, body = AuthMessage)))]
pub async fn reset_password(State(app): State<App>, device: Device, Json(body): Json<ResetPassword>) -> Result<Json<AuthMessage>> {
    service::reset_password(&app, &body, &device).await?;
    Ok(Json(AuthMessage { message: "The password is changed; log in with the new one" }))
}
