//! What an application notes of a session beside its data, to show it to the owner.

use std::collections::BTreeMap;

use super::Session;
use super::field::Field;
use crate::error::Error;

/// Where a session keeps its notes.
pub(crate) const NOTES: Field<Notes> = Field::new("sessile.notes");

pub(crate) type Notes = BTreeMap<String, String>;

/// How many notes a session has, and how long each may be in bytes, its name included.
const MOST: usize = 8;
const LONGEST: usize = 256;

/// # Notes
impl<M> Session<M> {
    /// Notes something of this session for [the list of its owner's sessions](crate::StoredSession::notes): the user agent that
    /// signed in, or where from. Nothing is noted unless it is asked for: both are personal data.
    ///
    /// A note that is there already costs nothing. Control characters become spaces; what exceeds 256 bytes, the name
    /// included, is cut, and of more than eight notes the last by name go. They are beside the values: [`keys`](Session::keys) does
    /// not name them, and [`clear`](Session::clear) leaves them.
    ///
    /// ```
    /// # use sessile::{Error, Session};
    /// # async fn handler(session: Session, headers: http::HeaderMap) -> Result<(), Error> {
    /// session.sign_in("user:42")?;
    /// if let Some(agent) = headers.get("user-agent").and_then(|agent| agent.to_str().ok()) {
    ///     session.note("user_agent", agent)?;
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`update`](Session::update).
    pub fn note(&self, name: &str, text: &str) -> Result<(), Error> {
        let name = cut(name, LONGEST);
        let text = cut(text, LONGEST - name.len());
        if self.get(NOTES)?.is_some_and(|notes| notes.get(&name) == Some(&text)) {
            return Ok(());
        }
        self.update(NOTES, move |notes| {
            notes.insert(name, text);
            while notes.len() > MOST {
                notes.pop_last();
            }
        })
    }
}

/// The beginning of a text, at most this many bytes, on one line.
fn cut(text: &str, bytes: usize) -> String {
    let text: String = text.chars().map(|char| if char.is_control() { ' ' } else { char }).collect();
    text[..text.floor_char_boundary(bytes)].to_owned()
}
