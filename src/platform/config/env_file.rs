//! Reader of `.env` files, as people have them: written by hand, by editors on Windows, or copied out of shell scripts and
//! Docker files.
//!
//! Own code, because the crates substitute `$NAME`, refuse spaces and report no line numbers. The rules are in
//! `docs/configuration.md`. Nothing here repeats the content of a line: it may be a secret.

use std::collections::HashMap;

/// Maximum size of the file in bytes.
pub(super) const MAX_BYTES: usize = 1 << 20;
/// Maximum number of reported lines. A file of another kind has a fault on every line.
const MAX_FAULTS: usize = 10;

/// What a file sets, and what is wrong with it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct EnvFile {
    pub vars: HashMap<String, String>,
    /// Lines that cannot be read: what is wrong, and the remedy.
    pub faults: Vec<(String, &'static str)>,
    /// Names that are set more than once: the name, its earlier line and the line that counts.
    pub repeated: Vec<(String, usize, usize)>,
}

impl EnvFile {
    pub fn parse(bytes: &[u8]) -> Self {
        let mut file = Self::default();
        if bytes.len() > MAX_BYTES {
            file.fault("is larger than 1 MiB", "Check that it is the file that is meant");
        } else if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) || bytes.contains(&0) {
            file.fault("is UTF-16 text or no text at all", "Save it as UTF-8");
        } else {
            match std::str::from_utf8(bytes) {
                Ok(text) => file.read(text.strip_prefix('\u{feff}').unwrap_or(text)),
                Err(error) => {
                    let line = bytes.iter().take(error.valid_up_to()).filter(|byte| **byte == b'\n').count() + 1;
                    file.fault(format!("line {line} is not UTF-8"), "Save the file as UTF-8");
                }
            }
        }
        file
    }

    fn read(&mut self, mut rest: &str) {
        let (mut line, mut lines) = (1, HashMap::new());
        while !rest.is_empty() && self.faults.len() < MAX_FAULTS {
            let assignment = match Assignment::read(rest) {
                Ok(assignment) => assignment,
                Err((reason, remedy)) => {
                    self.fault(format!("line {line} {reason}"), remedy);
                    Assignment { set: None, length: end_of_line(rest) }
                }
            };
            if let Some((name, value)) = assignment.set {
                if let Some(earlier) = lines.insert(name.to_owned(), line) {
                    self.repeated.push((name.to_owned(), earlier, line));
                }
                self.vars.insert(name.to_owned(), value);
            }
            let (read, following) = rest.split_at(assignment.length);
            line += read.matches('\n').count();
            rest = following;
        }
    }

    fn fault(&mut self, reason: impl Into<String>, remedy: &'static str) {
        self.faults.push((reason.into(), remedy));
    }
}

/// Why a line cannot be read, and the remedy.
type Fault = (&'static str, &'static str);

const NO_ASSIGNMENT: Fault = ("is no NAME=value", "Correct it, or start it with # to make it a comment");
const UNCLOSED: Fault = ("opens a quote that is not closed", "Close it, or quote the value with the other kind of quote");
const TRAILING: Fault = ("has text after the closing quote", "Quote the whole value once, with the kind of quote that it does not hold");

/// The first assignment of a text, and how many bytes it takes, its line ends included.
struct Assignment<'t> {
    /// `None` for a blank line or a comment.
    set: Option<(&'t str, String)>,
    length: usize,
}

impl<'t> Assignment<'t> {
    fn read(text: &'t str) -> Result<Self, Fault> {
        let length = end_of_line(text);
        let line = text[..length].trim();
        if line.is_empty() || line.starts_with('#') {
            return Ok(Self { set: None, length });
        }
        let (left, _) = line.split_once('=').ok_or(NO_ASSIGNMENT)?;
        let name = left.strip_prefix("export").filter(|name| name.starts_with([' ', '\t'])).unwrap_or(left).trim();
        if !is_name(name) {
            return Err(NO_ASSIGNMENT);
        }
        // Both quotes may span lines, as keys in PEM form do, so a quoted value is looked for in the whole text.
        let from = text.find('=').map_or(length, |equals| equals + 1);
        let from = from + text[from..length].len() - text[from..length].trim_start().len();
        let value = &text[from..];
        let (value, read) = match value.as_bytes().first() {
            Some(b'\'') => single_quoted(value).ok_or(UNCLOSED)?,
            Some(b'"') => double_quoted(value).ok_or(UNCLOSED)?,
            _ => return Ok(Self { set: Some((name, unquoted(&text[from - 1..length]))), length }),
        };
        let after = &text[from + read..];
        let end = end_of_line(after);
        let trailing = after[..end].trim();
        if !trailing.is_empty() && !trailing.starts_with('#') {
            return Err(TRAILING);
        }
        Ok(Self { set: Some((name, value)), length: from + read + end })
    }
}

/// The number of bytes up to the next line, or the end.
fn end_of_line(text: &str) -> usize {
    text.find('\n').map_or(text.len(), |end| end + 1)
}

/// Returns whether the text can be the name of a variable. Dots and dashes are allowed, because other programs that read the
/// same file use them.
fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
}

/// Everything up to a `#` after a space, literally. `text` begins with the character before the value.
fn unquoted(text: &str) -> String {
    let comment = text.char_indices().zip(text.char_indices().skip(1)).find(|((_, before), (_, c))| *c == '#' && before.is_whitespace());
    let end = comment.map_or(text.len(), |((at, _), _)| at);
    // The character before is `=` or a space.
    text.get(1..end).unwrap_or_default().trim().to_owned()
}

/// The text between two single quotes, literally, and how many bytes it takes.
fn single_quoted(text: &str) -> Option<(String, usize)> {
    let end = text[1..].find('\'')? + 1;
    Some((line_ends(&text[1..end]), end + 1))
}

/// The text between two double quotes, and how many bytes it takes. The four escapes are replaced; any other backslash stays.
fn double_quoted(text: &str) -> Option<(String, usize)> {
    let mut value = String::new();
    let mut characters = text.char_indices().skip(1).peekable();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((line_ends(&value), at + 1)),
            '\\' => {
                let escaped = characters.next_if(|(_, next)| matches!(next, 'n' | '"' | '\\' | '$'));
                value.push(match escaped {
                    Some((_, 'n')) => '\n',
                    Some((_, other)) => other,
                    None => '\\',
                });
            }
            other => value.push(other),
        }
    }
    None
}

/// A value of several lines has the line ends of Unix, whatever the file has.
fn line_ends(value: &str) -> String {
    value.replace("\r\n", "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(String, String)> {
        let file = EnvFile::parse(text.as_bytes());
        assert_eq!(file.faults, [], "{text}");
        let mut vars: Vec<_> = file.vars.into_iter().collect();
        vars.sort();
        vars
    }

    #[test]
    fn env_file_lines_of_real_life_are_read() {
        for (line, value) in [
            ("A=1", "1"),
            ("A = 1", "1"),
            ("\tA=1  ", "1"),
            ("A=1\r", "1"),
            ("export A=1", "1"),
            ("export\tA=1", "1"),
            ("A=", ""),
            ("A=  # nothing", ""),
            ("A=''", ""),
            ("A=\"\"", ""),
            // Unquoted: literal, spaces inside included.
            ("A=My App", "My App"),
            ("A=Cash$Money", "Cash$Money"),
            ("A=${HOME}/x", "${HOME}/x"),
            ("A=it's", "it's"),
            ("A=5\" disk", "5\" disk"),
            ("A=C:\\new\\table", "C:\\new\\table"),
            ("A=[\"http://localhost:3000\", \"https://a.example\"]", "[\"http://localhost:3000\", \"https://a.example\"]"),
            ("A=postgres://u:p#w=1@h/db?sslmode=require", "postgres://u:p#w=1@h/db?sslmode=require"),
            ("A=c2VjcmV0cw==", "c2VjcmV0cw=="),
            ("A=Müller & Söhne", "Müller & Söhne"),
            ("A=`x`", "`x`"),
            // A comment needs a space before its #.
            ("A=1 # one", "1"),
            ("A=1\t# one", "1"),
            ("A=1 #", "1"),
            ("A=a#b", "a#b"),
            ("A=#fff", "#fff"),
            ("A=a #b #c", "a"),
            // Single quotes: literal.
            ("A='a # b'", "a # b"),
            ("A='Cash$Money'", "Cash$Money"),
            ("A='a\\nb'", "a\\nb"),
            ("A='say \"hi\"'", "say \"hi\""),
            ("A=' x ' # comment", " x "),
            ("A='x'# comment", "x"),
            // Double quotes: four escapes, nothing substituted.
            ("A=\"a # b\"", "a # b"),
            ("A=\"a\\nb\"", "a\nb"),
            ("A=\"say \\\"hi\\\"\"", "say \"hi\""),
            ("A=\"\\\\ \\$A $A\"", "\\ $A $A"),
            ("A=\"C:\\temp\\x\"", "C:\\temp\\x"),
            ("A=\"it's\" # comment", "it's"),
            ("A=\"{\\\"a\\\": 1}\"", "{\"a\": 1}"),
        ] {
            assert_eq!(read(line), [("A".to_owned(), value.to_owned())], "{line}");
        }
    }

    #[test]
    fn env_file_as_a_whole_is_read() {
        let text = "\u{feff}# comment\r\n\r\n  # another\r\nA=1\r\nexport B = two words # why\r\n\
                    KEY=\"-----BEGIN KEY-----\r\nabc+/=\r\n-----END KEY-----\r\n\"\r\nLITERAL='x\ny'\nAPP.NAME-2=z";
        let wanted = [
            ("A", "1"),
            ("APP.NAME-2", "z"),
            ("B", "two words"),
            ("KEY", "-----BEGIN KEY-----\nabc+/=\n-----END KEY-----\n"),
            ("LITERAL", "x\ny"),
        ];
        assert_eq!(read(text), wanted.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!(read(""), []);
    }

    #[test]
    fn env_file_last_of_a_name_wins_with_a_warning() {
        let file = EnvFile::parse(b"A=1\nB=\"x\ny\"\nA=2\n\nA=3");
        assert_eq!((file.vars["A"].as_str(), file.vars["B"].as_str()), ("3", "x\ny"));
        assert_eq!(file.repeated, [("A".to_owned(), 1, 4), ("A".to_owned(), 4, 6)]);
    }

    #[test]
    fn env_file_faults_name_the_line_but_not_its_content() {
        for (bytes, wanted) in [
            (&b"A=1\nhunter2\nB=2"[..], &["line 2 is no NAME=value"][..]),
            (b"A: hunter2", &["line 1 is no NAME=value"]),
            (
                b"=hunter2\n2A=hunter2\nA B=hunter2\nexport hunter2",
                &["line 1 is no NAME=value", "line 2 is no NAME=value", "line 3 is no NAME=value", "line 4 is no NAME=value"],
            ),
            (b"\n\nA='hunter2\nB=1", &["line 3 opens a quote that is not closed"]),
            (b"A=\"hunter2\\\"\nB=1", &["line 1 opens a quote that is not closed"]),
            (b"A='it''s hunter2'\nB=1", &["line 1 has text after the closing quote"]),
            (b"A=\"a\nb\" hunter2", &["line 1 has text after the closing quote", "line 2 is no NAME=value"]),
            (b"A=1\nB=\xe4", &["line 2 is not UTF-8"]),
            (b"\xff\xfeA\0=\0x\0", &["is UTF-16 text or no text at all"]),
            (b"A\0=\0x\0", &["is UTF-16 text or no text at all"]),
        ] {
            let file = EnvFile::parse(bytes);
            assert_eq!(file.faults.iter().map(|(reason, _)| reason.as_str()).collect::<Vec<_>>(), wanted);
            assert!(!format!("{:?}", file.faults).contains("hunter2"), "{:?}", file.faults);
        }
        assert_eq!(EnvFile::parse("x\n".repeat(1000).as_bytes()).faults.len(), MAX_FAULTS);
        assert_eq!(EnvFile::parse(&vec![b'\n'; MAX_BYTES + 1]).faults.len(), 1);
    }
}
