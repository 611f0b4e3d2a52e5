//! The floor: a minimal axum and sqlx server for the hot routes, the baseline of the comparison.
//!
//! It verifies the bearer token, reads the user by subject, runs the one or two statements of the route and writes JSON. It has
//! no middleware, validation, log, limit or cache. The difference to our server is the cost of these layers.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use axum::body::Body;
use axum::extract::{FromRequestParts, Path, Request, State};
use axum::http::StatusCode;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use chrono::{DateTime, Utc};
use futures_util::StreamExt;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::{Deserialize, Serialize};
use sqlx::postgres::{PgPool, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use tokio::fs::File;
use tokio::io::{AsyncWriteExt, BufWriter};
use tokio::net::TcpListener;
use tower_http::services::ServeFile;
use uuid::Uuid;

use crate::SUBJECT;

const PAGE: i64 = 20;

const POSTGRES_TABLES: &str = "
    CREATE TABLE IF NOT EXISTS users (
        id text PRIMARY KEY, external_id text UNIQUE, email text NOT NULL, full_name text,
        is_active boolean NOT NULL, created_at timestamptz NOT NULL);
    CREATE TABLE IF NOT EXISTS projects (
        id text PRIMARY KEY, owner_id text NOT NULL, name text NOT NULL, description text,
        created_at timestamptz NOT NULL, updated_at timestamptz NOT NULL, deleted_at timestamptz);
    CREATE INDEX IF NOT EXISTS projects_by_owner ON projects (owner_id, created_at);";

const SQLITE_TABLES: &str = "
    CREATE TABLE IF NOT EXISTS users (
        id text PRIMARY KEY, external_id text UNIQUE, email text NOT NULL, full_name text,
        is_active boolean NOT NULL, created_at text NOT NULL);
    CREATE TABLE IF NOT EXISTS projects (
        id text PRIMARY KEY, owner_id text NOT NULL, name text NOT NULL, description text,
        created_at text NOT NULL, updated_at text NOT NULL, deleted_at text);
    CREATE INDEX IF NOT EXISTS projects_by_owner ON projects (owner_id, created_at);";

#[derive(Serialize, sqlx::FromRow)]
struct User {
    id: String,
    email: String,
    full_name: Option<String>,
    is_active: bool,
    created_at: DateTime<Utc>,
}

#[derive(Serialize, sqlx::FromRow)]
struct Project {
    id: String,
    name: String,
    description: Option<String>,
    owner_id: String,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

#[derive(Deserialize)]
struct NewProject {
    name: String,
    description: Option<String>,
}

#[derive(Serialize)]
struct Page {
    items: Vec<Project>,
    total: i64,
    skip: i64,
    limit: i64,
}

/// Statements of the hot routes. The SQL is identical on both engines.
trait Store: Clone + Send + Sync + 'static {
    fn prepare(&self, tables: &'static str) -> impl Future<Output = sqlx::Result<()>> + Send;
    fn ping(&self) -> impl Future<Output = sqlx::Result<i32>> + Send;
    fn user(&self, subject: &str) -> impl Future<Output = sqlx::Result<Option<User>>> + Send;
    fn project(&self, id: &str, owner: &str) -> impl Future<Output = sqlx::Result<Option<Project>>> + Send;
    fn newest(&self, owner: &str) -> impl Future<Output = sqlx::Result<Vec<Project>>> + Send;
    fn count(&self, owner: &str) -> impl Future<Output = sqlx::Result<i64>> + Send;
    fn insert(&self, owner: &str, new: &NewProject) -> impl Future<Output = sqlx::Result<Project>> + Send;
}

macro_rules! store {
    ($pool:ty) => {
        impl Store for $pool {
            async fn prepare(&self, tables: &'static str) -> sqlx::Result<()> {
                sqlx::raw_sql(tables).execute(self).await?;
                let user = "INSERT INTO users (id, external_id, email, full_name, is_active, created_at)
                    VALUES ($1, $2, $3, 'Bench', $4, $5) ON CONFLICT (external_id) DO NOTHING";
                sqlx::query(user)
                    .bind(Uuid::now_v7().to_string())
                    .bind(SUBJECT)
                    .bind("bench@example.com")
                    .bind(true)
                    .bind(now())
                    .execute(self)
                    .await?;
                Ok(())
            }

            async fn ping(&self) -> sqlx::Result<i32> {
                sqlx::query_scalar("SELECT 1").fetch_one(self).await
            }

            async fn user(&self, subject: &str) -> sqlx::Result<Option<User>> {
                sqlx::query_as("SELECT id, email, full_name, is_active, created_at FROM users WHERE external_id = $1")
                    .bind(subject)
                    .fetch_optional(self)
                    .await
            }

            async fn project(&self, id: &str, owner: &str) -> sqlx::Result<Option<Project>> {
                let text = "SELECT id, name, description, owner_id, created_at, updated_at FROM projects
                    WHERE id = $1 AND owner_id = $2 AND deleted_at IS NULL";
                sqlx::query_as(text).bind(id).bind(owner).fetch_optional(self).await
            }

            async fn newest(&self, owner: &str) -> sqlx::Result<Vec<Project>> {
                let text = "SELECT id, name, description, owner_id, created_at, updated_at FROM projects
                    WHERE owner_id = $1 AND deleted_at IS NULL ORDER BY created_at DESC, id DESC LIMIT $2";
                sqlx::query_as(text).bind(owner).bind(PAGE).fetch_all(self).await
            }

            async fn count(&self, owner: &str) -> sqlx::Result<i64> {
                let text = "SELECT COUNT(*) FROM projects WHERE owner_id = $1 AND deleted_at IS NULL";
                sqlx::query_scalar(text).bind(owner).fetch_one(self).await
            }

            async fn insert(&self, owner: &str, new: &NewProject) -> sqlx::Result<Project> {
                let text = "INSERT INTO projects (id, owner_id, name, description, created_at, updated_at)
                    VALUES ($1, $2, $3, $4, $5, $5)
                    RETURNING id, name, description, owner_id, created_at, updated_at";
                sqlx::query_as(text)
                    .bind(Uuid::now_v7().to_string())
                    .bind(owner)
                    .bind(&new.name)
                    .bind(&new.description)
                    .bind(now())
                    .fetch_one(self)
                    .await
            }
        }
    };
}

store!(SqlitePool);
store!(PgPool);

#[derive(Clone)]
struct Floor<S> {
    store: S,
    keys: Arc<Keys>,
}

struct Keys {
    key: DecodingKey,
    validation: Validation,
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
}

/// The caller of a request with a valid token.
struct Caller(User);

impl<S: Store> FromRequestParts<Floor<S>> for Caller {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, floor: &Floor<S>) -> Result<Self, StatusCode> {
        let header = parts.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = header.and_then(|value| value.strip_prefix("Bearer ")).ok_or(StatusCode::UNAUTHORIZED)?;
        let verified =
            jsonwebtoken::decode::<Claims>(token, &floor.keys.key, &floor.keys.validation).map_err(|_| StatusCode::UNAUTHORIZED)?;
        let user = floor.store.user(&verified.claims.sub).await.map_err(failed)?;
        user.map(Self).ok_or(StatusCode::UNAUTHORIZED)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "map_err hands it over")]
fn failed(error: sqlx::Error) -> StatusCode {
    eprintln!("{error}");
    StatusCode::INTERNAL_SERVER_ERROR
}

#[expect(clippy::disallowed_methods, reason = "the floor has no clock of its own to set")]
fn now() -> DateTime<Utc> {
    Utc::now()
}

async fn health() -> Json<serde_json::Value> {
    Json(serde_json::json!({"status": "healthy", "timestamp": now()}))
}

async fn ready<S: Store>(State(floor): State<Floor<S>>) -> Result<Json<serde_json::Value>, StatusCode> {
    floor.store.ping().await.map_err(failed)?;
    Ok(health().await)
}

async fn me(Caller(user): Caller) -> Json<User> {
    Json(user)
}

async fn list<S: Store>(State(floor): State<Floor<S>>, Caller(user): Caller) -> Result<Json<Page>, StatusCode> {
    let items = floor.store.newest(&user.id).await.map_err(failed)?;
    let total = floor.store.count(&user.id).await.map_err(failed)?;
    Ok(Json(Page { items, total, skip: 0, limit: PAGE }))
}

async fn one<S: Store>(State(floor): State<Floor<S>>, Caller(user): Caller, Path(id): Path<String>) -> Result<Json<Project>, StatusCode> {
    let found = floor.store.project(&id, &user.id).await.map_err(failed)?;
    found.map(Json).ok_or(StatusCode::NOT_FOUND)
}

async fn create<S: Store>(
    State(floor): State<Floor<S>>,
    Caller(user): Caller,
    Json(new): Json<NewProject>,
) -> Result<(StatusCode, Json<Project>), StatusCode> {
    let made = floor.store.insert(&user.id, &new).await.map_err(failed)?;
    Ok((StatusCode::CREATED, Json(made)))
}

/// Streams a body to a file and syncs it to disk.
async fn take(Path(number): Path<u32>, body: Body) -> Result<StatusCode, StatusCode> {
    let failed = |error: std::io::Error| {
        eprintln!("{error}");
        StatusCode::INTERNAL_SERVER_ERROR
    };
    let file = File::create(format!("{number}.bin")).await.map_err(failed)?;
    let mut file = BufWriter::with_capacity(256 * 1024, file);
    let mut body = body.into_data_stream();
    while let Some(chunk) = body.next().await {
        file.write_all(&chunk.map_err(|_| StatusCode::BAD_REQUEST)?).await.map_err(failed)?;
    }
    file.flush().await.map_err(failed)?;
    file.get_ref().sync_all().await.map_err(failed)?;
    Ok(StatusCode::NO_CONTENT)
}

async fn fetch(Path(number): Path<u32>, request: Request) -> Result<impl IntoResponse, StatusCode> {
    ServeFile::new(format!("{number}.bin")).try_call(request).await.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
}

/// Runs the floor server; it reads a subset of our server's settings.
pub fn run() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        let url = setting("DATABASE_URL")?;
        if let Some(path) = url.strip_prefix("sqlite:///") {
            let options = SqliteConnectOptions::new()
                .filename(path)
                .create_if_missing(true)
                .journal_mode(SqliteJournalMode::Wal)
                .synchronous(SqliteSynchronous::Normal)
                .busy_timeout(Duration::from_secs(5));
            let pool = SqlitePoolOptions::new().max_connections(4).connect_with(options).await?;
            serve(pool, SQLITE_TABLES).await
        } else {
            let pool = PgPoolOptions::new().max_connections(10).connect(&url).await?;
            serve(pool, POSTGRES_TABLES).await
        }
    })
}

async fn serve<S: Store>(store: S, tables: &'static str) -> Result<()> {
    store.prepare(tables).await?;
    let key = DecodingKey::from_secret(setting("OAUTH_JWT_SECRET")?.as_bytes());
    let mut validation = Validation::new(Algorithm::HS256);
    validation.validate_aud = false;
    let floor = Floor { store, keys: Arc::new(Keys { key, validation }) };

    let router = Router::new()
        .route("/api/v1/public/health", get(health))
        .route("/api/v1/public/health/ready", get(ready::<S>))
        .route("/api/v1/app/users/me", get(me))
        .route("/api/v1/app/projects", get(list::<S>).post(create::<S>))
        .route("/api/v1/app/projects/{id}", get(one::<S>))
        .route("/files/{number}", get(fetch).put(take))
        .with_state(floor);
    let port: u16 = setting("PORT")?.parse()?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    axum::serve(listener, router).await?;
    Ok(())
}

fn setting(name: &str) -> Result<String> {
    std::env::var(name).with_context(|| format!("{name} is not set"))
}
