//! Readers for the records and stores of tower-sessions.
//!
//! The cookie of tower-sessions is the key of the record. [`MigrationLayer`](super::MigrationLayer) has settings for a signed and for an
//! encrypted cookie.

#[cfg(feature = "redis")]
mod redis;
#[cfg(feature = "_sql")]
mod sql;

use std::collections::HashMap;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use time::{Date, OffsetDateTime, UtcOffset};

#[cfg(feature = "redis")]
pub use self::redis::RedisSessions;
#[cfg(feature = "mysql")]
pub use self::sql::MySqlSessions;
#[cfg(feature = "postgres")]
pub use self::sql::PostgresSessions;
#[cfg(feature = "sqlite")]
pub use self::sql::SqliteSessions;

use super::LegacySession;
use crate::error::StoreError;
use crate::record::MAX_DEPTH;

/// Decodes a record of the SQL and Redis stores of tower-sessions.
///
/// Such a record is MessagePack of an id, the data and an expiry.
///
/// ```
/// use sessile::store::StoreErrorKind;
/// use sessile::migrate::tower_sessions::decode;
///
/// let error = decode(b"something else").unwrap_err();
/// assert_eq!(error.kind(), StoreErrorKind::Corrupt);
/// ```
///
/// # Errors
///
/// [`Corrupt`](crate::store::StoreErrorKind::Corrupt) if the bytes are not such a record.
pub fn decode(bytes: &[u8]) -> Result<LegacySession, StoreError> {
    let mut input = rmp_serde::Deserializer::from_read_ref(bytes);
    input.set_max_depth(MAX_DEPTH);
    // The text of serde would contain the value that it does not expect.
    let record = Record::deserialize(&mut input);
    let record = record.map_err(|_| StoreError::corrupt("the bytes are not a record of tower-sessions"))?;
    let mut session = LegacySession::new(record.expiry_date.read()?);
    for (key, value) in record.data {
        session.insert_json(&key, value);
    }
    Ok(session)
}

/// Decodes the record that a store has found; `None` if it has expired.
#[cfg(feature = "_network")]
fn live(found: Option<Vec<u8>>) -> Result<Option<LegacySession>, StoreError> {
    let session = found.map(|data| decode(&data)).transpose()?;
    Ok(session.filter(|session| OffsetDateTime::now_utc() < session.expires_at()))
}

/// Returns whether a cookie can be an id, 16 bytes in base64url. Only then must the store be asked.
#[cfg(feature = "_network")]
fn is_id(cookie: &str) -> bool {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    // The decoder needs room for a whole last group.
    cookie.len() == 22 && URL_SAFE_NO_PAD.decode_slice(cookie, &mut [0; 18]).is_ok()
}

#[derive(Deserialize)]
struct Record {
    #[serde(rename = "id")]
    _id: IgnoredAny,
    data: HashMap<String, Value>,
    expiry_date: Instant,
}

/// Year, day of the year, hour, minute, second, nanosecond; hours, minutes and seconds of the offset.
#[derive(Deserialize)]
struct Instant(i32, u16, u8, u8, u8, u32, i8, i8, i8);

impl Instant {
    fn read(&self) -> Result<OffsetDateTime, StoreError> {
        let date = Date::from_ordinal_date(self.0, self.1).map_err(StoreError::corrupt)?;
        let at = date.with_hms_nano(self.2, self.3, self.4, self.5).map_err(StoreError::corrupt)?;
        let offset = UtcOffset::from_hms(self.6, self.7, self.8).map_err(StoreError::corrupt)?;
        Ok(at.assume_offset(offset))
    }
}
