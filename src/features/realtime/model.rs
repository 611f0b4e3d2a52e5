//! The status as users see it.

use serde::Serialize;
use utoipa::ToSchema;

#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"status": "running", "local_connections": 3, "local_users": 2, "total_online_users": 5, "online_user_ids": []}))]
pub struct SocketStatus {
    /// Always `running`.
    pub status: &'static str,
    /// Connections to this instance.
    pub local_connections: usize,
    /// Users connected to this instance.
    pub local_users: usize,
    /// Users connected to any instance.
    pub total_online_users: usize,
    /// Up to 100 of them, for administrators; empty for others.
    pub online_user_ids: Vec<String>,
}
