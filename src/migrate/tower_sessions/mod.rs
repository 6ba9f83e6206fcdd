//! What tower-sessions keeps: its records, and readers of its stores.
//!
//! Its cookie is the key of its record. A cookie that it signed or encrypted carries more than that: a
//! [`LegacySessions`](super::LegacySessions) of your own can take it apart, and hand the rest to one of these.

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

/// Reads a record as the stores of tower-sessions for SQL and Redis keep it: MessagePack of its id, data and expiry.
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
/// [`Corrupt`](crate::store::StoreErrorKind::Corrupt) where it is none.
pub fn decode(bytes: &[u8]) -> Result<LegacySession, StoreError> {
    let mut input = rmp_serde::Deserializer::from_read_ref(bytes);
    input.set_max_depth(MAX_DEPTH);
    let record = Record::deserialize(&mut input).map_err(StoreError::corrupt)?;
    let mut session = LegacySession::new(record.expiry_date.read()?);
    for (key, value) in record.data {
        session.insert_json(&key, value);
    }
    Ok(session)
}

/// Whether a cookie may be an id: 16 bytes in base64url. Anything else need not be looked up.
#[cfg(feature = "_network")]
fn is_id(cookie: &str) -> bool {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    // The decoder asks for room for a whole last group.
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
