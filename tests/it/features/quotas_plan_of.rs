//! The plan of a user as other features read it.

use omnistack::features::quotas::Quota;
use omnistack::features::quotas::model::UserPlan;
use omnistack::features::quotas::service::{plan_of, standing};
use omnistack::platform::error::Error;
use omnistack::platform::id::UserId;

use super::quotas::{LIMITED, set_plan};
use crate::harness::{Backend, TestApp};

crate::on_both_backends![plan_of_user_is_read_with_its_limits, unknown_user_has_free_plan_and_no_allowance];

const FREE: UserPlan = UserPlan { name: "free", api_calls: Some(1_000), ai_requests: Some(50), storage_mb: Some(100) };
const PRO: UserPlan = UserPlan { name: "pro", api_calls: Some(50_000), ai_requests: Some(2_000), storage_mb: Some(10_000) };
const ENTERPRISE: UserPlan = UserPlan { name: "enterprise", api_calls: None, ai_requests: None, storage_mb: None };

async fn plan_of_user_is_read_with_its_limits(b: Backend) {
    let t = TestApp::start(b).await;
    t.user("amy").await;
    let amy = UserId::parse("amy").unwrap();
    assert_eq!(plan_of(&t.app.db, &amy).await.unwrap(), FREE);
    for (plan, status, expected) in [
        ("'pro'", "'active'", PRO),
        ("'pro'", "'trialing'", PRO),
        ("'enterprise'", "'active'", ENTERPRISE),
        ("'enterprise'", "'past_due'", FREE),
        ("'pro'", "'canceled'", FREE),
        ("'pro'", "NULL", FREE),
        ("'free'", "'active'", FREE),
        ("'gold'", "'active'", FREE),
        ("'PRO'", "'active'", FREE),
        ("NULL", "'active'", FREE),
    ] {
        set_plan(&t, plan, status).await;
        assert_eq!(plan_of(&t.app.db, &amy).await.unwrap(), expected, "{plan} {status}");
        let mut tx = t.app.db.begin().await.unwrap();
        assert_eq!(plan_of(&mut tx, &amy).await.unwrap(), expected, "{plan} {status}");
    }
}

/// As when the user is erased while the request is under way.
async fn unknown_user_has_free_plan_and_no_allowance(b: Backend) {
    let t = TestApp::with(b, &[LIMITED]).await;
    let ghost = UserId::parse("ghost").unwrap();
    assert_eq!(plan_of(&t.app.db, &ghost).await.unwrap(), FREE);
    let mut tx = t.app.db.begin().await.unwrap();
    let outcome = standing(&t.app, &mut tx, &ghost, Quota::Projects).await;
    assert!(matches!(outcome, Err(Error::Unauthenticated(_))), "{outcome:?}");
}
