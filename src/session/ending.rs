//! Ending a session so that nothing brings it back, and so that nothing else is ended by it.

use super::load::find;
use super::work::Ending;
use crate::config::Config;
use crate::error::{Error, ErrorKind, StoreError};
use crate::event::EventKind;
use crate::token::SessionId;

/// How often a deletion is tried. It can be repeated without harm.
const MOST_TRIES: u32 = 3;

impl Ending {
    /// Ends the session; says whether it was this that ended it.
    pub(super) async fn run(&mut self, config: &Config) -> Result<bool, Error> {
        if let Some(mark) = &mut self.mark {
            match (mark.run(config).await, self.signing_in) {
                (Ok(_), _) => self.marked = true,
                (Err(error), _) if error.kind() == ErrorKind::Ended => return Ok(false),
                (Err(error), Some(commit)) if error.kind() == ErrorKind::Superseded => {
                    let Some(found) = find(config, &self.id).await? else { return Ok(false) };
                    if !found.header.commits.contains(&commit) {
                        return Err(error);
                    }
                    // It changed hands by our own sign-in, and has an owner now: it can be deleted outright.
                }
                (Err(error), _) => return Err(error),
            }
            self.mark = None;
        }
        if !self.marked {
            return Ok(delete(config, &self.id, &mut self.in_doubt).await?);
        }
        // What is left holds no data and opens for nobody, so a failure to delete it is not the client's.
        if let Err(error) = config.store.delete(&self.id, None).await {
            config.events.raise_failure(EventKind::UpkeepFailed, self.id, &error);
        }
        Ok(true)
    }
}

/// Deletes a record; says whether it was this that deleted it, or may have been.
pub(crate) async fn delete(config: &Config, id: &SessionId, in_doubt: &mut bool) -> Result<bool, StoreError> {
    let mut tries = 0;
    loop {
        let before = std::mem::replace(in_doubt, true);
        match config.store.delete(id, None).await {
            Ok(deleted) => return Ok(deleted || before),
            Err(error) => {
                config.events.raise_failure(EventKind::StoreFailed, *id, &error);
                tries += 1;
                if tries >= MOST_TRIES {
                    return Err(error);
                }
                config.pause(tries).await;
            }
        }
    }
}
