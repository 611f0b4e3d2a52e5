//! Registered SQL texts: the macro [`sql!`](crate::sql), and the register that one test reads to prepare every text on
//! both engines.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The engines that a text is meant for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    Both,
    Postgres,
    Sqlite,
}

/// A registered SQL text; made by [`sql!`](crate::sql) only.
pub struct Sql {
    pub text: &'static str,
    pub engine: Engine,
    /// File and line, for the test that prepares every text.
    pub place: (&'static str, u32),
    index: OnceLock<usize>,
}

static NEXT_INDEX: AtomicUsize = AtomicUsize::new(0);

impl Sql {
    pub const fn new(engine: Engine, text: &'static str, file: &'static str, line: u32) -> Self {
        Self { text, engine, place: (file, line), index: OnceLock::new() }
    }

    pub(super) fn reads(&self) -> bool {
        self.text.starts_with("SELECT")
    }

    /// Returns the index of the text: below [`count`], constant for the life of the process.
    pub(super) fn index(&self) -> usize {
        *self.index.get_or_init(|| NEXT_INDEX.fetch_add(1, Ordering::Relaxed))
    }
}

/// The number of registered texts.
pub(super) fn count() -> usize {
    inventory::iter::<Registered>.into_iter().count()
}

/// An entry of the register of all texts.
pub struct Registered(pub &'static Sql);

inventory::collect!(Registered);

/// Registers a text and returns a reference to it: `sql!("…")` for both engines, `sql!(pg: "…")` and `sql!(lite: "…")` for one.
///
/// A text can be put together from literals and `const` strings, such as a list of columns that several statements share:
/// `sql!("SELECT ", COLUMNS, " FROM projects WHERE id = $1")`.
#[macro_export]
macro_rules! sql {
    (pg: $($part:expr),+ $(,)?) => { $crate::sql!(@ Postgres, $($part),+) };
    (lite: $($part:expr),+ $(,)?) => { $crate::sql!(@ Sqlite, $($part),+) };
    (@ $engine:ident, $($part:expr),+) => {{
        const PARTS: &[&str] = &[$($part),+];
        const BYTES: [u8; $crate::platform::db::joined_length(PARTS)] = $crate::platform::db::join(PARTS);
        const TEXT: &str = match ::core::str::from_utf8(&BYTES) {
            Ok(text) => text,
            Err(_) => panic!("parts of a text are text"),
        };
        static SQL: $crate::platform::db::Sql =
            $crate::platform::db::Sql::new($crate::platform::db::Engine::$engine, TEXT, file!(), line!());
        ::inventory::submit! { $crate::platform::db::Registered(&SQL) }
        &SQL
    }};
    ($($part:expr),+ $(,)?) => { $crate::sql!(@ Both, $($part),+) };
}

/// The bytes of all parts; for [`sql!`](crate::sql).
pub const fn joined_length(parts: &[&str]) -> usize {
    let (mut total, mut i) = (0, 0);
    while i < parts.len() {
        total += parts[i].len();
        i += 1;
    }
    total
}

/// The parts one after another; for [`sql!`](crate::sql).
pub const fn join<const LENGTH: usize>(parts: &[&str]) -> [u8; LENGTH] {
    let (mut out, mut at, mut i) = ([0; LENGTH], 0, 0);
    while i < parts.len() {
        let (bytes, mut j) = (parts[i].as_bytes(), 0);
        while j < bytes.len() {
            out[at] = bytes[j];
            at += 1;
            j += 1;
        }
        i += 1;
    }
    out
}

#[cfg(test)]
mod tests {
    const COLUMNS: &str = "id, name";

    #[test]
    fn sql_joins_literals_and_constants() {
        assert_eq!(sql!("SELECT ", COLUMNS, " FROM x WHERE id = $1").text, "SELECT id, name FROM x WHERE id = $1");
    }
}
