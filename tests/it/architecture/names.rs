//! Rules on names: OpenAPI schemas have unique names, and names of tests fit on one line of a list.

use std::collections::BTreeMap;

use super::report;
use super::source::Source;

/// Turned on once the names of all tests are short.
pub const ENFORCE_TEST_NAMES: bool = true;
/// Characters of a test's name at most.
const LONGEST: usize = 60;

/// Reports schemas with the name of another schema: in the document the second silently replaces the first.
pub fn equal_schema_names(sources: &[Source]) -> Vec<String> {
    let mut first: BTreeMap<&str, String> = BTreeMap::new();
    let mut found = Vec::new();
    for source in sources {
        for schema in &source.schemas {
            let place = format!("{}:{}", source.file, schema.line);
            match first.get(schema.name.as_str()) {
                Some(other) => {
                    let what =
                        format!("the schema {} has the same name as the one at {other}: `#[schema(as = ..)]` gives another", schema.name);
                    found.push(report(source, schema.line, &what));
                }
                None => drop(first.insert(&schema.name, place)),
            }
        }
    }
    found
}

pub fn long_test_names(sources: &[Source]) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources {
        for test in &source.tests {
            let length = test.name.chars().count();
            if length > LONGEST {
                found.push(report(
                    source,
                    test.line,
                    &format!("the name of the test {} has {length} characters, at most {LONGEST} are allowed", test.name),
                ));
            }
        }
    }
    found
}
