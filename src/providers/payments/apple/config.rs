//! Settings of the App Store.

use std::path::PathBuf;

use jsonwebtoken::EncodingKey;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::platform::config::{Env, Section, Value};

/// Apple Root CA - G3 (<https://www.apple.com/certificateauthority/>), SHA-256
/// `63343abfb89a6a03ebb57e9b3f5fa7be7c4f5c756f3017b3a8c488c3653e9179`.
const ROOT: &[u8] = include_bytes!("apple_root_ca_g3.cer");

#[derive(Debug, Clone)]
pub struct Config {
    /// The App Store is configured if this is set.
    pub bundle_id: Option<String>,
    /// The app's number at Apple.
    pub app_apple_id: Option<u64>,
    /// Notices of other environments are not applied; `None`: those of any are.
    pub environment: Option<Environment>,
    /// The trusted root certificate, DER.
    pub root: Vec<u8>,
    /// Key of the App Store Server API.
    pub api: Option<ApiKey>,
    pub api_base: Option<Url>,
}

/// An environment of the App Store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Environment {
    Production,
    Sandbox,
}

impl Environment {
    pub fn name(self) -> &'static str {
        match self {
            Self::Production => "Production",
            Self::Sandbox => "Sandbox",
        }
    }
}

impl Value for Environment {
    fn parse(text: &str) -> Result<Self, String> {
        let known = [Self::Production, Self::Sandbox].into_iter().find(|known| known.name().eq_ignore_ascii_case(text));
        known.ok_or_else(|| "Production or Sandbox".to_owned())
    }

    fn show(&self) -> String {
        self.name().to_owned()
    }
}

/// A key of the App Store Server API.
#[derive(Debug, Clone)]
pub struct ApiKey {
    pub issuer_id: String,
    pub key_id: String,
    /// PEM, as Apple issues it.
    pub private_key: SecretString,
}

impl ApiKey {
    /// `None` if the text is not a private key in PEM.
    pub fn signing_key(&self) -> Option<EncodingKey> {
        // In a variable, line breaks are often written as `\n`.
        let pem = self.private_key.expose_secret().replace("\\n", "\n");
        match PrivateKeyDer::from_pem_slice(pem.as_bytes()).ok()? {
            PrivateKeyDer::Pkcs8(der) => Some(EncodingKey::from_ec_der(der.secret_pkcs8_der())),
            _ => None,
        }
    }
}

impl Section for Config {
    fn read(env: &mut Env) -> Self {
        env.section("Payments");
        let production = env.environment().is_production();
        let bundle_id = env.var("APPLE_BUNDLE_ID", "App Store: bundle id of the app; its webhook is configured if it is set").optional();
        let app_apple_id = env.var("APPLE_APP_APPLE_ID", "App Store: the app's number; needed in production").optional::<u64>();
        let environment = env
            .var("APPLE_ENVIRONMENT", "App Store: `Production` or `Sandbox`; notices of the other one are acknowledged, not applied")
            .shown_default("`Production` in production, else any")
            .optional();
        let issuer_id = env.var("APPLE_ISSUER_ID", "App Store Server API: issuer id, for reading states").optional::<String>();
        let key_id = env.var("APPLE_KEY_ID", "App Store Server API: key id").optional::<String>();
        let private_key = env.var("APPLE_PRIVATE_KEY", "App Store Server API: private key, the text of the .p8 file").secret(1);
        let root = read_root(env);
        let _: Option<SecretString> = env.var("APPLE_SHARED_SECRET", "App Store: secret of the old receipt API; not used").secret(1);
        let api_base = env
            .var("APPLE_API_BASE_URL", "App Store Server API: base URL, for tests")
            .shown_default("`Apple's, by environment`")
            .optional();
        let given = [issuer_id.is_some(), key_id.is_some(), private_key.is_some()];
        if given.contains(&true) && given.contains(&false) {
            env.problem(
                "APPLE_PRIVATE_KEY",
                "needs APPLE_ISSUER_ID, APPLE_KEY_ID and APPLE_PRIVATE_KEY together",
                "Set all three, or none",
            );
        }
        let api = issuer_id.zip(key_id).zip(private_key);
        let api = api.map(|((issuer_id, key_id), private_key)| ApiKey { issuer_id, key_id, private_key });
        if api.as_ref().is_some_and(|api| api.signing_key().is_none()) {
            env.problem("APPLE_PRIVATE_KEY", "is not a private key in PEM", "Use the text of the .p8 file that Apple issued");
        }
        let environment = environment.or(production.then_some(Environment::Production));
        if production && bundle_id.is_some() && app_apple_id.is_none() && environment == Some(Environment::Production) {
            env.problem(
                "APPLE_APP_APPLE_ID",
                "is required in production with APPLE_BUNDLE_ID",
                "Set it to the app's number (App Store Connect, App Information, Apple ID)",
            );
        }
        Self { bundle_id, app_apple_id, environment, root, api, api_base }
    }
}

/// The trusted root: Apple's, or that of a file in DER or PEM.
fn read_root(env: &mut Env) -> Vec<u8> {
    let help = "App Store: file with the trusted root certificate, DER or PEM";
    let path = env.var("APPLE_ROOT_CA_PATH", help).shown_default("`built-in Apple Root CA G3`").optional::<PathBuf>();
    let Some(path) = path else { return ROOT.to_vec() };
    let bytes = std::fs::read(path).ok().filter(|bytes| !bytes.is_empty());
    let read = bytes.map(|bytes| CertificateDer::from_pem_slice(&bytes).map_or_else(|_| bytes.clone(), |der| der.to_vec()));
    let usable = |der: &Vec<u8>| webpki::anchor_from_trusted_cert(&CertificateDer::from(der.as_slice())).is_ok();
    read.filter(usable).unwrap_or_else(|| {
        let remedy = "Correct it, or leave it unset for Apple's root";
        env.problem("APPLE_ROOT_CA_PATH", "does not name a certificate in DER or PEM", remedy);
        ROOT.to_vec()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::crypto::{hex, sha256};

    #[test]
    fn built_in_root_is_apples() {
        assert_eq!(hex(&sha256(ROOT)), "63343abfb89a6a03ebb57e9b3f5fa7be7c4f5c756f3017b3a8c488c3653e9179");
        assert!(webpki::anchor_from_trusted_cert(&CertificateDer::from(ROOT)).is_ok());
    }
}
