//! `omnistack fake-vendors`: starts a local look-alike of Stripe, so that a purchase is tried without an account.

use std::process::ExitCode;

use anyhow::Context;
use clap::{Args as Arguments, ValueEnum};
use url::Url;

use crate::boot::signals::Signals;
use crate::fakes::stripe::{Fake, Settings};
use crate::platform::config::Env;
use crate::platform::output;

#[derive(Arguments)]
pub struct Args {
    /// Port on 127.0.0.1; 0 takes any free one.
    #[arg(long, default_value_t = 12111)]
    port: u16,
    /// Where the webhooks go.
    #[arg(long, default_value = "http://127.0.0.1:8000/api/v1/public/webhooks/stripe")]
    deliver_to: Url,
    /// Billing mode of the subscriptions.
    #[arg(long, value_enum, default_value_t = Mode::Flexible)]
    mode: Mode,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Mode {
    Flexible,
    Classic,
}

pub async fn run(args: &Args) -> anyhow::Result<ExitCode> {
    anyhow::ensure!(!Env::from_process().read_environment().is_production(), "refused in production: anybody could pay there with nothing");
    let mut signals = Signals::listen().context("signals cannot be received")?;
    let settings =
        Settings { port: args.port, deliver_to: Some(args.deliver_to.clone()), classic: args.mode == Mode::Classic, ..Settings::default() };
    let variables = variables(&settings);
    let mut fake = Fake::start(settings).await?;
    output::print(format_args!(
        "# A look-alike of Stripe is at {url}, and sends webhooks to {to}\n# Add these lines to .env:\nSTRIPE_API_BASE={url}\n{variables}",
        url = fake.url,
        to = args.deliver_to
    ))?;
    tokio::select! {
        () = signals.received() => Ok(ExitCode::SUCCESS),
        ended = fake.ended() => ended.map(|()| ExitCode::FAILURE),
    }
}

/// The variables that connect the server with the look-alike, besides its address.
fn variables(settings: &Settings) -> String {
    let names = ["STRIPE_PRICE_ID_MONTHLY", "STRIPE_PRICE_ID_YEARLY", "STRIPE_PRICE_ID_ENTERPRISE"];
    let prices = names.iter().zip(&settings.prices).map(|(name, price)| format!("{name}={}\n", price.id));
    let Settings { secret_key, webhook_secret, .. } = settings;
    format!("STRIPE_SECRET_KEY={secret_key}\nSTRIPE_WEBHOOK_SECRET={webhook_secret}\n{}", prices.collect::<String>())
}
