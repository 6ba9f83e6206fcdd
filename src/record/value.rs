//! Encoding of values: MessagePack, with the names of a struct's fields, so that fields can come and go.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::data::Frame;
use super::json::without_json_numbers;
use super::message_pack::{MALFORMED, MAX_DEPTH, kind_of, split};
use crate::error::{Error, ErrorKind};

/// Encodes a value under its key.
pub(crate) fn encode<T: Serialize + ?Sized>(key: &str, value: &T) -> Result<Frame, Error> {
    let refused = |reason| unserializable::<T>(&format!("{key:?}"), reason);
    let bytes = to_bytes(value).map_err(refused)?;
    let (value, rest) = split(&bytes).map_err(refused)?;
    if rest.is_empty() { Ok(Frame::new(key, value)) } else { Err(refused(MALFORMED)) }
}

/// Decodes the value of a key.
pub(crate) fn decode<T: DeserializeOwned>(key: &str, bytes: &[u8]) -> Result<T, Error> {
    T::deserialize(&mut reader(bytes)).map_err(|_| Error::mismatch::<T>(&format!("{key:?}"), kind_of(bytes)))
}

/// Encodes a value. The error says why it cannot be stored.
pub(super) fn to_bytes<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, &'static str> {
    let mut bytes = Vec::with_capacity(128);
    // The text of serde could contain the value.
    rmp_serde::encode::write_named(&mut bytes, value).map_err(|_| "its `Serialize` fails")?;
    without_json_numbers(bytes)
}

/// Creates the error of a value that cannot be stored.
pub(super) fn unserializable<T: ?Sized>(subject: &str, reason: &str) -> Error {
    let context = format!("{subject} has the type {}; {reason}", std::any::type_name::<T>());
    Error::new(ErrorKind::Serialize).with_context(context)
}

/// Creates the decoder of a value.
pub(super) fn reader(bytes: &[u8]) -> rmp_serde::Deserializer<rmp_serde::decode::ReadRefReader<'_, [u8]>> {
    let mut input = rmp_serde::Deserializer::from_read_ref(bytes);
    input.set_max_depth(MAX_DEPTH);
    input
}
