//! Query plans of the queries whose cost grows with the data: they must use an index and must not sort.

use omnistack::platform::db::{Pools, Registered};
use sqlx::{AssertSqlSafe, Executor, Row};

use crate::harness::Backend;
use crate::harness::database::{Database, connect};

crate::on_both_backends![
    plan_project_page_uses_index_without_sort,
    plan_project_next_page_seeks_into_index,
    plan_project_search_seeks_by_owner,
    plan_admin_user_list_uses_index_without_sort,
    plan_user_lookup_uses_unique_index,
    plan_maintenance_queries_use_index,
    plan_storage_sum_reads_index_only,
];

/// The plan of the only registered statement that contains all of the words.
async fn plan(b: Backend, words: &[&str]) -> String {
    let all: Vec<&str> = inventory::iter::<Registered>
        .into_iter()
        .map(|Registered(sql)| sql)
        .filter(|sql| sql.place.0.starts_with("src/") && words.iter().all(|word| sql.text.contains(word)))
        .map(|sql| sql.text)
        .collect();
    let [text] = all.as_slice() else { panic!("{words:?} must match one statement, but matches {all:#?}") };
    let database = Database::create(b).await;
    let (db, _) = connect(&database.url).await;
    match &db.pools {
        Pools::Sqlite { .. } => database.texts(&db, &format!("EXPLAIN QUERY PLAN {text}")).await.join("\n"),
        Pools::Postgres(pool) => {
            let arguments = (1..10).filter(|n| text.contains(&format!("${n}"))).map(|_| "NULL").collect::<Vec<_>>().join(", ");
            let arguments = if arguments.is_empty() { arguments } else { format!("({arguments})") };
            let mut connection = pool.acquire().await.unwrap();
            // On an empty table Postgres prefers a full scan; the test checks whether the index can be used.
            for setting in ["enable_seqscan = off", "enable_bitmapscan = off", "enable_sort = off", "plan_cache_mode = force_generic_plan"]
            {
                connection.execute(AssertSqlSafe(format!("SET {setting}"))).await.unwrap();
            }
            connection.execute(sqlx::raw_sql(AssertSqlSafe(format!("PREPARE asked AS {text}")))).await.unwrap();
            let explain = sqlx::raw_sql(AssertSqlSafe(format!("EXPLAIN EXECUTE asked{arguments}")));
            let rows = connection.fetch_all(explain).await.unwrap();
            rows.iter().map(|row| row.get::<String, _>(0)).collect::<Vec<_>>().join("\n")
        }
    }
}

#[track_caller]
fn sorts_nothing(plan: &str) {
    assert!(!plan.contains("Sort") && !plan.contains("TEMP B-TREE"), "{plan}");
}

/// Checks that the plan seeks to a value in the index instead of scanning it from the start.
#[track_caller]
fn enters(b: Backend, plan: &str, index: &str, by: &str) {
    assert!(plan.contains(index), "{plan}");
    let entered = match b {
        Backend::Sqlite => plan.lines().any(|line| line.starts_with("SEARCH") && line.contains(index) && line.contains(by)),
        Backend::Postgres => plan.lines().any(|line| line.contains("Index Cond") && line.contains(by)),
    };
    assert!(entered, "{plan}");
}

async fn plan_project_page_uses_index_without_sort(b: Backend) {
    let plan = plan(b, &["FROM projects", "OFFSET", "created_at DESC"]).await;
    sorts_nothing(&plan);
    enters(b, &plan, "projects_list_idx", "owner_id");
    if b == Backend::Sqlite {
        assert!(plan.contains("USING COVERING INDEX"), "the count reads the table:\n{plan}");
    }
}

async fn plan_project_next_page_seeks_into_index(b: Backend) {
    let plan = plan(b, &["FROM projects", "(created_at, id) <"]).await;
    sorts_nothing(&plan);
    enters(b, &plan, "projects_list_idx", "created_at");
}

async fn plan_project_search_seeks_by_owner(b: Backend) {
    let page = plan(b, &["FROM projects", "LIKE", "OFFSET"]).await;
    sorts_nothing(&page);
    enters(b, &page, "projects_search_idx", "owner_id");
    let next = plan(b, &["FROM projects", "(name_folded, id) >"]).await;
    sorts_nothing(&next);
    enters(b, &next, "projects_search_idx", "name_folded");
}

async fn plan_admin_user_list_uses_index_without_sort(b: Backend) {
    let page = plan(b, &["FROM users", "OFFSET"]).await;
    sorts_nothing(&page);
    assert!(page.contains("users_created_at_idx"), "{page}");
    let next = plan(b, &["FROM users", "(created_at, id) <"]).await;
    sorts_nothing(&next);
    enters(b, &next, "users_created_at_idx", "created_at");
}

async fn plan_user_lookup_uses_unique_index(b: Backend) {
    enters(b, &plan(b, &["SELECT id FROM users WHERE email"]).await, "users_email_key", "email");
    let by_id = plan(b, &["SELECT id, email", "login_count", "FROM users WHERE id = $1"]).await;
    assert!(by_id.contains("users_pkey") || by_id.contains("sqlite_autoindex_users_1"), "{by_id}");
}

async fn plan_maintenance_queries_use_index(b: Backend) {
    let unfolded = plan(b, &["name_folded = ''", "LIMIT 500"]).await;
    assert!(unfolded.contains("projects_unfolded_idx"), "{unfolded}");
    enters(b, &plan(b, &["DELETE FROM idempotency_keys", "LIMIT"]).await, "idempotency_keys_expires_at_idx", "expires_at");
    enters(b, &plan(b, &["DELETE FROM quota_counters", "LIMIT"]).await, "quota_counters_period_idx", "period");
}

/// A user may have very many files, most of them not pending.
async fn plan_storage_sum_reads_index_only(b: Backend) {
    let sums = plan(b, &["pending_bytes"]).await;
    match b {
        Backend::Postgres => assert!(sums.contains("Index Only Scan using files_size_idx"), "{sums}"),
        Backend::Sqlite => assert_eq!(sums.matches("USING COVERING INDEX files_size_idx (owner_id=?").count(), 2, "{sums}"),
    }
}
