//! `omnistack routes`: every route with its policy.

use std::process::ExitCode;

use clap::Args as Arguments;

use crate::boot::router;
use crate::features;
use crate::platform::http::Route;

#[derive(Arguments)]
pub struct Args {
    /// Print the table of `docs/routes.md`.
    #[arg(long)]
    markdown: bool,
}

pub fn run(args: &Args) -> ExitCode {
    let mut rows: Vec<[String; 5]> = router::routes(&features::all()).iter().flat_map(|route| rows(route)).collect();
    rows.sort_by(|a, b| (&a[1], &a[0]).cmp(&(&b[1], &b[0])));
    if args.markdown {
        println!("| Method | Path | Access | Rate limit | Feature |\n| --- | --- | --- | --- | --- |");
        for [method, path, access, limit, feature] in rows {
            println!("| {method} | `{path}` | {access} | {limit} | {feature} |");
        }
    } else {
        let width = rows.iter().map(|row| row[1].len()).max().unwrap_or(0);
        for [method, path, access, limit, feature] in rows {
            println!("{method:<7} {path:<width$}  {access:<14} {limit:<8} {feature}");
        }
    }
    ExitCode::SUCCESS
}

fn rows(route: &Route) -> impl Iterator<Item = [String; 5]> + '_ {
    let limit = route.policy.budget.map_or("none", |budget| budget.name);
    route.methods.iter().map(move |method| {
        [method.to_string(), route.template.clone(), route.policy.access.name().to_owned(), limit.to_owned(), route.feature.to_owned()]
    })
}
