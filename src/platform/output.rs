//! Standard output and standard error of the process, which may be a full disk or a closed pipe. `println!` would panic there.

use std::fmt::Display;
use std::io::Write;

use anyhow::Context;

/// Writes text to standard output. A command whose output cannot be written has failed.
pub fn print(text: impl Display) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    // Flushed, because an error that shows at the end of the process is ignored.
    write!(out, "{text}").and_then(|()| out.flush()).context("standard output cannot be written")
}

/// Writes a line to standard output.
pub fn line(text: impl Display) -> anyhow::Result<()> {
    print(format_args!("{text}\n"))
}

/// Writes a line to standard error. There is nowhere left to report a failure to.
pub fn error(text: impl Display) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
