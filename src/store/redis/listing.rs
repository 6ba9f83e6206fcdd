//! Scans of the keys, page by page.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::connection::{Request, Work};
use super::{ENCODED_ID, RedisStore, parsed, parsed_id};
use crate::error::StoreError;
use crate::store::Cursor;
use crate::store::deadline::Deadline;
use crate::token::SessionId;

impl RedisStore {
    /// Returns the ids of about `count` records, and the cursor of the next page.
    ///
    /// A cursor is the server's own; in a Cluster, the address of a master and its cursor.
    pub(super) async fn scan(
        &self,
        after: Option<&Cursor>,
        count: usize,
    ) -> Result<(Vec<SessionId>, Option<Cursor>), StoreError> {
        if !self.connection.is_cluster() {
            let after = after.map_or(Ok(0), |after| after.as_str().parse()).map_err(StoreError::unsupported)?;
            let (ids, next) = self.scan_node(None, after, count).await?;
            return Ok((ids, (next != 0).then(|| Cursor::new(next.to_string()))));
        }
        let masters = self.connection.masters(Deadline::new(self.deadline)).await?;
        let (place, after) = match after {
            None => (0, 0),
            Some(after) => {
                let (master, after) = after.as_str().rsplit_once('/').ok_or_else(foreign_cursor)?;
                let place = masters.iter().position(|address| address == master).ok_or_else(foreign_cursor)?;
                (place, after.parse().map_err(StoreError::unsupported)?)
            }
        };
        let master = masters.get(place).ok_or_else(foreign_cursor)?;
        let (ids, next) = self.scan_node(Some(master), after, count).await?;
        let (master, next) = if next == 0 { (masters.get(place + 1), 0) } else { (Some(master), next) };
        Ok((ids, master.map(|master| Cursor::new(format!("{master}/{next}")))))
    }

    /// Scans one server, from its cursor on, and returns its next cursor.
    async fn scan_node(
        &self,
        node: Option<&str>,
        after: u64,
        count: usize,
    ) -> Result<(Vec<SessionId>, u64), StoreError> {
        let mut command = redis::cmd("SCAN");
        command.arg(after).arg("MATCH").arg(self.record_pattern()).arg("COUNT").arg(count);
        let request = Request { node, ..Request::reading(Work::Command(command)) };
        let answer = self.connection.run(request, Deadline::new(self.deadline)).await?;
        let (next, keys): (u64, Vec<Vec<u8>>) = parsed(answer)?;
        Ok((keys.iter().filter_map(|key| self.id_of(key)).collect(), next))
    }

    /// Returns the glob pattern of the records' keys.
    fn record_pattern(&self) -> String {
        let mut pattern = String::new();
        for character in self.prefix.chars() {
            if matches!(character, '*' | '?' | '[' | ']' | '\\' | '^') {
                pattern.push('\\');
            }
            pattern.push(character);
        }
        pattern + &"?".repeat(ENCODED_ID)
    }

    /// Returns the id of the record with this key.
    fn id_of(&self, key: &[u8]) -> Option<SessionId> {
        let encoded = key.strip_prefix(self.prefix.as_bytes())?;
        // The decoder asks for the space of a whole last group.
        let mut bytes = [0; 18];
        let length = URL_SAFE_NO_PAD.decode_slice(encoded, &mut bytes).ok()?;
        parsed_id(bytes.get(..length)?)
    }
}

fn foreign_cursor() -> StoreError {
    StoreError::unsupported("not a cursor of this store, or the masters of the Cluster have changed: begin again")
}
