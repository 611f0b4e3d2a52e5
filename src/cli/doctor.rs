//! `omnistack doctor`: checks the installation. Each finding has a remedy; exit code 1 if one prevents the service from
//! running.

mod server;

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use tokio::time::timeout;

use crate::app::config::{Config, Loaded};
use crate::app::feature::{Finding, Level, diagnose};
use crate::app::{App, migrate};
use crate::boot::banner;
use crate::features;
use crate::platform::clock::Clock;
use crate::platform::config::{Env, Environment, Problem};
use crate::platform::db::{DatabaseUrl, Health as DatabaseHealth, pooler_remedy};
use crate::platform::output;
use crate::platform::private_files;
use crate::platform::redis::{Health, Redis};

/// Time limit of one check.
const CHECK: Duration = Duration::from_secs(6);
/// Maximum clock difference; more breaks token times and shared rate limits.
const CLOCK_SKEW_MS: i64 = 2000;

/// The findings so far.
#[derive(Default)]
struct Findings {
    failed: bool,
}

impl Findings {
    fn ok(what: &str, text: &str) {
        say(format_args!("ok    {what:<14} {text}"));
    }

    fn warn(what: &str, text: &str, remedy: &str) {
        say(format_args!("warn  {what:<14} {text}\n      {:<14} {remedy}", ""));
    }

    fn add(&mut self, finding: &Finding) {
        let Finding { level, what, text, remedy } = finding;
        match level {
            Level::Ok => Self::ok(what, text),
            Level::Warn => Self::warn(what, text, remedy),
            Level::Fail => self.fail(what, text, remedy),
        }
    }

    fn fail(&mut self, what: &str, text: &str, remedy: &str) {
        self.failed = true;
        say(format_args!("FAIL  {what:<14} {text}\n      {:<14} {remedy}", ""));
    }
}

/// Prints a finding. A broken output stays broken, and is reported with the last line.
fn say(finding: std::fmt::Arguments<'_>) {
    let _ = output::line(finding);
}

pub async fn run() -> anyhow::Result<ExitCode> {
    let mut findings = Findings::default();
    match Config::load(Env::from_process(), &features::all()) {
        Err(found) => {
            for problem in &found.problems {
                findings.fail("configuration", &format!("{}: {}", problem.variable, problem.reason), &problem.remedy);
            }
            warn_of(&found.warnings);
        }
        Ok(loaded) => {
            Findings::ok("configuration", &format!("{} variables read", loaded.notes.len()));
            warn_of(&loaded.warnings);
            check_service(&mut findings, loaded).await;
        }
    }
    output::line(if findings.failed { "\nSomething must be mended before the service can run." } else { "\nAll is well." })?;
    Ok(if findings.failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn warn_of(warnings: &[Problem]) {
    for warning in warnings {
        Findings::warn("configuration", &format!("{}: {}", warning.variable, warning.reason), &warning.remedy);
    }
}

async fn check_service(findings: &mut Findings, loaded: Loaded) {
    let core = &loaded.config.core;
    if core.environment == Environment::Local {
        check_folder(findings, "DATA_DIR", &core.data_dir);
    }
    let mut config = loaded.config;
    if config.core.secret_key.is_none() {
        // The check must not create the secret, which the first start creates.
        config.core.secret_key = Some("only for this check, never used to sign".into());
    }
    let describe = config.database.url.as_ref().map_or_else(String::new, DatabaseUrl::describe);
    let app = match App::new(config, Clock::System, features::all()).await {
        Ok(app) => app,
        Err(error) => {
            return findings.fail(
                "database",
                &format!("{describe}: {error:#}"),
                "Check DATABASE_URL, and that the folder of a SQLite file exists and can be written",
            );
        }
    };
    Findings::ok("tokens", &banner::issuer(&app));
    check_database(findings, &app, &describe).await;
    match timeout(CHECK, Redis::health(app.redis.as_ref())).await {
        Ok(Health::Healthy) => Findings::ok("redis", "answers"),
        Ok(Health::NotConfigured) => Findings::ok("redis", "not configured: limits count in memory, per process"),
        _ => Findings::warn("redis", "does not answer: limits count in memory until it does", "Check REDIS_URL, and that Redis runs"),
    }
    check_storage(findings, &app).await;
    for finding in diagnose(&app, &app.features, CHECK).await.iter().chain(&server::findings(&app).await) {
        findings.add(finding);
    }
    app.close().await;
}

async fn check_database(findings: &mut Findings, app: &App, describe: &str) {
    match timeout(CHECK, app.db.ping()).await {
        Ok(Ok(())) => check_writes(findings, app, describe).await,
        Ok(Err(error)) if let Some(remedy) = pooler_remedy(&error) => {
            return findings.fail("database", &format!("{describe}: {error}"), remedy);
        }
        Ok(Err(error)) => {
            return findings.fail(
                "database",
                &format!("{describe}: {error}"),
                "Check DATABASE_URL, and that the database runs and lets this user in",
            );
        }
        Err(_) => return findings.fail("database", &format!("{describe}: no answer"), "Check DATABASE_URL, the network and firewalls"),
    }
    match migrate::status(&app.db).await {
        Ok(steps) => match steps.iter().filter(|step| !step.applied).count() {
            0 => Findings::ok("migrations", &format!("all {} applied", steps.len())),
            pending if app.config.database.run_migrations => {
                Findings::ok("migrations", &format!("{pending} pending; the next start applies them"));
            }
            pending => findings.fail("migrations", &format!("{pending} pending, and RUN_MIGRATIONS is false"), "Run `omnistack migrate`"),
        },
        Err(error) => {
            findings.fail("migrations", &format!("{error:#}"), "Check that the database user may read the table _sqlx_migrations");
        }
    }
    match app.db.clock_skew(&app.clock).await {
        Ok(skew) if skew.abs() <= CLOCK_SKEW_MS => Findings::ok("clock", "agrees with the database's"),
        Ok(skew) => findings.fail(
            "clock",
            &format!("is {skew} ms ahead of the database's"),
            "Run a time service (chrony, systemd-timesyncd) on both hosts",
        ),
        Err(error) => Findings::warn("clock", &format!("could not be compared: {error}"), "Check the database first"),
    }
}

async fn check_writes(findings: &mut Findings, app: &App, describe: &str) {
    match app.db.foreign_encoding().await {
        Ok(Some(encoding)) => {
            return findings.fail(
                "database",
                &format!("{describe}: its encoding is {encoding}"),
                "Create a database with ENCODING 'UTF8', and copy the data with pg_dump",
            );
        }
        Ok(None) => {}
        Err(error) => return findings.fail("database", &format!("{describe}: {error}"), "Check the database's log"),
    }
    match app.db.health().await {
        DatabaseHealth::Healthy => Findings::ok("database", describe),
        DatabaseHealth::ReadOnly => findings.fail(
            "database",
            &format!("{describe}: takes no writes"),
            "Connect to the primary, and check default_transaction_read_only and the room on its disk",
        ),
        DatabaseHealth::Unreachable => findings.fail("database", &format!("{describe}: no answer"), "Check the network and firewalls"),
    }
}

/// Checks that the store can write, read and delete an object.
async fn check_storage(findings: &mut Findings, app: &App) {
    const PROBE: &[u8] = b"probe";
    let key = format!("probe/{}", uuid::Uuid::now_v7());
    let store = &app.storage;
    let probe = async {
        store.put(&key, "text/plain", PROBE.to_vec()).await?;
        let read = store.read_prefix(&key, PROBE.len()).await;
        // Runs even if the read failed.
        store.delete(&key).await?;
        read
    };
    match timeout(CHECK, probe).await {
        Ok(Ok(read)) if read == PROBE => Findings::ok("storage", &format!("{}: an object was written, read and deleted", store.name())),
        Ok(Ok(_)) => findings.fail("storage", "gave other bytes than it took", "Check that the variables name the bucket that is meant"),
        Ok(Err(error)) => {
            findings.fail("storage", &error.to_string(), "Check the store's variables, and that its key may read, write and delete");
        }
        Err(_) => findings.fail("storage", &format!("{}: no answer", store.name()), "Check the store's address, the network and firewalls"),
    }
}

/// Checks that a file can be created in the folder.
fn check_folder(findings: &mut Findings, variable: &str, folder: &Path) {
    let probe = folder.join(format!(".probe.{}", uuid::Uuid::now_v7()));
    let outcome = private_files::create_folder(folder)
        .and_then(|()| private_files::create_file(&probe)?.write_all(b"probe"))
        .and_then(|()| std::fs::remove_file(&probe));
    match outcome {
        Ok(()) => Findings::ok("folders", &format!("{variable} {} can be written", folder.display())),
        Err(error) => findings.fail(
            "folders",
            &format!("{variable} {}: {error}", folder.display()),
            "Create the folder, or let this user write to it",
        ),
    }
}
