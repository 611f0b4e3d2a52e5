//! Results as text tables: medians over the rounds, and our server relative to the floor.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::compare::Scenario;
use crate::driver::{Load, Tally};
use crate::servers::{Engine, Role};

/// Results of one measurement of one route on one server.
pub struct Visit {
    rate: f64,
    p50_ms: f64,
    p99_ms: f64,
    /// Share of a CPU used by the driver; near 1, the driver was the bottleneck.
    busy: Option<f64>,
}

impl Visit {
    pub fn new(tally: &Tally, load: &Load, driver: Option<Duration>) -> Self {
        Self {
            rate: count(tally.latencies.total()) / load.length.as_secs_f64(),
            p50_ms: millis(tally.latencies.quantile(500)),
            p99_ms: millis(tally.latencies.quantile(990)),
            busy: driver.map(|time| time.as_secs_f64() / (load.warm_up + load.length).as_secs_f64()),
        }
    }
}

/// Startup times of a server, and its memory in MiB before and after all measurements.
pub struct Start {
    pub ready_ms: Vec<f64>,
    pub idle: Option<f64>,
    pub after: Option<f64>,
}

#[derive(Default)]
struct Series {
    visits: Vec<Visit>,
    failures: Failures,
}

impl Series {
    fn median(&self, figure: impl Fn(&Visit) -> f64) -> f64 {
        median(self.visits.iter().map(figure))
    }

    /// Spread of the rounds, relative to their median.
    fn spread(&self) -> f64 {
        let rates = || self.visits.iter().map(|visit| visit.rate);
        let apart = rates().fold(f64::MIN, f64::max) - rates().fold(f64::MAX, f64::min);
        apart / self.median(|visit| visit.rate)
    }
}

/// Requests without a 2xx response.
#[derive(Default)]
pub struct Failures {
    count: u64,
    first: Option<String>,
}

impl Failures {
    pub fn note(&mut self, tally: &Tally) {
        self.count += tally.refused + tally.broken;
        if self.first.is_none() {
            self.first.clone_from(&tally.first_refusal);
        }
    }

    pub fn none(&self) -> bool {
        self.count == 0
    }

    /// Prints a line about the failures, if there are any.
    pub fn tell(&self, what: &str) {
        if let Some(first) = &self.first {
            println!("{what}: {} requests failed, the first with: {first}", self.count);
        }
    }
}

/// All results of one engine.
pub struct Results {
    title: String,
    starts: BTreeMap<Role, Start>,
    series: BTreeMap<(Scenario, Role), Series>,
}

impl Results {
    pub fn new(engine: Engine, load: &Load, rounds: u64) -> Self {
        let title = format!(
            "{}: {rounds} × {} s for each, {} connections; medians over the rounds",
            engine.name(),
            load.length.as_secs(),
            load.connections
        );
        Self { title, starts: BTreeMap::new(), series: BTreeMap::new() }
    }

    pub fn note_start(&mut self, role: Role, start: Start) {
        self.starts.insert(role, start);
    }

    pub fn note_end(&mut self, role: Role, resident: Option<f64>) {
        if let Some(start) = self.starts.get_mut(&role) {
            start.after = resident;
        }
    }

    pub fn note_visit(&mut self, scenario: Scenario, role: Role, visit: Visit, tally: &Tally) {
        let series = self.series.entry((scenario, role)).or_default();
        series.visits.push(visit);
        series.failures.note(tally);
    }

    /// Returns whether every response was 2xx.
    pub fn clean(&self) -> bool {
        self.series.values().all(|series| series.failures.none())
    }

    pub fn print(&self) {
        println!("\n{}\n", self.title);
        println!(
            "{:<9}{:<9}{:>9}{:>8}{:>9}{:>9}{:>9}{:>9}{:>8}{:>10}{:>12}",
            "scenario", "server", "req/s", "spread", "p50 ms", "p99 ms", "p99/p50", "not 2xx", "driver", "÷ floor", "extra"
        );
        for ((scenario, role), series) in &self.series {
            let (rate, p50, p99) = (series.median(|v| v.rate), series.median(|v| v.p50_ms), series.median(|v| v.p99_ms));
            let first = *role == Role::Floor;
            print!("{:<9}{:<9}", if first { scenario.name() } else { "" }, role.name());
            print!("{rate:>9.0}{:>6.0} %{p50:>9.3}{p99:>9.3}", series.spread() * 100.0);
            print!("{:>9.2}{:>9}", p99 / p50, series.failures.count);
            print!("{:>6.0} %", series.median(|visit| visit.busy.unwrap_or(f64::NAN)) * 100.0);
            if let Some(floor) = self.series.get(&(*scenario, Role::Floor)).filter(|_| !first) {
                let limit = floor.median(|visit| visit.rate);
                print!("{:>10.2}{:>+9.1} µs", rate / limit, 1e6 / rate - 1e6 / limit);
            }
            println!();
        }
        println!("\ndriver: share of its CPU it used; extra: cost of a request above the floor, 1/ours - 1/floor");
        println!("\n{:<9}{:>10}{:>16}{:>17}", "server", "ready ms", "RSS idle MiB", "RSS after MiB");
        for (role, start) in &self.starts {
            let ready = median(start.ready_ms.iter().copied());
            println!("{:<9}{ready:>10.1}{:>16}{:>17}", role.name(), mebibytes(start.idle), mebibytes(start.after));
        }
        for ((scenario, role), series) in &self.series {
            series.failures.tell(&format!("{} of {}", scenario.name(), role.name()));
        }
    }
}

pub fn mebibytes(resident: Option<f64>) -> String {
    resident.map_or_else(|| "-".to_owned(), |mebibytes| format!("{mebibytes:.1}"))
}

pub fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

pub fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    match (values.get(values.len().saturating_sub(1) / 2), values.get(values.len() / 2)) {
        (Some(low), Some(high)) => f64::midpoint(*low, *high),
        _ => f64::NAN,
    }
}

#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 requests")]
pub fn count(requests: u64) -> f64 {
    requests as f64
}
