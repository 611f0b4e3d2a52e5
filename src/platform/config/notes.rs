//! Records of the variables that were read, and the three texts made from them.

use std::fmt::Write as _;

/// One variable that the code asked for.
#[derive(Debug, Clone)]
pub struct Note {
    pub section: &'static str,
    pub name: &'static str,
    pub help: &'static str,
    /// As the documentation shows it; empty if there is no default.
    pub default: String,
    /// The effective value in printable form; `None` if the variable is unset.
    pub value: Option<String>,
    pub secret: bool,
}

/// The notes grouped by section, sections in the order of their first variable.
fn sections(notes: &[Note]) -> Vec<(&'static str, Vec<&Note>)> {
    let mut groups: Vec<(&'static str, Vec<&Note>)> = Vec::new();
    for note in notes {
        match groups.iter_mut().find(|(title, _)| *title == note.section) {
            Some((_, group)) => group.push(note),
            None => groups.push((note.section, vec![note])),
        }
    }
    groups
}

/// `.env.example`: every variable, commented out, with its default.
pub fn env_example(notes: &[Note]) -> String {
    let mut out = String::from(
        "# Every variable that the server reads, with its default. Copy to .env and uncomment what you change.\n\
         # Nothing here is needed to start on a laptop. Made by `make docs`; do not edit by hand.\n",
    );
    for (title, group) in sections(notes) {
        let _ = write!(out, "\n# --- {title} ---\n");
        for note in group {
            let default = if note.default.starts_with('`') { "" } else { note.default.as_str() };
            let explained =
                if default.is_empty() && !note.default.is_empty() { format!(" (default: {})", note.default) } else { String::new() };
            let quote = if default.contains([' ', '#', '"']) { "'" } else { "" };
            let _ = write!(out, "# {}{explained}\n# {}={quote}{default}{quote}\n", note.help, note.name);
        }
    }
    out
}

/// The table of `docs/configuration.md`.
pub fn markdown(notes: &[Note]) -> String {
    let mut out = String::new();
    for (title, group) in sections(notes) {
        let _ = write!(out, "\n## {title}\n\n| Variable | Default | Meaning |\n| --- | --- | --- |\n");
        for note in group {
            let default = match note.default.as_str() {
                "" => "unset".to_owned(),
                text if text.starts_with('`') => text.to_owned(),
                text => format!("`{text}`"),
            };
            let secret = if note.secret { " (secret)" } else { "" };
            let _ = writeln!(out, "| `{}` | {default} | {}{secret} |", note.name, note.help);
        }
    }
    out
}

/// The effective values, for `omnistack config`; secrets are masked.
pub fn values_table(notes: &[Note]) -> String {
    let width = notes.iter().map(|note| note.name.len()).max().unwrap_or(0);
    let mut out = String::new();
    for (title, group) in sections(notes) {
        let _ = writeln!(out, "{title}");
        for note in group {
            let (value, origin) = match &note.value {
                Some(value) => (value.as_str(), ""),
                None if note.default.is_empty() => ("-", ""),
                None => (note.default.as_str(), "  (default)"),
            };
            let _ = writeln!(out, "  {:width$}  {value}{origin}", note.name);
        }
        out.push('\n');
    }
    out
}
