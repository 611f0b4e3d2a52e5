//! Asks the server of this configuration, if it runs on this machine, how its vendors are. Their circuit breakers and the answers
//! about our accounts are known to its process only.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use serde::Deserialize;

use crate::app::App;
use crate::app::feature::Finding;

const WHAT: &str = "server";
const TIMEOUT: Duration = Duration::from_secs(3);
const OUTAGE: &str = "Look at the vendor's status page, the server's log and the network";
const PATH: &str = "/api/v1/public/health/ready";

/// The parts of the readiness that are shown.
#[derive(Deserialize)]
struct Readiness {
    status: String,
    #[serde(default)]
    vendors: BTreeMap<String, Vendor>,
}

#[derive(Deserialize)]
struct Vendor {
    breaker: Option<String>,
    account: Option<String>,
    cooling: Option<usize>,
}

/// Returns what the running server reports. Not running is no fault.
pub async fn findings(app: &App) -> Vec<Finding> {
    let core = &app.config.core;
    let host = match core.host {
        IpAddr::V4(host) if host.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(host) if host.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        host => host,
    };
    let address = SocketAddr::new(host, core.port);
    match ask(address).await {
        Ok(Some(readiness)) => {
            let runs = Finding::ok(WHAT, format!("runs at {address}: {}", readiness.status));
            let vendors = readiness.vendors.iter().flat_map(|(name, vendor)| of_vendor(name, vendor));
            std::iter::once(runs).chain(vendors).collect()
        }
        Ok(None) => {
            let text = format!("{address} is answered by another program");
            vec![Finding::warn(WHAT, text, "Choose another PORT, or stop that program")]
        }
        Err(error) if error.is_connect() => vec![Finding::ok(WHAT, format!("does not run at {address}"))],
        Err(_) => vec![Finding::warn(WHAT, format!("{address} does not answer in time"), "Check the server's log, and its load")],
    }
}

/// Returns the server's readiness; `None` if the answer is no readiness.
async fn ask(address: SocketAddr) -> reqwest::Result<Option<Readiness>> {
    // Not the client of the vendors, because a proxy for those does not lead to this machine.
    let client = reqwest::Client::builder().no_proxy().timeout(TIMEOUT).build()?;
    let answer = client.get(format!("http://{address}{PATH}")).send().await?;
    Ok(answer.json().await.ok())
}

fn of_vendor(name: &str, vendor: &Vendor) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut warn = |text: &str, remedy| findings.push(Finding::warn(WHAT, format!("{name}: {text}"), remedy));
    match vendor.breaker.as_deref() {
        None => {}
        Some("half_open") => warn("circuit breaker half-open: it was failing, and single calls test it", OUTAGE),
        Some(_) => warn("circuit breaker open: it kept failing, and is not called for 30 s at a time", OUTAGE),
    }
    match vendor.account.as_deref() {
        None => {}
        Some("billing") => warn("refuses calls because of the account's credit or billing", "Look at the vendor's billing page"),
        Some(_) => warn("does not accept its key", "Correct the key in the configuration, and restart the server"),
    }
    if let Some(cooling) = vendor.cooling {
        warn(&format!("limits our calls: {cooling} cooling down, for a minute at most"), "Ask the vendor for higher limits");
    }
    findings
}
