//! The project: its row, its API view, and the request bodies that create and change it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::platform::http::list::{Listed, SortKey};
use crate::platform::http::present;
use crate::platform::id::{Id, Resource, UserId};

pub type ProjectId = Id<Project>;

/// A row of `projects`. Never serialized directly, so that a new column does not reach clients by accident.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Project {
    pub id: ProjectId,
    pub name: String,
    pub description: Option<String>,
    pub owner_id: UserId,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

impl Resource for Project {
    const NAME: &'static str = "Project";
}

impl Listed for Project {
    fn sort_key(&self) -> SortKey {
        SortKey::Time(self.created_at)
    }

    fn id(&self) -> String {
        self.id.to_string()
    }
}

/// A row with its folded name, the sort key of a search.
#[derive(Debug, sqlx::FromRow)]
pub struct ProjectWithSortKey {
    #[sqlx(flatten)]
    pub project: Project,
    pub name_folded: String,
}

impl Listed for ProjectWithSortKey {
    fn sort_key(&self) -> SortKey {
        SortKey::Text(self.name_folded.clone())
    }

    fn id(&self) -> String {
        self.project.id.to_string()
    }
}

/// A project as its owner sees it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "id": "0199f3b0-7c1e-7d2a-9f2e-6f0f3c1b2a4d", "name": "Apollo", "description": "To the moon", "owner_id": "user_1",
    "created_at": "2026-01-10T12:00:00.123456Z", "updated_at": "2026-01-10T12:00:00.123456Z"
}))]
pub struct ProjectRead {
    #[schema(value_type = String, format = "uuid")]
    pub id: ProjectId,
    pub name: String,
    pub description: Option<String>,
    pub owner_id: UserId,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

impl From<Project> for ProjectRead {
    fn from(project: Project) -> Self {
        Self {
            id: project.id,
            name: project.name,
            description: project.description,
            owner_id: project.owner_id,
            created_at: project.created_at,
            updated_at: project.updated_at,
        }
    }
}

impl From<ProjectWithSortKey> for ProjectRead {
    fn from(row: ProjectWithSortKey) -> Self {
        row.project.into()
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(example = json!({"name": "Apollo", "description": "To the moon"}))]
pub struct CreateProject {
    /// Must contain more than white space. Need not be unique.
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
