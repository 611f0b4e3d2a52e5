//! Certificate chains of the App Store: leaf, intermediate and the pinned root.

use std::time::Duration;

use chrono::{DateTime, Utc};
use rustls::pki_types::{CertificateDer, SignatureVerificationAlgorithm, UnixTime};
use webpki::aws_lc_rs::{ECDSA_P256_SHA256, ECDSA_P256_SHA384, ECDSA_P384_SHA256, ECDSA_P384_SHA384};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};
use x509_parser::prelude::{FromDer, X509Certificate};

/// Apple marks the certificate that signs for the App Store.
const SIGNS_RECEIPTS: &str = "1.2.840.113635.100.6.11.1";
/// Apple marks the authority that issues such certificates.
const ISSUES: &str = "1.2.840.113635.100.6.2.1";
const ALGORITHMS: [&dyn SignatureVerificationAlgorithm; 4] = [ECDSA_P256_SHA256, ECDSA_P256_SHA384, ECDSA_P384_SHA256, ECDSA_P384_SHA384];

/// Verifies that the chain leads to this root, was valid at this time, and has Apple's marks. Returns the leaf's public key, a
/// point of its curve.
pub fn verify(root: &[u8], chain: &[Vec<u8>; 3], at: DateTime<Utc>) -> Result<Vec<u8>, &'static str> {
    let [leaf, intermediate, given_root] = chain;
    if given_root != root {
        return Err("the chain ends in another root");
    }
    let root = CertificateDer::from(root);
    let anchors = [anchor_from_trusted_cert(&root).map_err(|_| "the root is not a certificate")?];
    let leaf_der = CertificateDer::from(leaf.as_slice());
    let certificate = EndEntityCert::try_from(&leaf_der).map_err(|_| "the leaf is not a certificate")?;
    let between = [CertificateDer::from(intermediate.as_slice())];
    let seconds = u64::try_from(at.timestamp()).map_err(|_| "the time of signing is not a time")?;
    let time = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
    // Apple's certificates name no extended usage; one that names others than this is refused.
    let usage = KeyUsage::client_auth();
    let path = certificate
        .verify_for_usage(&ALGORITHMS, &anchors, &between, time, usage, None, None)
        .map_err(|_| "the chain is not valid at the time of signing")?;
    // A leaf of the root itself would leave the second certificate unverified.
    if !path.intermediate_certificates().map(webpki::Cert::der).eq(between.iter().cloned()) {
        return Err("the chain does not lead over its second certificate");
    }
    let leaf = parse(leaf)?;
    if !has_mark(&leaf, SIGNS_RECEIPTS) || !has_mark(&parse(intermediate)?, ISSUES) {
        return Err("a certificate lacks Apple's mark");
    }
    Ok(leaf.public_key().subject_public_key.data.to_vec())
}

fn parse(der: &[u8]) -> Result<X509Certificate<'_>, &'static str> {
    X509Certificate::from_der(der).map(|(_, certificate)| certificate).map_err(|_| "a certificate cannot be read")
}

fn has_mark(certificate: &X509Certificate<'_>, mark: &str) -> bool {
    certificate.extensions().iter().any(|extension| extension.oid.to_id_string() == mark)
}
