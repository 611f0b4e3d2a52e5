//! `omnistack routes`: every route with its policy.

use std::process::ExitCode;
use std::sync::Arc;

use clap::Args as Arguments;

use crate::boot::router;
use crate::features;
use crate::platform::http::Route;
use crate::platform::output;

#[derive(Arguments)]
pub struct Args {
    /// Print the table of `docs/routes.md`.
    #[arg(long)]
    markdown: bool,
}

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    output::print(table(&router::routes(&features::all()), args.markdown))?;
    Ok(ExitCode::SUCCESS)
}

/// The routes as a table, in the order of their paths.
pub fn table(routes: &[Arc<Route>], markdown: bool) -> String {
    let mut rows: Vec<[String; 5]> = routes.iter().flat_map(|route| rows(route)).collect();
    rows.sort_by(|a, b| (&a[1], &a[0]).cmp(&(&b[1], &b[0])));
    let width = rows.iter().map(|row| row[1].len()).max().unwrap_or(0);
    let head = "| Method | Path | Access | Rate limit | Feature |\n| --- | --- | --- | --- | --- |\n";
    let mut text = if markdown { head.to_owned() } else { String::new() };
    for [method, path, access, limit, feature] in rows {
        let line = if markdown {
            format!("| {method} | `{path}` | {access} | {limit} | {feature} |\n")
        } else {
            format!("{method:<7} {path:<width$}  {access:<14} {limit:<8} {feature}\n")
        };
        text.push_str(&line);
    }
    text
}

fn rows(route: &Route) -> impl Iterator<Item = [String; 5]> + '_ {
    let limit = route.policy.budget.map_or("none", |budget| budget.name);
    route.methods.iter().map(move |method| {
        [method.to_string(), route.template.clone(), route.policy.access.name().to_owned(), limit.to_owned(), route.feature.to_owned()]
    })
}
