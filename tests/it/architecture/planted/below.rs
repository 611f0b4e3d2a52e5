//! Planted violations of the rule that what lies below the features holds nothing of a feature.

use super::{fires, passes};

#[test]
fn path_of_feature_below_is_reported() {
    for file in ["src/platform/http/route.rs", "src/providers/storage/local.rs", "src/app/feature.rs"] {
        for text in [
            "const A: &str = \"/users\";",
            "const A: &str = \"/api/v1/app/users/{id}\";",
            "const A: &[u8] = b\"/users?page=1\";",
            "fn f() { format!(\"{base}/users\") }",
            "fn f() { assert_eq!(x, [\"/auth\"]) }",
            "#[schema(example = \"/users/1\")] struct S;",
        ] {
            fires(file, text, &format!("{file}:2:"), "` of src/features/users/routes.rs");
        }
        passes(
            file,
            "const A: [&str; 6] = [\"users\", \"/users2\", \"/users-of\", \"https://users/\", \"/authority\", \"./users\"]; // /users\n/// /users\nstruct S;",
        );
    }
    let foreign = "const A: &str = \"{url}/auth/v1/keys\";";
    passes("src/platform/auth/config.rs", foreign);
    fires("src/platform/auth/mod.rs", foreign, "src/platform/auth/mod.rs:2:", "names the path `/auth`");
    for file in ["src/app/mod.rs", "src/app/config.rs", "src/features/billing/routes.rs", "src/boot/router.rs"] {
        passes(file, "const A: &str = \"/users\";");
    }
}

#[test]
fn table_of_feature_below_is_reported() {
    let says = "` of src/features/users/store.rs";
    for text in [
        "fn f() { sql!(\"SELECT id FROM users\") }",
        "fn f() { sql!(lite: \"SELECT id\\nFROM public.users\") }",
        "const A: &str = \"SELECT 1 FROM jobs JOIN credentials ON true\";",
        "const A: &str = \"INSERT INTO users(id) VALUES (1)\";",
        "const A: &str = r#\"UPDATE \"users\" SET x = 1\"#;",
    ] {
        fires("src/platform/db.rs", text, "src/platform/db.rs:2:", says);
    }
    for text in [
        // Neither a subquery's name nor a function nor a column.
        "const A: &str = \"SELECT 1 FROM old\";",
        "const A: &str = \"SELECT 1 FROM json_each($1)\";",
        "const A: &str = \"SELECT a IS DISTINCT FROM users\";",
        "const A: &str = \"mail from users, INTO the box\";",
        "fn f() { sql!(\"UPDATE jobs SET users = 1\") }",
    ] {
        passes("src/platform/db.rs", text);
    }
    passes("src/app/migrate/takeover.rs", "const A: &str = \"SELECT id FROM users\";");
    fires("src/app/migrate/mod.rs", "const A: &str = \"SELECT id FROM users\";", "src/app/migrate/mod.rs:2:", says);
}

#[test]
fn tag_of_feature_below_is_reported() {
    for text in [
        "#[utoipa::path(get, tag = \"billing\")] fn f() {}",
        "#[utoipa::path(get, tags = [\"admin\", \"billing\"])] fn f() {}",
        "#[openapi(tags((name = \"billing\", description = \"x\")))] struct D;",
    ] {
        fires("src/platform/http/docs.rs", text, "src/platform/http/docs.rs:2:", "names the tag of the feature billing");
        passes("src/boot/openapi.rs", text);
    }
    passes("src/platform/http/docs.rs", "#[utoipa::path(get, tag = \"admin\", operation_id = \"billing\")] fn f() {}");
    passes("src/platform/http/docs.rs", "#[serde(rename = \"billing\", name = \"billing\")] struct S;");
}
