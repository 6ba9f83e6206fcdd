//! Flash messages: set by one request, shown by the next that reads them, once.

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::session::{Field, Session};

/// Where a session keeps the messages that were not shown yet.
const FLASHES: Field<Vec<Flash>> = Field::new("sessile.flash");

/// A message for the user, of a request whose own answer cannot show it: most often a redirect.
///
/// [`Session::flash`] leaves one, [`Session::take_flashes`] takes all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Flash {
    /// What kind of message it is.
    pub level: FlashLevel,
    /// What it says. It is not escaped for a page.
    pub message: String,
}

/// What kind of message a [`Flash`] is. Serialises as its name in lower case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum FlashLevel {
    /// Something to know.
    Info,
    /// What was asked for is done.
    Success,
    /// Something to look at.
    Warning,
    /// Something went wrong.
    Error,
}

impl FlashLevel {
    /// The name in lower case, for a class of a style sheet.
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

impl Flash {
    /// How many messages a session keeps. More push the oldest out.
    pub const MAX_KEPT: usize = 32;
}

/// # Flash messages
impl<M> Session<M> {
    /// Leaves a message for the next page that [takes](Session::take_flashes) it.
    ///
    /// It is kept under the key `sessile.flash`, and ends with the session; one that is left after a sign-out begins a new
    /// session. At most [`Flash::MAX_KEPT`] are kept: more push the oldest out.
    ///
    /// ```
    /// use axum::response::Redirect;
    /// use sessile::{Error, Session};
    /// use sessile::flash::FlashLevel;
    ///
    /// async fn save(session: Session) -> Result<Redirect, Error> {
    ///     session.flash(FlashLevel::Success, "saved")?;
    ///     Ok(Redirect::to("/"))
    /// }
    ///
    /// async fn page(session: Session) -> Result<String, Error> {
    ///     let flashes = session.take_flashes().await?;
    ///     Ok(flashes.iter().map(|flash| format!("{}: {}\n", flash.level.as_str(), flash.message)).collect())
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

    /// Takes the messages that were left, oldest first, and [commits](Session::commit). Of several requests at once one is
    /// given each message. Where there are none, it costs nothing.
    ///
    /// A message whose page is lost on its way to the client is lost with it.
    ///
    /// # Errors
    ///
    /// Those of [`take_now`](Session::take_now).
    pub async fn take_flashes(&self) -> Result<Vec<Flash>, Error> {
        Ok(self.take_now(FLASHES).await?.unwrap_or_default())
    }
}
