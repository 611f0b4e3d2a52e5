//! Migrations: each is applied exactly once, also by concurrent instances.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use omnistack::app::migrate;

use crate::harness::Backend;
use crate::harness::database::{Database, connect};
use crate::harness::process::Place;

crate::on_both_backends![
    migrations_concurrent_instances_apply_each_once,
    migrate_concurrent_processes_all_succeed,
    migrations_second_run_applies_nothing,
    migrations_dry_run_applies_nothing,
    migrations_changed_file_is_refused,
];

/// The migrations of an engine, as `0001 users`.
fn steps(b: Backend) -> Vec<String> {
    let folder = if b == Backend::Postgres { "migrations/postgres" } else { "migrations/sqlite" };
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names
        .map(|name| {
            let (number, title) = name.strip_suffix(".sql").unwrap().split_once('_').unwrap();
            format!("{number} {}", title.replace('_', " "))
        })
        .collect();
    names.sort();
    names
}

#[test]
fn migrations_are_the_same_on_both_engines() {
    assert_eq!(steps(Backend::Postgres), steps(Backend::Sqlite));
}

async fn migrations_concurrent_instances_apply_each_once(b: Backend) {
    let database = Database::empty(b).await;
    let runs = (0..8).map(|_| async {
        let (db, url) = connect(&database.url).await;
        let report = migrate::run(&db, &url, &omnistack::features::all(), false).await.unwrap();
        db.close().await;
        report.applied
    });
    let mut applied = BTreeMap::new();
    for step in join_all(runs).await.into_iter().flatten() {
        *applied.entry(step).or_insert(0) += 1;
    }
    assert_eq!(applied, steps(b).into_iter().map(|step| (step, 1)).collect());
    let (db, _) = connect(&database.url).await;
    assert!(migrate::is_current(&db).await.unwrap());
    let recorded = database.number(&db, "SELECT COUNT(*) FROM _sqlx_migrations WHERE success").await;
    assert_eq!(usize::try_from(recorded).unwrap(), steps(b).len());
}

async fn migrate_concurrent_processes_all_succeed(b: Backend) {
    let database = Database::empty(b).await;
    let place = Place::new().with("DATABASE_URL", &database.url);
    let mut processes: Vec<_> = (0..4).map(|_| place.spawn(&["migrate"])).collect();
    let mut output = String::new();
    for process in &mut processes {
        let status = process.ended().await;
        assert_eq!(status.code(), Some(0), "{}", process.output());
        output += &process.output();
    }
    for step in steps(b) {
        assert_eq!(output.matches(&format!("applied {step}")).count(), 1, "{output}");
    }
    assert_eq!(output.matches("nothing to do").count(), 3, "{output}");
}

async fn migrations_second_run_applies_nothing(b: Backend) {
    let database = Database::create(b).await;
    let (db, url) = connect(&database.url).await;
    let report = migrate::run(&db, &url, &omnistack::features::all(), false).await.unwrap();
    assert!(report.applied.is_empty() && report.remarks.is_empty());
}

async fn migrations_dry_run_applies_nothing(b: Backend) {
    let database = Database::empty(b).await;
    let (db, url) = connect(&database.url).await;
    let report = migrate::run(&db, &url, &omnistack::features::all(), true).await.unwrap();
    assert_eq!(report.applied, steps(b));
    assert!(migrate::status(&db).await.unwrap().iter().all(|step| !step.applied));
    let tables = match b {
        Backend::Sqlite => "SELECT COUNT(*) FROM sqlite_master",
        Backend::Postgres => "SELECT COUNT(*) FROM pg_tables WHERE schemaname = 'public'",
    };
    assert_eq!(database.number(&db, tables).await, 0);
}

/// An edited migration that was already applied is an error, because the schema of existing databases is then unknown.
async fn migrations_changed_file_is_refused(b: Backend) {
    let database = Database::create(b).await;
    let (db, url) = connect(&database.url).await;
    let last: i64 = steps(b).last().unwrap()[..4].parse().unwrap();
    database.execute(&db, &format!("DELETE FROM _sqlx_migrations WHERE version = {last}")).await;
    let other = if b == Backend::Postgres { "'\\x00'" } else { "x'00'" };
    database.execute(&db, &format!("UPDATE _sqlx_migrations SET checksum = {other} WHERE version = 1")).await;
    let error = migrate::run(&db, &url, &omnistack::features::all(), false).await.err().unwrap();
    assert!(format!("{error:#}").contains("modified"), "{error:#}");
}
