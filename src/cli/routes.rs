//! `omnistack routes`

use std::process::ExitCode;

use clap::Args as Arguments;

use crate::boot::router;
use crate::platform::http::Route;

#[derive(Arguments)]
pub struct Args {
    /// As the table of `docs/routes.md`.
    #[arg(long)]
    markdown: bool,
}

pub fn run(args: &Args) -> ExitCode {
    let mut rows: Vec<[String; 4]> = router::routes().iter().flat_map(|route| rows(route)).collect();
    rows.sort_by(|a, b| (&a[1], &a[0]).cmp(&(&b[1], &b[0])));
    if args.markdown {
        println!("| Method | Path | Zone | Rate limit |\n| --- | --- | --- | --- |");
        for [method, path, zone, limit] in rows {
            println!("| {method} | `{path}` | {zone} | {limit} |");
        }
    } else {
        let width = rows.iter().map(|row| row[1].len()).max().unwrap_or(0);
        for [method, path, zone, limit] in rows {
            println!("{method:<7} {path:<width$}  {zone:<7} {limit}");
        }
    }
    ExitCode::SUCCESS
}

fn rows(route: &Route) -> impl Iterator<Item = [String; 4]> + '_ {
    let limit = if route.options.limited { route.class.name() } else { "none" };
    route.methods.iter().map(move |method| [method.to_string(), route.template.clone(), route.zone.name().to_owned(), limit.to_owned()])
}
