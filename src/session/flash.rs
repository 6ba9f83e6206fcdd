//! Flash messages: left by one request, shown once by a later one.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Field, Session};
use crate::error::Error;

/// Key of the messages that were not shown yet.
pub(crate) const FLASHES: Field<Vec<Flash>> = Field::new("sessile.flash");

/// A message for the user, from a request whose own response cannot show it, such as a redirect.
///
/// [`Session::flash`] adds one, [`Session::take_flashes`] removes and returns all. [`Display`](fmt::Display) shows the message
/// alone, not escaped for HTML; `Debug` shows its length.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Flash {
    /// The kind of the message.
    pub level: FlashLevel,
    /// The text, not escaped for HTML.
    pub message: String,
}

/// The kind of a [`Flash`] message. Serializes as its name in lower case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum FlashLevel {
    /// Information.
    Info,
    /// A success.
    Success,
    /// A warning.
    Warning,
    /// A failure.
    Error,
}

impl FlashLevel {
    /// Returns the name in lower case, such as for a CSS class.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Success => "success",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

impl fmt::Display for FlashLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Flash {
    /// Most messages that a session keeps. A further one removes the oldest.
    pub const MAX_KEPT: usize = 32;
}

impl fmt::Display for Flash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.message)
    }
}

impl fmt::Debug for Flash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let message = format_args!("{} bytes", self.message.len());
        f.debug_struct("Flash").field("level", &self.level).field("message", &message).finish()
    }
}

/// # Flash messages
impl<M> Session<M> {
    /// Adds a message for the next page that [takes](Session::take_flashes) it.
    ///
    /// It is stored under the key `sessile.flash` and ends with the session; a message after a sign-out starts a new session. At
    /// most [`Flash::MAX_KEPT`] are kept: a further one removes the oldest.
    ///
    /// ```
    /// use axum::response::Redirect;
    /// use sessile::flash::FlashLevel;
    /// use sessile::{Error, Session};
    ///
    /// async fn save(session: Session) -> Result<Redirect, Error> {
    ///     session.flash(FlashLevel::Success, "saved")?;
    ///     Ok(Redirect::to("/"))
    /// }
    ///
    /// async fn page(session: Session) -> Result<String, Error> {
    ///     let flashes = session.take_flashes().await?;
    ///     Ok(flashes.iter().map(|flash| format!("{}: {flash}\n", flash.level)).collect())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`update`](Session::update).
    pub fn flash(&self, level: FlashLevel, message: impl Into<String>) -> Result<(), Error> {
        let flash = Flash { level, message: message.into() };
        self.update(FLASHES, move |flashes| {
            flashes.push(flash);
            let surplus = flashes.len().saturating_sub(Flash::MAX_KEPT);
            flashes.drain(..surplus);
        })
    }

    /// Removes and returns the messages, oldest first, and [commits](Session::commit).
    ///
    /// Of concurrent requests one gets each message. Without messages it costs nothing. If the page is lost on its way to the
    /// client, its messages are lost with it. A session that has [just ended](Session::end_reason) has no messages, so that a page
    /// can still be shown.
    ///
    /// # Errors
    ///
    /// Those of [`take_now`](Session::take_now).
    pub async fn take_flashes(&self) -> Result<Vec<Flash>, Error> {
        if self.end_reason().is_some() {
            return Ok(Vec::new());
        }
        Ok(self.take_now(FLASHES).await?.unwrap_or_default())
    }
}
