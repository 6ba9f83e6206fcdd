//! Encoding of values: MessagePack, with the names of a struct's fields, so that fields can come and go.

use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use super::data::Frame;
use crate::error::{Error, ErrorKind};

/// Deepest nesting of a value. A deeper one could exhaust the stack of its reader.
pub(crate) const MAX_DEPTH: usize = 128;

/// Encodes a value under its key.
pub(crate) fn encode<T: Serialize + ?Sized>(key: &str, value: &T) -> Result<Frame, Error> {
    let mut bytes = Vec::with_capacity(128);
    let encoded = rmp_serde::encode::write_named(&mut bytes, value);
    encoded.map_err(|error| Error::with_source(ErrorKind::Serialize, error).with_context(format!("{key:?}")))?;
    // Each level takes at least a byte.
    if bytes.len() > MAX_DEPTH {
        let readable = read::<IgnoredAny>(&bytes);
        readable.map_err(|error| Error::with_source(ErrorKind::Serialize, error).with_context(format!("{key:?}")))?;
    }
    Ok(Frame::new(key, &bytes))
}

/// Decodes the value of a key.
pub(crate) fn decode<T: DeserializeOwned>(key: &str, bytes: &[u8]) -> Result<T, Error> {
    read(bytes).map_err(|error| {
        let expected = std::any::type_name::<T>();
        Error::with_source(ErrorKind::TypeMismatch, error).with_context(format!("{key:?} is not a {expected}"))
    })
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, rmp_serde::decode::Error> {
    let mut input = rmp_serde::Deserializer::from_read_ref(bytes);
    input.set_max_depth(MAX_DEPTH);
    T::deserialize(&mut input)
}
