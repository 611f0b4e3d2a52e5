//! The plans and their quotas. A plan, a quota or a limit is changed here, and nowhere else.

use std::collections::BTreeMap;

use super::model::UserPlan;

/// Written instead of a limit where there is none.
pub(super) const UNLIMITED: i64 = -1;
/// Plans count storage in MB, which are MiB.
const MIB: i64 = 1 << 20;

/// Something that plans limit: monthly quotas for each month in UTC, standing quotas at any time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quota {
    /// Monthly.
    ApiCalls,
    /// Monthly.
    AiRequests,
    /// Standing, counted in bytes.
    StorageMb,
    /// Standing.
    Projects,
    /// Standing.
    TeamMembers,
}

impl Quota {
    /// The name in errors and in the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::ApiCalls => "api_calls",
            Self::AiRequests => "ai_requests",
            Self::StorageMb => "storage_mb",
            Self::Projects => "projects",
            Self::TeamMembers => "team_members",
        }
    }

    /// How much of what is counted is one of the limit.
    pub(super) fn unit(self) -> i64 {
        match self {
            Self::StorageMb => MIB,
            Self::ApiCalls | Self::AiRequests | Self::Projects | Self::TeamMembers => 1,
        }
    }
}

/// A plan, under the name that is stored with its users.
pub(super) struct Plan {
    name: &'static str,
    api_calls: i64,
    ai_requests: i64,
    storage_mb: i64,
    projects: i64,
    team_members: i64,
}

/// The plan of users without a running subscription, and of those whose plan is unknown.
const FREE: Plan = Plan { name: "free", api_calls: 1_000, ai_requests: 50, storage_mb: 100, projects: 3, team_members: 1 };
const PRO: Plan = Plan { name: "pro", api_calls: 50_000, ai_requests: 2_000, storage_mb: 10_000, projects: 50, team_members: 10 };
const ENTERPRISE: Plan = Plan {
    name: "enterprise",
    api_calls: UNLIMITED,
    ai_requests: UNLIMITED,
    storage_mb: UNLIMITED,
    projects: UNLIMITED,
    team_members: UNLIMITED,
};

static PLANS: [Plan; 3] = [FREE, PRO, ENTERPRISE];

impl Plan {
    /// The plan with this name; without a name, or with an unknown one, the free plan.
    pub(super) fn named(name: Option<&str>) -> &'static Self {
        let [free, ..] = &PLANS;
        PLANS.iter().find(|plan| Some(plan.name) == name).unwrap_or(free)
    }

    /// The limit of a quota; [`UNLIMITED`] if there is none.
    pub(super) fn limit(&self, quota: Quota) -> i64 {
        match quota {
            Quota::ApiCalls => self.api_calls,
            Quota::AiRequests => self.ai_requests,
            Quota::StorageMb => self.storage_mb,
            Quota::Projects => self.projects,
            Quota::TeamMembers => self.team_members,
        }
    }
}

impl From<&Plan> for UserPlan {
    fn from(plan: &Plan) -> Self {
        let limit = |quota| Some(plan.limit(quota)).filter(|limit| *limit != UNLIMITED);
        Self {
            name: plan.name,
            api_calls: limit(Quota::ApiCalls),
            ai_requests: limit(Quota::AiRequests),
            storage_mb: limit(Quota::StorageMb),
        }
    }
}

/// The limits of a quota by plan, for statements that choose the limit themselves.
pub struct Limits {
    pub by_plan: BTreeMap<&'static str, i64>,
    /// For users whose plan does not count.
    pub default: i64,
}

impl Limits {
    pub fn of(quota: Quota) -> Self {
        Self { by_plan: PLANS.iter().map(|plan| (plan.name, plan.limit(quota))).collect(), default: FREE.limit(quota) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_those_of_the_table() {
        let quotas = [Quota::ApiCalls, Quota::AiRequests, Quota::StorageMb, Quota::Projects, Quota::TeamMembers];
        for (name, limits) in [
            (Some("free"), [1_000, 50, 100, 3, 1]),
            (Some("pro"), [50_000, 2_000, 10_000, 50, 10]),
            (Some("enterprise"), [-1; 5]),
            (Some("PRO"), [1_000, 50, 100, 3, 1]),
            (None, [1_000, 50, 100, 3, 1]),
        ] {
            assert_eq!(quotas.map(|quota| Plan::named(name).limit(quota)), limits, "{name:?}");
        }
        assert_eq!(quotas.map(Quota::name), ["api_calls", "ai_requests", "storage_mb", "projects", "team_members"]);
    }
}
