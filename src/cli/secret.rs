//! Secrets that a command needs. They come from the terminal or from standard input: a command line is shown to every user of the
//! machine, and stays in the shell's history.

use std::io::{BufRead, IsTerminal};

use anyhow::{Context, ensure};

/// Why a secret on the command line is refused.
pub const REFUSED: &str = "a command line is visible to other users of this machine and stays in the shell's history";

/// Whether somebody can be asked.
pub fn can_ask() -> bool {
    std::io::stdin().is_terminal()
}

/// Asks at the terminal, without echo; without a terminal, reads one line of standard input.
pub fn read(name: &str) -> anyhow::Result<String> {
    if can_ask() {
        return ask(name);
    }
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).context("standard input cannot be read")?;
    let secret = line.trim_end_matches(['\n', '\r']);
    ensure!(!secret.is_empty(), "standard input holds no {name}");
    Ok(secret.to_owned())
}

/// Asks at the terminal, without echo.
pub fn ask(name: &str) -> anyhow::Result<String> {
    rpassword::prompt_password(format!("{name} (is not shown): ")).context("the terminal cannot be read")
}

/// Asks twice, without echo.
pub fn ask_twice(name: &str) -> anyhow::Result<String> {
    let first = ask(name)?;
    ensure!(rpassword::prompt_password("Once more: ").context("the terminal cannot be read")? == first, "the two differ");
    Ok(first)
}
