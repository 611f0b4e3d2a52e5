//! Typed identifiers. The database stores them as text on both engines, so that rows are readable in any SQL client and an
//! existing database can be adopted.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::{Database, Decode, Encode, Type};
use utoipa::ToSchema;
use uuid::Uuid;

use super::error::Error;
use super::text::has_control;

/// A kind of record that has an id. `NAME` appears in error responses, e.g. `Project`.
pub trait Resource {
    const NAME: &'static str;
}

/// An id that can be read from a URL path.
pub trait PathId: Sized {
    /// The kind of record that it names.
    const RESOURCE: &'static str;

    fn parse(text: &str) -> Option<Self>;

    /// The error for an id that names no record.
    fn not_found(&self) -> Error;
}

/// The UUID of a `T`. New ones are version 7: they sort by creation time, also as text.
pub struct Id<T>(Uuid, PhantomData<fn() -> T>);

impl<T> Id<T> {
    /// Makes a fresh identifier.
    #[expect(clippy::new_without_default, reason = "a new value each time is no default")]
    pub fn new() -> Self {
        Self(Uuid::now_v7(), PhantomData)
    }

    /// Reads hyphenated text, in either case; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        (text.len() == uuid::fmt::Hyphenated::LENGTH).then(|| Uuid::parse_str(text).ok()).flatten().map(|id| Self(id, PhantomData))
    }

    /// Wraps these 16 bytes without checks.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes), PhantomData)
    }

    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

impl<T: Resource> PathId for Id<T> {
    const RESOURCE: &'static str = T::NAME;

    fn parse(text: &str) -> Option<Self> {
        Self::parse(text)
    }

    fn not_found(&self) -> Error {
        Error::not_found(T::NAME, self.to_string())
    }
}

impl<T> Clone for Id<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Id<T> {}

impl<T> PartialEq for Id<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<T> Eq for Id<T> {}

impl<T> Hash for Id<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl<T> fmt::Display for Id<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl<T> fmt::Debug for Id<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<'de, T> Deserialize<'de> for Id<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("an id is a UUID"))
    }
}

impl<T> Serialize for Id<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.hyphenated().encode_lower(&mut Uuid::encode_buffer()))
    }
}

impl<T, D: Database> Type<D> for Id<T>
where
    str: Type<D>,
{
    fn type_info() -> D::TypeInfo {
        <str as Type<D>>::type_info()
    }

    fn compatible(ty: &D::TypeInfo) -> bool {
        <str as Type<D>>::compatible(ty)
    }
}

impl<T, D: Database> Encode<'_, D> for Id<T>
where
    for<'t> &'t str: Encode<'t, D>,
{
    fn encode_by_ref(&self, buffer: &mut <D as Database>::ArgumentBuffer) -> Result<IsNull, BoxDynError> {
        let mut text = Uuid::encode_buffer();
        <&str as Encode<'_, D>>::encode(self.0.hyphenated().encode_lower(&mut text), buffer)
    }
}

impl<'r, T, D: Database> Decode<'r, D> for Id<T>
where
    &'r str: Decode<'r, D>,
{
    fn decode(value: <D as Database>::ValueRef<'r>) -> Result<Self, BoxDynError> {
        let text = <&str as Decode<'r, D>>::decode(value)?;
        Ok(Self(Uuid::parse_str(text)?, PhantomData))
    }
}

/// A user's id: the token's `sub`, any text of up to 255 characters without control characters. Cheap to clone (`Arc`).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = String)]
pub struct UserId(Arc<str>);

impl UserId {
    /// Accepts any valid `sub` claim, otherwise `None`.
    pub fn parse(text: &str) -> Option<Self> {
        let valid = !text.is_empty() && (text.len() <= 255 || text.chars().count() <= 255) && !has_control(text);
        valid.then(|| Self(text.into()))
    }

    /// A fresh id, for users of the service's own accounts.
    pub fn new_v7() -> Self {
        Self(Uuid::now_v7().hyphenated().encode_lower(&mut Uuid::encode_buffer()).into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text, shared.
    pub fn shared(&self) -> &Arc<str> {
        &self.0
    }
}

impl PathId for UserId {
    const RESOURCE: &'static str = "User";

    fn parse(text: &str) -> Option<Self> {
        Self::parse(text)
    }

    fn not_found(&self) -> Error {
        Error::not_found(Self::RESOURCE, self.as_str())
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for UserId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("not a user id"))
    }
}

impl<D: Database> Type<D> for UserId
where
    str: Type<D>,
{
    fn type_info() -> D::TypeInfo {
        <str as Type<D>>::type_info()
    }

    fn compatible(ty: &D::TypeInfo) -> bool {
        <str as Type<D>>::compatible(ty)
    }
}

impl<D: Database> Encode<'_, D> for UserId
where
    for<'t> &'t str: Encode<'t, D>,
{
    fn encode_by_ref(&self, buffer: &mut <D as Database>::ArgumentBuffer) -> Result<IsNull, BoxDynError> {
        <&str as Encode<'_, D>>::encode(&self.0, buffer)
    }
}

impl<'r, D: Database> Decode<'r, D> for UserId
where
    &'r str: Decode<'r, D>,
{
    fn decode(value: <D as Database>::ValueRef<'r>) -> Result<Self, BoxDynError> {
        // Not validated: an id that another service wrote may break our rules and must still be readable.
        Ok(Self(<&str as Decode<'r, D>>::decode(value)?.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_id_parse_bounds_length_and_characters() {
        assert_eq!(UserId::parse("auth0|7").unwrap().as_str(), "auth0|7");
        assert!(UserId::parse(&"é".repeat(255)).is_some() && UserId::parse(&"é".repeat(256)).is_none());
        assert!(UserId::parse("").is_none() && UserId::parse("a\nb").is_none());
    }
}
