//! The project and the bodies that make and change it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::features::users::model::UserId;
use crate::platform::http::present;
use crate::platform::id::Id;

pub type ProjectId = Id<Project>;

/// A project as its owner sees it.
#[derive(Debug, Clone, Serialize, sqlx::FromRow, ToSchema)]
#[schema(as = ProjectRead, example = json!({
    "id": "0199f3b0-7c1e-7d2a-9f2e-6f0f3c1b2a4d", "name": "Apollo", "description": "To the moon", "owner_id": "user_1",
    "created_at": "2026-01-10T12:00:00.123456Z", "updated_at": "2026-01-10T12:00:00.123456Z"
}))]
pub struct Project {
    #[schema(value_type = String, format = "uuid")]
    pub id: ProjectId,
    pub name: String,
    pub description: Option<String>,
    pub owner_id: UserId,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// A project with the form by which a search orders it.
#[derive(sqlx::FromRow)]
pub struct Found {
    #[sqlx(flatten)]
    pub project: Project,
    pub name_folded: String,
}

impl From<Found> for Project {
    fn from(found: Found) -> Self {
        found.project
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(example = json!({"name": "Apollo", "description": "To the moon"}))]
pub struct CreateProject {
    /// Not only white space. Need not be unique.
    #[schema(min_length = 1, max_length = 255, pattern = r"\S")]
    pub name: String,
    #[serde(default)]
    #[schema(max_length = 2000)]
    pub description: Option<String>,
}

/// Absent members stay; `null` clears the description.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(example = json!({"name": "Gemini"}))]
pub struct UpdateProject {
    #[schema(value_type = String, required = false, min_length = 1, max_length = 255, pattern = r"\S")]
    pub name: Option<String>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>, max_length = 2000)]
    pub description: Option<Option<String>>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ProjectSearch {
    /// Only projects whose name contains this text, ignoring case; then ordered by name.
    #[param(max_length = 255, required = false, value_type = String)]
    pub search: Option<String>,
}
