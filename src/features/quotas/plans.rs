//! The plans and their quotas. A plan or a limit is changed here, and nowhere else.

use std::collections::BTreeMap;

/// Written instead of a limit where there is none.
const UNLIMITED: i64 = -1;

/// Something that plans limit for each month in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quota {
    AiRequests,
}

impl Quota {
    /// The name in errors and in the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::AiRequests => "ai_requests",
        }
    }
}

/// A plan, under the name that is stored with its users.
struct Plan {
    name: &'static str,
    ai_requests: i64,
}

/// The plan of users without a running subscription, and of those whose plan is unknown.
const FREE: Plan = Plan { name: "free", ai_requests: 50 };

const PLANS: [Plan; 3] = [FREE, Plan { name: "pro", ai_requests: 2_000 }, Plan { name: "enterprise", ai_requests: UNLIMITED }];

impl Plan {
    fn limit(&self, quota: Quota) -> i64 {
        match quota {
            Quota::AiRequests => self.ai_requests,
        }
    }
}

/// The limits of a quota by plan.
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
