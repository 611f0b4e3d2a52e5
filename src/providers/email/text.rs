//! Converts HTML to plain text, for mail programs that show no HTML. One pass, linear in time for any input.
//!
//! A link becomes its text; its address follows on a line of its own, after the line that the text is in. Mail programs make
//! links of addresses, and would take a bracket or a full stop behind one for a part of it.

/// Elements whose content is not shown.
const UNREAD: [&str; 4] = ["style", "script", "title", "head"];

/// Returns the visible text of the HTML.
pub fn of_html(html: &str) -> String {
    let mut reader = Reader { rest: html, quotes: true, out: Out::default(), link: None, addresses: Vec::new() };
    while !reader.rest.is_empty() {
        reader.step();
    }
    reader.end_link();
    reader.break_lines(1);
    reader.out.text
}

/// An open link: its URL, and the start of its text.
struct Link {
    address: String,
    start: usize,
}

struct Reader<'h> {
    rest: &'h str,
    /// Whether a `>` in quotes belongs to an attribute. Given up with the first quote that never ends: looking for the
    /// end of each again would take quadratic time.
    quotes: bool,
    out: Out,
    link: Option<Link>,
    /// The addresses of the links in the current line.
    addresses: Vec<String>,
}

impl Reader<'_> {
    fn step(&mut self) {
        let plain = self.rest.find(['<', '&']).unwrap_or(self.rest.len());
        self.out.push_str(&self.rest[..plain]);
        self.rest = &self.rest[plain..];
        if self.rest.starts_with('&') {
            let (decoded, length) = entity(self.rest);
            self.out.push(decoded);
            self.rest = &self.rest[length..];
        } else if self.rest.starts_with("<!--") {
            self.rest = self.rest.split_once("-->").map_or("", |(_, rest)| rest);
        } else if self.rest.starts_with('<') {
            self.tag();
        }
    }

    fn tag(&mut self) {
        let inside = &self.rest[1..];
        if !inside.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '/' | '!' | '?')) {
            self.out.push('<');
            self.rest = inside;
            return;
        }
        let end = self.tag_end(inside);
        let (tag, rest) = (&inside[..end], inside.get(end + 1..).unwrap_or_default());
        self.rest = rest;
        let (closing, tag) = tag.strip_prefix('/').map_or((false, tag), |tag| (true, tag));
        let (name, attributes) = tag.split_at(tag.find(|c: char| c.is_whitespace() || c == '/').unwrap_or(tag.len()));
        let name = name.to_ascii_lowercase();
        if !closing && UNREAD.contains(&name.as_str()) {
            self.skip(&name);
            return;
        }
        match name.as_str() {
            "br" => {
                self.show_addresses();
                self.out.line_break();
            }
            "p" | "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => self.break_lines(2),
            "div" | "tr" | "table" | "ul" | "ol" | "blockquote" | "section" | "hr" | "pre" | "li" => self.break_lines(1),
            "td" | "th" => self.out.push(' '),
            "a" => {
                self.end_link();
                if !closing && let Some(address) = href(attributes) {
                    self.link = Some(Link { address, start: self.out.text.len() });
                }
            }
            _ => {}
        }
        if name == "li" && !closing {
            self.out.push_str("- ");
        }
    }

    /// Where the `>` of the tag is, or the end of everything.
    fn tag_end(&mut self, inside: &str) -> usize {
        if self.quotes {
            let mut quote = None;
            // A quote begins a value only after `=`: elsewhere, as in `<a it's>`, it is a character.
            let mut before = '<';
            for (at, c) in inside.char_indices() {
                match quote {
                    Some(open) if c == open => quote = None,
                    None if matches!(c, '"' | '\'') && before == '=' => quote = Some(c),
                    None if c == '>' => return at,
                    _ => {}
                }
                if !c.is_whitespace() {
                    before = c;
                }
            }
            self.quotes = quote.is_none();
        }
        inside.find('>').unwrap_or(inside.len())
    }

    /// Skips to the end tag of a hidden element; without one, to the end of the input.
    fn skip(&mut self, name: &str) {
        let is_end = |rest: &str| {
            let after = rest.get(2..2 + name.len()).filter(|found| found.eq_ignore_ascii_case(name)).and(rest.get(2 + name.len()..));
            after.is_some_and(|after| !after.starts_with(|c: char| c.is_ascii_alphanumeric()))
        };
        let end = self.rest.match_indices("</").map(|(at, _)| at).find(|at| is_end(&self.rest[*at..]));
        self.rest = end.and_then(|at| self.rest[at..].split_once('>')).map_or("", |(_, rest)| rest);
    }

    /// Ends the current line, with at least this many line breaks.
    fn break_lines(&mut self, breaks: usize) {
        self.show_addresses();
        self.out.at_least(breaks);
    }

    /// Appends the addresses of the current line's links, before the breaks that wait for what comes next.
    fn show_addresses(&mut self) {
        let waiting = self.out.breaks;
        for address in std::mem::take(&mut self.addresses) {
            self.out.breaks = 1;
            self.out.push_str(&address);
        }
        self.out.at_least(waiting);
    }

    /// Notes the link's address unless its text equals it.
    fn end_link(&mut self) {
        let Some(link) = self.link.take() else { return };
        let text = self.out.text.get(link.start..).unwrap_or_default().trim();
        let bare = |address: &str| address.trim_end_matches('/').to_owned();
        if !text.is_empty() && bare(text) != bare(&link.address) && !self.addresses.contains(&link.address) {
            self.addresses.push(link.address);
        }
    }
}

/// The URL of a link as a reader needs it, if it leads outside the page: without blanks, and of `mailto:` the address alone.
fn href(attributes: &str) -> Option<String> {
    let lower = attributes.to_ascii_lowercase();
    let found = lower.match_indices("href").find_map(|(at, _)| {
        // Checked first: searching the end of every false match would take quadratic time.
        if !attributes[..at].ends_with(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '/')) {
            return None;
        }
        let value = attributes[at + 4..].trim_start().strip_prefix('=')?.trim_start();
        match value.chars().next()? {
            quote @ ('"' | '\'') => value[1..].split(quote).next(),
            _ => value.split_whitespace().next(),
        }
    })?;
    let mut address = String::new();
    let mut rest = found;
    while let Some(at) = rest.find('&') {
        address.push_str(&rest[..at]);
        let (decoded, length) = entity(&rest[at..]);
        address.push(decoded);
        rest = &rest[at + length..];
    }
    address.push_str(rest);
    let address: String = address.trim().chars().filter(|c| !c.is_control()).collect();
    let begins = |scheme: &str| address.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
    if begins("mailto:") {
        let to = address["mailto:".len()..].split('?').next().unwrap_or_default();
        return Some(to.to_owned()).filter(|to| !to.is_empty() && !to.contains(char::is_whitespace));
    }
    (begins("http://") || begins("https://")).then(|| address.replace(char::is_whitespace, "%20"))
}

/// Decodes an entity at the start of the text; also returns its length. An unknown one is an ampersand.
fn entity(text: &str) -> (char, usize) {
    // No known entity is longer.
    let end = text.bytes().take(12).position(|b| b == b';');
    let decoded = end.and_then(|end| text.get(1..end)).and_then(|name| match name.strip_prefix('#') {
        Some(number) => {
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16),
                None => number.parse(),
            };
            // Invalid and control characters become U+FFFD.
            let readable = |c: &char| !c.is_control() || c.is_whitespace();
            code.ok().map(|code| char::from_u32(code).filter(readable).unwrap_or('\u{fffd}'))
        }
        None => NAMED.iter().find(|(known, _)| *known == name).map(|(_, c)| *c),
    });
    decoded.zip(end).map_or(('&', 1), |(c, end)| (c, end + 1))
}

const NAMED: [(&str, char); 27] = [
    ("amp", '&'),
    ("lt", '<'),
    ("gt", '>'),
    ("quot", '"'),
    ("apos", '\''),
    ("nbsp", ' '),
    ("copy", '©'),
    ("reg", '®'),
    ("trade", '™'),
    ("hellip", '…'),
    ("mdash", '—'),
    ("ndash", '–'),
    ("lsquo", '‘'),
    ("rsquo", '’'),
    ("ldquo", '“'),
    ("rdquo", '”'),
    ("laquo", '«'),
    ("raquo", '»'),
    ("bull", '•'),
    ("middot", '·'),
    ("euro", '€'),
    ("pound", '£'),
    ("sect", '§'),
    ("deg", '°'),
    ("times", '×'),
    ("larr", '←'),
    ("rarr", '→'),
];

/// Text in which blank runs are one space, and breaks never more than a blank line. Both wait for what comes after
/// them, so that there are none at either end.
#[derive(Default)]
struct Out {
    text: String,
    breaks: usize,
    space: bool,
}

impl Out {
    fn push(&mut self, c: char) {
        if c.is_whitespace() {
            self.space = true;
            return;
        }
        if !self.text.is_empty() {
            match self.breaks {
                0 if self.space && !self.text.ends_with([' ', '\n']) => self.text.push(' '),
                0 => {}
                breaks => self.text.extend(std::iter::repeat_n('\n', breaks)),
            }
        }
        (self.breaks, self.space) = (0, false);
        self.text.push(c);
    }

    fn push_str(&mut self, text: &str) {
        text.chars().for_each(|c| self.push(c));
    }

    fn line_break(&mut self) {
        self.breaks = (self.breaks + 1).min(2);
    }

    fn at_least(&mut self, breaks: usize) {
        self.breaks = self.breaks.max(breaks);
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn html_to_text_keeps_content_and_layout() {
        for (html, text) in [
            ("<h1>Hi</h1>\n<p>one<br>two</p> <p>three\n  four</p>", "Hi\n\none\ntwo\n\nthree four"),
            ("<style>p { color: red }</style><SCRIPT>x < y</SCRIPT >a", "a"),
            ("<html><head><title>T</title></head><body>b</body></html>", "b"),
            ("a<!-- <p>no</p> -->b", "ab"),
            ("<ul><li>one</li><li>two</li></ul>", "- one\n- two"),
            ("<tr><td>a</td><td>b</td></tr>", "a b"),
            ("<br><br><br><br>a<br><br><br><br>b<br>", "a\n\nb"),
            ("&lt;b&gt; &amp;lt; &copy; &#8364; &#x1F680; &nope; &", "<b> &lt; © € 🚀 &nope; &"),
            ("&#0;&#xD800;&#27;&#99999999999;", "\u{fffd}\u{fffd}\u{fffd}&#99999999999;"),
            ("1 < 2 <3", "1 < 2 <3"),
            ("<p title=\"a > b\">c</p>", "c"),
            ("<p title=\"never>ends", "ends"),
            ("<a it's>b", "b"),
            ("", ""),
        ] {
            assert_eq!(of_html(html), text, "{html}");
        }
    }

    #[test]
    fn html_to_text_links_show_their_target() {
        for (html, text) in [
            ("<a href=\"https://a.example/?a=1&amp;b=2\">here</a>!", "here!\nhttps://a.example/?a=1&b=2"),
            (
                "<p>Go <a href=https://a.example/1>on</a> (or <a href=https://a.example/2>back</a>).</p><p>Bye</p>",
                "Go on (or back).\nhttps://a.example/1\nhttps://a.example/2\n\nBye",
            ),
            (
                "<p><a href=https://a.example/?token=x>Reset</a><br>within <b>1</b> hour</p>",
                "Reset\nhttps://a.example/?token=x\nwithin 1 hour",
            ),
            ("<a href=https://a.example><b>Reset</b> <span>the <i>password</i></span></a>", "Reset the password\nhttps://a.example"),
            ("<a href=https://a.example><h2>News</h2><p>It rains</p></a><p>Bye</p>", "News\n\nIt rains\nhttps://a.example\n\nBye"),
            (
                "<ul><li><a href=https://a.example/1>one</a></li><li><a href=https://a.example/2>two</a></li></ul>",
                "- one\nhttps://a.example/1\n- two\nhttps://a.example/2",
            ),
            ("<a href=https://a.example>a</a> <a href=https://a.example>b</a>", "a b\nhttps://a.example"),
            ("<a href=\"https://a.example/x y\">x</a>", "x\nhttps://a.example/x%20y"),
            ("<a href=https://a.example>one <a href=https://b.example>two", "one two\nhttps://a.example\nhttps://b.example"),
            ("<a href=\"MAILTO:ada@example.com?subject=x\">Write to us</a>", "Write to us\nada@example.com"),
            ("<a href=\"mailto:\">Write</a>", "Write"),
            ("<a style='x' href='https://a.example'>https://a.example/</a>", "https://a.example/"),
            ("<a href=mailto:ada@example.com>ada@example.com</a>", "ada@example.com"),
            ("<a href=\"#\">nowhere</a>", "nowhere"),
            ("<a href=\"javascript:x\">nowhere</a>", "nowhere"),
            ("<a href=\"https://a.example\"><img></a>b", "b"),
            ("<a data-href=\"https://b.example\" href=\"https://a.example\">x", "x\nhttps://a.example"),
        ] {
            assert_eq!(of_html(html), text, "{html}");
        }
    }

    #[test]
    fn html_to_text_malformed_input_stays_fast() {
        let pieces =
            ["<", "<a ", "<a b=\"", "<!--", "&", "&#", "<script>", "</", "<a href=", "<style></sty", "<p \"'", "<a href=\"https://x\">"];
        let many = pieces.map(|piece| ("", piece));
        // One tag of which every part looks like the address, and is not.
        for (start, piece) in many.into_iter().chain([("<a ", "xhref="), ("<a ", "xhref=\"")]) {
            let html = format!("{start}{}", piece.repeat(400_000 / piece.len()));
            let started = Instant::now();
            let _ = of_html(&html);
            assert!(started.elapsed() < Duration::from_secs(5), "{start}{piece}");
        }
    }

    proptest! {
        #[test]
        fn html_to_text_any_input_is_trimmed(html in "(<[a-z/!]{0,3}|>|&[a-z#0-9;]{0,5}|[\"'= \n]|href=|script|\\PC){0,60}") {
            let text = of_html(&html);
            prop_assert_eq!(text.trim(), text.as_str());
            prop_assert!(!text.contains("\n\n\n"));
        }

        #[test]
        fn html_to_text_escaped_text_round_trips(words in proptest::collection::vec("[^\\s\\p{C}]{1,8}", 0..8)) {
            let text = words.join(" ");
            let html = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
            prop_assert_eq!(of_html(&html), text);
        }
    }
}
