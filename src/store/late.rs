//! The error of a deadline.

use std::fmt;
use std::time::Duration;

/// The server did not answer in time.
#[derive(Debug)]
pub(super) struct Late(pub(super) Duration);

impl fmt::Display for Late {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no answer within {:?}", self.0)
    }
}

impl std::error::Error for Late {}
