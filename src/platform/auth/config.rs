//! The trusted issuer and its verification keys.

use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::passwords;

use crate::platform::config::{Choice, Env, Section};

/// The issuer whose tokens are accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provider {
    /// The service's own accounts.
    Local,
    Supabase,
    Clerk,
    /// Any other OAuth 2 issuer of JWTs.
    Custom,
}

impl Choice for Provider {
    const NAMES: &'static [(&'static str, Self)] =
        &[("local", Self::Local), ("supabase", Self::Supabase), ("clerk", Self::Clerk), ("custom", Self::Custom)];
}

/// Where verification keys come from.
#[derive(Debug, Clone)]
pub enum KeySource {
    /// A shared secret; allows HS256 only.
    Hs256(SecretString),
    /// A JSON Web Key Set (RFC 7517); allows RS256 and ES256 only.
    Jwks(Url),
}

/// Settings for token verification, except the service's own key.
#[derive(Debug, Clone)]
pub struct Config {
    pub provider: Provider,
    /// `None` with `local`, and where nothing is configured: then every token is refused with 503.
    pub keys: Option<KeySource>,
    pub issuer: Option<String>,
    pub audience: Option<String>,
    pub jwks_cache: std::time::Duration,
    /// TTL of the service's own access tokens.
    pub access_ttl: std::time::Duration,
    pub passwords: passwords::Config,
}

/// Variables that belong to one provider. If `AUTH_PROVIDER` is unset, any of them selects the provider.
const OF_PROVIDER: [(Provider, &[&str]); 3] = [
    (Provider::Supabase, &["SUPABASE_PROJECT_URL", "SUPABASE_JWT_SECRET", "SUPABASE_WEBHOOK_SECRET"]),
    (Provider::Clerk, &["CLERK_ISSUER_URL", "CLERK_SECRET_KEY", "CLERK_WEBHOOK_SECRET"]),
    (Provider::Custom, &["OAUTH_JWKS_URL", "OAUTH_JWT_SECRET", "OAUTH_AUDIENCE", "OAUTH_ISSUER"]),
];

impl Section for Config {
    fn read(env: &mut Env) -> Self {
        env.section("Authentication");
        let chosen = env
            .var("AUTH_PROVIDER", "Token issuer: `local` (own accounts), `supabase`, `clerk` or `custom`")
            .shown_default("`local`, or the provider whose variables are set")
            .optional();
        let implied = OF_PROVIDER.iter().find(|(_, names)| names.iter().any(|name| env.is_set(name))).map(|(provider, _)| *provider);
        let provider = chosen.or(implied).unwrap_or(Provider::Local);

        let supabase_url = env.var("SUPABASE_PROJECT_URL", "supabase: `https://<project>.supabase.co`").optional::<Url>();
        let supabase_secret =
            env.var("SUPABASE_JWT_SECRET", "supabase: the legacy HS256 secret; when set, HS256 is the only algorithm").secret(1);
        let clerk_url = env.var("CLERK_ISSUER_URL", "clerk: the issuer, `https://<instance>.clerk.accounts.dev`").optional::<Url>();
        let jwks = env.var("OAUTH_JWKS_URL", "custom: URL of the issuer's JWKS").optional::<Url>();
        let secret = env
            .var("OAUTH_JWT_SECRET", "custom: a shared HS256 secret of 32 characters or more; when set, HS256 is the only algorithm")
            .secret(32);
        let audience = env.var("OAUTH_AUDIENCE", "custom: required `aud` claim").optional::<String>();
        let issuer = env.var("OAUTH_ISSUER", "custom: required `iss` claim").optional::<String>();
        let jwks_cache = env.var("JWKS_CACHE_SECONDS", "Lifetime of cached JWKS keys in seconds").checked(
            std::time::Duration::from_secs(3600),
            |d| !d.is_zero(),
            "at least 1",
        );
        let access_ttl = env.var("AUTH_ACCESS_TTL_SECONDS", "local: lifetime of an access token, 60 to 86400 seconds").checked(
            std::time::Duration::from_secs(900),
            |d| (60..=86_400).contains(&d.as_secs()),
            "from 60 to 86400",
        );

        let below = |base: &Url, path: &str| Url::parse(&format!("{}{path}", base.as_str().trim_end_matches('/'))).ok();
        let (keys, issuer, audience) = match provider {
            Provider::Local => (None, None, None),
            Provider::Supabase => {
                let jwks = supabase_url.as_ref().and_then(|url| below(url, "/auth/v1/.well-known/jwks.json"));
                let issuer = supabase_url.as_ref().map(|url| format!("{}/auth/v1", url.as_str().trim_end_matches('/')));
                let audience = issuer.is_some().then(|| "authenticated".to_owned());
                (supabase_secret.map(KeySource::Hs256).or(jwks.map(KeySource::Jwks)), issuer, audience)
            }
            Provider::Clerk => {
                let jwks = clerk_url.as_ref().and_then(|url| below(url, "/.well-known/jwks.json"));
                (jwks.map(KeySource::Jwks), clerk_url.map(|url| url.as_str().trim_end_matches('/').to_owned()), None)
            }
            Provider::Custom => (secret.map(KeySource::Hs256).or(jwks.map(KeySource::Jwks)), issuer, audience),
        };
        let config = Self { provider, keys, issuer, audience, jwks_cache, access_ttl, passwords: passwords::Config::read(env) };
        config.check(env);
        config
    }
}

impl Config {
    fn check(&self, env: &mut Env) {
        let production = env.environment().is_production();
        match &self.keys {
            None if self.provider == Provider::Local => {}
            None => {
                let remedy = match self.provider {
                    Provider::Supabase => "Set SUPABASE_PROJECT_URL, or SUPABASE_JWT_SECRET",
                    Provider::Clerk => "Set CLERK_ISSUER_URL",
                    _ => "Set OAUTH_JWKS_URL, or OAUTH_JWT_SECRET",
                };
                if production {
                    env.problem("AUTH_PROVIDER", "has no source of keys", remedy);
                } else {
                    env.warning("AUTH_PROVIDER", "has no source of keys: every token is refused with 503", remedy);
                }
            }
            Some(KeySource::Hs256(secret)) if production && secret.expose_secret().chars().count() < 32 => {
                // The length of `OAUTH_JWT_SECRET` was checked when it was read.
                if self.provider == Provider::Supabase {
                    env.problem(
                        "SUPABASE_JWT_SECRET",
                        "must have at least 32 characters in production",
                        "Copy it from the project's API settings",
                    );
                }
            }
            Some(KeySource::Jwks(url)) if production && url.scheme() != "https" => {
                let variable = match self.provider {
                    Provider::Supabase => "SUPABASE_PROJECT_URL",
                    Provider::Clerk => "CLERK_ISSUER_URL",
                    _ => "OAUTH_JWKS_URL",
                };
                env.problem(variable, "must be an https URL in production", "Keys fetched over plain http could be anybody's");
            }
            Some(_) => {}
        }
        if production && self.provider == Provider::Supabase && matches!(self.keys, Some(KeySource::Hs256(_))) && self.issuer.is_none() {
            env.problem(
                "SUPABASE_PROJECT_URL",
                "is required in production with SUPABASE_JWT_SECRET: nothing else says which issuer and audience tokens must have",
                "Set it to https://<project>.supabase.co",
            );
        }
        if production && !self.passwords.is_strong() {
            let variable = if env.is_set("AUTH_ARGON2_MEMORY_KIB") { "AUTH_ARGON2_MEMORY_KIB" } else { "AUTH_ARGON2_ITERATIONS" };
            env.problem(
                variable,
                "makes password hashes too cheap to guess in production",
                "Use at least AUTH_ARGON2_MEMORY_KIB=19456 with AUTH_ARGON2_ITERATIONS=2, or 7168 with 5",
            );
        }
        if production && self.provider == Provider::Custom {
            if self.issuer.is_none() {
                env.problem(
                    "OAUTH_ISSUER",
                    "is required in production with AUTH_PROVIDER=custom",
                    "Set it to the `iss` of your issuer's tokens",
                );
            }
            if self.audience.is_none() {
                env.warning(
                    "OAUTH_AUDIENCE",
                    "is unset: tokens made for other services of the same issuer are accepted",
                    "Set it to the `aud` of your tokens",
                );
            }
        }
    }
}
