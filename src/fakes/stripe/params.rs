//! Parameters of a request: a form whose names have brackets, as in `items[0][price]`.

use std::collections::BTreeMap;

use url::form_urlencoded;

use super::refusal::Refusal;

/// The parameters of a query or body.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Params(Vec<(String, String)>);

impl Params {
    pub fn parse(encoded: &[u8]) -> Self {
        Self(form_urlencoded::parse(encoded).into_owned().collect())
    }

    /// The value as it came; an empty one clears a member.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The value, if it is not empty.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.is_empty())
    }

    pub fn required(&self, name: &str) -> Result<&str, Refusal> {
        self.text(name).ok_or_else(|| Refusal::required(name))
    }

    pub fn flag(&self, name: &str) -> Result<Option<bool>, Refusal> {
        match self.text(name) {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(_) => Err(Refusal::invalid(name, "A boolean is true or false.")),
        }
    }

    pub fn integer(&self, name: &str) -> Result<Option<i64>, Refusal> {
        let parse = |text: &str| text.parse().map_err(|_| Refusal::invalid(name, "An integer has only digits."));
        self.text(name).map(parse).transpose()
    }

    /// The members of a map such as `metadata[user_id]`.
    pub fn map(&self, name: &str) -> BTreeMap<&str, &str> {
        let member = |known: &'_ str| known.strip_prefix(name)?.strip_prefix('[')?.strip_suffix(']').map(str::len);
        let named = self.0.iter().filter_map(|(known, value)| {
            let length = member(known)?;
            Some((&known[name.len() + 1..=name.len() + length], value.as_str()))
        });
        named.collect()
    }

    /// Whether a list such as `expand[]` or `expand[0]` has this value.
    pub fn lists(&self, name: &str, value: &str) -> bool {
        self.map(name).into_values().any(|item| item == value)
            || self.0.iter().any(|(known, item)| known.strip_prefix(name) == Some("[]") && item == value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_brackets_are_read() {
        let params = Params::parse(b"customer=cus_1&metadata[user_id]=a+b&metadata%5Bempty%5D=&items[0][price]=p&expand[]=x&expand[1]=y");
        assert_eq!((params.text("customer"), params.text("items[0][price]")), (Some("cus_1"), Some("p")));
        assert_eq!(params.map("metadata"), BTreeMap::from([("user_id", "a b"), ("empty", "")]));
        assert!(params.lists("expand", "x") && params.lists("expand", "y") && !params.lists("expand", "z"));
        assert_eq!((params.get("metadata[empty]"), params.text("metadata[empty]")), (Some(""), None));
        assert!(params.flag("customer").is_err() && params.integer("customer").is_err() && params.required("name").is_err());
    }
}
