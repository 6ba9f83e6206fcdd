//! The values of a session as one struct or map.

use std::fmt;

use serde::Serialize;
use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde::forward_to_deserialize_any;

use super::data::Frame;
use super::message_pack::{MALFORMED, kind_of, map, split};
use super::value::{reader, to_bytes, unserializable};
use crate::error::Error;

/// Encodes the fields of a struct, or the entries of a map, under their keys.
pub(crate) fn encode_entries<T: Serialize + ?Sized>(data: &T) -> Result<Vec<Frame>, Error> {
    let refused = |reason| unserializable::<T>("the session data", reason);
    let bytes = to_bytes(data).map_err(refused)?;
    frames_of(&bytes).map_err(refused)
}

fn frames_of(bytes: &[u8]) -> Result<Vec<Frame>, &'static str> {
    if kind_of(bytes) == "null" {
        return Ok(Vec::new());
    }
    let (count, mut rest) = map(bytes).ok_or("it must be a struct or a map")?;
    let mut frames = Vec::new();
    for _ in 0..count {
        let (key, value);
        (key, rest) = split(rest)?;
        (value, rest) = split(rest)?;
        let key = rmp_serde::from_slice(key).map_err(|_| "its keys must be strings")?;
        frames.push(Frame::new(key, value));
    }
    if rest.is_empty() { Ok(frames) } else { Err(MALFORMED) }
}

/// Decodes keys and values as one struct or map.
pub(crate) fn decode_entries<'de, T, I>(entries: I) -> Result<T, Error>
where
    T: DeserializeOwned,
    I: Iterator<Item = (&'de str, &'de [u8])>,
{
    let mut entries = Entries { rest: entries, current: None };
    T::deserialize(&mut entries).map_err(|_| match entries.current {
        Some((key, value)) => Error::mismatch::<T>(&format!("the session with {key:?}"), kind_of(value)),
        None => Error::mismatch::<T>("the session", "a key too few or too many"),
    })
}

/// A decoder of keys and values.
struct Entries<'de, I> {
    rest: I,
    /// The entry whose value is being decoded.
    current: Option<(&'de str, &'de [u8])>,
}

impl<'de, I: Iterator<Item = (&'de str, &'de [u8])>> MapAccess<'de> for &mut Entries<'de, I> {
    type Error = rmp_serde::decode::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Self::Error> {
        self.current = self.rest.next();
        self.current.map(|(key, _)| seed.deserialize(StrDeserializer::new(key))).transpose()
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Self::Error> {
        let value = self.current.map(|(_, value)| value).unwrap_or_default();
        let decoded = seed.deserialize(&mut reader(value))?;
        self.current = None;
        Ok(decoded)
    }
}

impl<'de, I: Iterator<Item = (&'de str, &'de [u8])>> Deserializer<'de> for &mut Entries<'de, I> {
    type Error = rmp_serde::decode::Error;

    /// As for a value by itself.
    fn is_human_readable(&self) -> bool {
        false
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_map(self)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        MapAccessDeserializer::new(self).deserialize_enum(name, variants, visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct identifier ignored_any
    }
}

impl<I> fmt::Debug for Entries<'_, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entries").finish_non_exhaustive()
    }
}
