//! What sqlx reads of each form of URL, and what is said of the others.

use std::str::FromStr;

use sqlx::postgres::PgConnectOptions;

use super::*;

/// What sqlx reads: host or socket, port, user, password, database.
fn read(text: &str) -> (String, u16, String, String, String) {
    let url = PostgresUrl::parse(text).unwrap_or_else(|reason| panic!("{text}: {reason}"));
    let options = PgConnectOptions::from_str(&url).unwrap();
    let socket = options.get_socket().map(|path| path.display().to_string());
    // sqlx shows no password, and its own URL of an IPv6 host panics.
    let (_, query) = url.split_once('?').unwrap();
    let password = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "password");
    let password = password.map_or_else(String::new, |(_, value)| value.into_owned());
    let database = options.get_database().unwrap_or_default().to_owned();
    (socket.unwrap_or(options.get_host().to_owned()), options.get_port(), options.get_username().to_owned(), password, database)
}

#[test]
fn postgres_url_of_each_cloud_reaches_sqlx() {
    for (text, host, port, user, password, database) in [
        ("//u:p@h:6543/db", "h", 6543, "u", "p", "db"),
        ("//u@h/db", "h", 5432, "u", "", "db"),
        ("//u:@h/db", "h", 5432, "u", "", "db"),
        // Google Cloud Run: a socket beside a user, and pg8000's name for it.
        ("//u:p@/db?host=/cloudsql/p:eu-west1:i", "/cloudsql/p:eu-west1:i", 5432, "u", "p", "db"),
        ("//u:p@/db?unix_sock=/cloudsql/p:eu-west1:i/.s.PGSQL.5432", "/cloudsql/p:eu-west1:i", 5432, "u", "p", "db"),
        ("//u:p@%2Fcloudsql%2Fp:eu-west1:i/db", "/cloudsql/p:eu-west1:i", 5432, "u", "p", "db"),
        ("//u:p@%2fvar%2frun:6543/db", "/var/run", 6543, "u", "p", "db"),
        ("//u:p@localhost/db?host=/run/postgresql", "/run/postgresql", 5432, "u", "p", "db"),
        ("///db?host=/run/postgresql&user=u&password=p", "/run/postgresql", 5432, "u", "p", "db"),
        // IPv6 literals: sqlx wants them without brackets.
        ("//u:p@[::1]:6543/db", "::1", 6543, "u", "p", "db"),
        ("//u:p@[2001:db8::7]/db", "2001:db8::7", 5432, "u", "p", "db"),
        ("//u:p@[fe80::1%25eth0]/db", "fe80::1%eth0", 5432, "u", "p", "db"),
        ("//u:p@/db?host=[::1]", "::1", 5432, "u", "p", "db"),
        ("//u:p@/db?hostaddr=10.0.0.7&port=6543", "10.0.0.7", 6543, "u", "p", "db"),
        // Several hosts: the first.
        ("//u:p@a:6543,b:6544/db?target_session_attrs=read-write", "a", 6543, "u", "p", "db"),
        ("//u:p@/db?host=a,b&port=6543,6544", "a", 6543, "u", "p", "db"),
        // Neon, Supabase with Prisma, Azure, Heroku, Railway, Fly.
        (
            "//u:p@ep-x-1-pooler.eu-central-1.aws.neon.tech/db?sslmode=require&channel_binding=require",
            "ep-x-1-pooler.eu-central-1.aws.neon.tech",
            5432,
            "u",
            "p",
            "db",
        ),
        (
            "//postgres.ref:p@aws-0-eu-west-1.pooler.supabase.com:6543/postgres?pgbouncer=true&connection_limit=1",
            "aws-0-eu-west-1.pooler.supabase.com",
            6543,
            "postgres.ref",
            "p",
            "postgres",
        ),
        (
            "//u%40server:p@server.postgres.database.azure.com:5432/db?sslmode=require&connect_timeout=10",
            "server.postgres.database.azure.com",
            5432,
            "u@server",
            "p",
            "db",
        ),
        ("//u@server:p@server.postgres.database.azure.com/db", "server.postgres.database.azure.com", 5432, "u@server", "p", "db"),
        ("//u:p@ec2-1-2-3-4.compute-1.amazonaws.com:5432/d4?ssl=true", "ec2-1-2-3-4.compute-1.amazonaws.com", 5432, "u", "p", "d4"),
        ("//postgres:p@postgres.railway.internal:5432/railway", "postgres.railway.internal", 5432, "postgres", "p", "railway"),
        ("//u:p@top2.nearest.of.db.internal:5432/db?sslmode=disable", "top2.nearest.of.db.internal", 5432, "u", "p", "db"),
        ("//u:p@my_db-1/db?application_name=x&options=-c%20search_path%3Da", "my_db-1", 5432, "u", "p", "db"),
        // Passwords that are not percent-encoded, where only one reading makes sense.
        ("//u:p@ss:w0rd@h/db", "h", 5432, "u", "p@ss:w0rd", "db"),
        ("//u:p#w@h/db", "h", 5432, "u", "p#w", "db"),
        ("//u:100%@h/db", "h", 5432, "u", "100%", "db"),
        ("//u:p%zz[]^|@h/db", "h", 5432, "u", "p%zz[]^|", "db"),
        ("//u:p/w@h/db", "h", 5432, "u", "p/w", "db"),
        ("//u:p?w@h:6543/db?sslmode=require", "h", 6543, "u", "p?w", "db"),
        ("//u:12/34@h/db", "h", 5432, "u", "12/34", "db"),
        ("//u:p@s/w@h/db", "h", 5432, "u", "p@s/w", "db"),
        ("//u:p%40%2F%3F%25@h/my%20db", "h", 5432, "u", "p@/?%", "my db"),
        ("//u:p w+é@h/db", "h", 5432, "u", "p w+é", "db"),
    ] {
        let wanted = (host.to_owned(), port, user.to_owned(), password.to_owned(), database.to_owned());
        assert_eq!(read(text), wanted, "{text}");
        let url = PostgresUrl::parse(text).unwrap();
        if password.len() > 1 {
            for shown in [url.show(), url.describe(), format!("{url:?}"), format!("{:?}", url.warnings())] {
                assert!(!shown.contains(password), "{shown}");
            }
        }
    }
    assert_eq!(PostgresUrl::parse("//h/db").unwrap().describe(), "Postgres at h/db");
    assert_eq!(PostgresUrl::parse("//[::2]/db").unwrap().describe(), "Postgres at [::2]/db");
    assert_eq!(PostgresUrl::parse("//u:p@/db?host=/cloudsql/x").unwrap().describe(), "Postgres at /cloudsql/x/db");
    for (text, shown) in [
        ("//u:p@h:1/db?ssl=true&application_name=x", "postgres://u:***@h:1/db?sslmode=require&application_name=x"),
        ("//u@[::2]/db", "postgres://u@[::2]/db"),
        ("//u:p@/db?host=/cloudsql/x", "postgres://u:***@/db?host=%2Fcloudsql%2Fx&sslmode=disable"),
        ("///db?user=u&password=p", "postgres://u:***@/db"),
    ] {
        assert_eq!(PostgresUrl::parse(text).unwrap().show(), shown);
    }
}

#[test]
fn postgres_url_errors_say_what_is_wrong() {
    for (text, reason) in [
        ("u:hunter2@h/db", HOST),
        ("//u:hunter2@h:port/db", PORT),
        ("//u:hunter2@h:0/db", PORT),
        ("//u:hunter2@h:65536/db", PORT),
        ("//u:hunter2@h/db?port=x", PORT),
        ("//u:hunter2@[::1]6543/db", PORT),
        ("//u:hunter2@::1/db", IPV6),
        ("//u:hunter2@[::1/db", IPV6),
        ("//u:hunter2@[host]/db", IPV6),
        ("//u:hunter2@<host>/db", HOST),
        ("//u:%ff@h/db", ENCODING),
        ("//u:hunter2@h/db?sslmode=on-ish", SSLMODE),
        ("//u:hunter2@h/db?sslmode", PARAMETER),
        ("//u:hun/ter@x?a=2@h/db", AMBIGUOUS),
    ] {
        assert_eq!(PostgresUrl::parse(text), Err(reason), "{text}");
    }
}

#[test]
fn postgres_url_warns_of_what_it_drops_by_known_names() {
    let warnings = |text: &str| PostgresUrl::parse(text).unwrap().warnings().into_iter().map(|(reason, _)| reason).collect::<Vec<_>>();
    assert_eq!(warnings("//u:p@h/db?sslmode=require&application_name=x&options=-c%20a%3Db"), Vec::<String>::new());
    assert_eq!(
        warnings("//u:p@a,b/db?channel_binding=require&hunter2=x&connect_timeout=5&pgbouncer=true"),
        [
            "names several hosts: only the first is used",
            "has the parameter pgbouncer, which is not read here",
            "has parameters that are not read here: channel_binding, connect_timeout, others",
        ]
    );
}

#[test]
fn postgres_url_tls_is_judged_by_host_and_mode() {
    for (text, unprotected) in [
        ("//h/db", true),
        ("//h/db?sslmode=prefer", true),
        ("//h/db?ssl=true", false),
        ("//h/db?sslmode=REQUIRE", false),
        ("//h/db?sslmode=verify-full", false),
        ("//h/db?sslrootcert=system&sslmode=prefer", false),
        ("//10.0.0.7/db?sslmode=disable", true),
        ("//localhost/db", false),
        ("//127.0.0.1/db", false),
        ("//[::1]/db", false),
        ("//u@/db?host=/cloudsql/x", false),
        ("///db", false),
    ] {
        assert_eq!(PostgresUrl::parse(text).unwrap().is_unprotected(), unprotected, "{text}");
    }
    let mode = |text: &str| PostgresUrl::parse(text).unwrap().sslmode;
    assert_eq!(mode("//[::1]/db").as_deref(), Some("disable"));
    assert_eq!(mode("//localhost/db?sslmode=require").as_deref(), Some("require"));
    assert_eq!(mode("//h/db"), None);
    assert_eq!(mode("//u@/db?host=/cloudsql/x&sslmode=require").as_deref(), Some("disable"));
}
