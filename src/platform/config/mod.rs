//! Environment variables. Every component reads its section through [`Env`], which records each variable that is read and
//! reports *all* problems at once before the start fails.
//!
//! `.env.example`, `docs/configuration.md`, `omnistack config` and `omnistack doctor` are made from these records, so none of
//! them can name a variable that the code does not read.

mod env_file;
mod notes;
mod values;

use std::collections::HashMap;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use secrecy::SecretString;

use env_file::EnvFile;

pub use notes::{Note, env_example, markdown, values_table};
pub use values::{Choice, Environment, List, Origin, Value, is_loopback};

/// A part of the configuration, read beside the code that uses it.
pub trait Section: Sized {
    fn read(env: &mut Env) -> Self;
}

/// A problem with one variable. Never contains the variable's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub variable: String,
    pub reason: String,
    pub remedy: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}. {}", self.variable, self.reason, self.remedy)
    }
}

/// Reads variables by name and records each of them.
pub struct Env {
    vars: HashMap<String, String>,
    section: &'static str,
    notes: Vec<Note>,
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
    environment: Environment,
}

impl Env {
    /// Reads the process environment; missing variables come from a `.env` file in the working directory.
    pub fn from_process() -> Self {
        let file = read_env_file();
        let mut vars = file.vars;
        let process = std::env::vars_os().map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()));
        // An empty value counts as unset, so the file fills that in too.
        vars.extend(process.filter(|(_, value)| !value.trim().is_empty()));
        let mut env = Self::from_vars(vars);
        for (reason, remedy) in file.faults {
            env.problem(".env", reason, remedy);
        }
        for (name, earlier, last) in file.repeated {
            env.warning(&name, format!("is set on lines {earlier} and {last} of .env; the last one counts"), "Remove the others");
        }
        env
    }

    /// Exactly these variables and no others; an empty value counts as unset.
    pub fn from_vars(vars: impl IntoIterator<Item = (String, String)>) -> Self {
        let vars = vars.into_iter().filter(|(_, value)| !value.trim().is_empty()).collect();
        Self { vars, section: "Core", notes: Vec::new(), problems: Vec::new(), warnings: Vec::new(), environment: Environment::Local }
    }

    /// Starts a section of the documentation.
    pub fn section(&mut self, title: &'static str) {
        self.section = title;
    }

    /// The environment that the process runs in. It is read first, so every section can use it.
    pub fn environment(&self) -> Environment {
        self.environment
    }

    /// Reads `ENVIRONMENT`, on which other variables' defaults depend.
    pub fn read_environment(&mut self) -> Environment {
        self.environment = self.var("ENVIRONMENT", "Environment: `local`, `staging` or `production`").or(Environment::Local);
        self.environment
    }

    /// Whether the variable is set, without reading it.
    pub fn is_set(&self, name: &str) -> bool {
        self.vars.contains_key(name)
    }

    /// Records a problem if the variable is unset although the choice made by `chooser` needs it. A variable that is set but
    /// invalid is reported when it is read.
    pub fn require(&mut self, variable: &str, chooser: &str, choice: &str) {
        if !self.is_set(variable) {
            let reason = format!("is required with {chooser}={choice}");
            self.problem(variable, reason, format!("Set it, or choose another {chooser}"));
        }
    }

    /// Asks for a variable; one of [`Var`]'s methods then reads it.
    pub fn var(&mut self, name: &'static str, help: &'static str) -> Var<'_> {
        Var { env: self, name, help, shown_default: None }
    }

    /// Records a problem that stops the start.
    pub fn problem(&mut self, variable: &str, reason: impl Into<String>, remedy: impl Into<String>) {
        self.problems.push(Problem { variable: variable.to_owned(), reason: reason.into(), remedy: remedy.into() });
    }

    /// Returns whether a problem with the variable was recorded. A rule on its default would only add a misleading second one.
    pub fn has_problem(&self, variable: &str) -> bool {
        self.problems.iter().any(|problem| problem.variable == variable)
    }

    /// Records a warning; it does not stop the start.
    pub fn warning(&mut self, variable: &str, reason: impl Into<String>, remedy: impl Into<String>) {
        self.warnings.push(Problem { variable: variable.to_owned(), reason: reason.into(), remedy: remedy.into() });
    }

    /// Everything noted: the variables asked for, the problems, the warnings.
    pub fn finish(self) -> Findings {
        Findings { notes: self.notes, problems: self.problems, warnings: self.warnings }
    }
}

/// The result of reading the configuration.
pub struct Findings {
    pub notes: Vec<Note>,
    pub problems: Vec<Problem>,
    pub warnings: Vec<Problem>,
}

/// One variable about to be read.
pub struct Var<'e> {
    env: &'e mut Env,
    name: &'static str,
    help: &'static str,
    shown_default: Option<&'static str>,
}

impl Var<'_> {
    /// The default as the documentation shows it, where it is not a plain value.
    pub fn shown_default(mut self, text: &'static str) -> Self {
        self.shown_default = Some(text);
        self
    }

    /// The parsed value, or `default` where it is unset or broken (then a problem is recorded).
    pub fn or<T: Value>(self, default: T) -> T {
        self.checked(default, |_| true, "")
    }

    /// As [`Var::or`], with a rule that the value must satisfy; `wants` completes "must be …".
    pub fn checked<T: Value>(self, default: T, rule: impl Fn(&T) -> bool, wants: &str) -> T {
        let shown = self.shown_default.map_or_else(|| default.show(), str::to_owned);
        self.take(shown, rule, wants).unwrap_or(default)
    }

    /// One of these names; the first is the default.
    pub fn one_of(mut self, names: &[&'static str]) -> &'static str {
        let (given, default) = (self.env.vars.get(self.name).cloned(), names.first().copied().unwrap_or_default());
        let known = given.as_deref().and_then(|given| names.iter().copied().find(|name| *name == given.trim()));
        self.note(default.to_owned(), known.map(str::to_owned), false);
        if given.is_some() && known.is_none() {
            let remedy = format!("Correct it, or leave it unset for {default}");
            self.env.problem(self.name, format!("must be one of {}", names.join(", ")), remedy);
        }
        known.unwrap_or(default)
    }

    /// The parsed value, or `None` where it is unset.
    pub fn optional<T: Value>(self) -> Option<T> {
        self.optional_checked(|_| true, "")
    }

    /// As [`Var::optional`], with a rule; `wants` completes "must be …".
    pub fn optional_checked<T: Value>(self, rule: impl Fn(&T) -> bool, wants: &str) -> Option<T> {
        let shown = self.shown_default.unwrap_or("").to_owned();
        self.take(shown, rule, wants)
    }

    /// A secret of at least `min` characters; it is never printed.
    pub fn secret(mut self, min: usize) -> Option<SecretString> {
        let raw = self.env.vars.get(self.name).cloned();
        self.note(self.shown_default.unwrap_or("").to_owned(), raw.as_ref().map(|_| "***".to_owned()), true);
        if raw.as_deref().is_some_and(|raw| raw.chars().count() < min) {
            self.env.problem(self.name, format!("must have at least {min} characters"), "Make one with `openssl rand -hex 32`");
        }
        raw.map(SecretString::from)
    }

    /// A comma-separated or JSON list of secrets of at least `min` characters each; at most `max` of them.
    pub fn secrets(mut self, min: usize, max: usize) -> Vec<SecretString> {
        let raw = self.env.vars.get(self.name).cloned();
        self.note(self.shown_default.unwrap_or("").to_owned(), raw.as_ref().map(|_| "***".to_owned()), true);
        let Some(raw) = raw else { return Vec::new() };
        let list = List::<String>::parse(raw.trim()).unwrap_or_default().0;
        if list.is_empty() || list.len() > max || list.iter().any(|secret| secret.chars().count() < min) {
            let reason = format!("must be a list of 1 to {max} secrets of at least {min} characters, separated by commas");
            self.env.problem(self.name, reason, "Correct it, or leave it unset");
        }
        // A secret that was read from a file may end with a line break, which a list does not keep.
        let mut secrets: Vec<String> = list.iter().flat_map(|secret| [secret.clone(), format!("{secret}\n")]).collect();
        secrets.dedup();
        secrets.into_iter().map(SecretString::from).collect()
    }

    fn take<T: Value>(mut self, shown_default: String, rule: impl Fn(&T) -> bool, wants: &str) -> Option<T> {
        let parsed = self.env.vars.get(self.name).map(|raw| T::parse(raw.trim()));
        let shown = parsed.as_ref().and_then(|value| value.as_ref().ok()).map(Value::show);
        let remedy = match shown_default.as_str() {
            "" => "Correct it, or leave it unset".to_owned(),
            default => format!("Correct it, or leave it unset for {default}"),
        };
        self.note(shown_default, shown, false);
        let wants = match parsed {
            None => return None,
            Some(Ok(value)) if rule(&value) => return Some(value),
            Some(Ok(_)) => wants.to_owned(),
            Some(Err(wants)) => wants,
        };
        self.env.problem(self.name, format!("must be {wants}"), remedy);
        None
    }

    fn note(&mut self, default: String, value: Option<String>, secret: bool) {
        let (section, name, help) = (self.env.section, self.name, self.help);
        self.env.notes.push(Note { section, name, help, default, value, secret });
    }
}

fn read_env_file() -> EnvFile {
    // A folder of this name, such as a Python environment, is none of ours.
    if !Path::new(".env").is_file() {
        return EnvFile::default();
    }
    let mut bytes = Vec::new();
    // One byte more than allowed, so that a longer file is refused instead of cut.
    let read = File::open(".env").and_then(|file| file.take(env_file::MAX_BYTES as u64 + 1).read_to_end(&mut bytes));
    match read {
        Ok(_) => EnvFile::parse(&bytes),
        Err(error) => EnvFile {
            faults: vec![(format!("cannot be read: {}", error.kind()), "Let this user read it, or remove it")],
            ..EnvFile::default()
        },
    }
}

/// Returns the path of the running binary, to show in commands that a user can copy.
pub fn program() -> String {
    std::env::current_exe().map_or_else(|_| "omnistack".to_owned(), |path| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(vars: &[(&str, &str)]) -> Env {
        Env::from_vars(vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    #[test]
    fn config_problems_are_all_reported_without_values() {
        let mut env = env(&[("PORT", "eighty"), ("LIMIT", "0"), ("KEY", "hunter2")]);
        assert_eq!(env.var("PORT", "port").or(8000_u16), 8000);
        assert_eq!(env.var("LIMIT", "limit").checked(5_u32, |n| *n > 0, "at least 1"), 5);
        let _ = env.var("KEY", "key").secret(32);
        let found = env.finish();
        assert_eq!(found.problems.iter().map(|p| p.variable.as_str()).collect::<Vec<_>>(), ["PORT", "LIMIT", "KEY"]);
        let all = found.problems.iter().map(ToString::to_string).collect::<String>();
        assert!(!all.contains("eighty") && !all.contains("hunter2"), "{all}");
    }

    #[test]
    fn variable_empty_counts_as_unset() {
        let mut env = env(&[("PORT", "  ")]);
        assert_eq!(env.var("PORT", "port").or(8000_u16), 8000);
        assert!(env.finish().problems.is_empty());
    }
}
