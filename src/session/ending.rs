//! Ending a session so that nothing brings it back, and so that nothing else is ended by it.

use super::changes::Changes;
use super::work::{Base, Batch, Ending};
use crate::config::Config;
use crate::error::{Error, ErrorKind, StoreError};
use crate::event::EventKind;
use crate::record::new_commit_name;
use crate::token::SessionId;

/// How often a deletion is tried. It can be repeated without harm.
const MOST_TRIES: u32 = 3;

impl Ending {
    /// Ends the session; says whether it was this that ended it.
    ///
    /// A session with an owner changes hands no more, and is deleted outright. An anonymous one may have been signed in
    /// since it was loaded, and work begun before that must not land after: it is marked as ended by a conditional
    /// write, which a change of hands refuses, and deleted then.
    pub(super) async fn run(&mut self, config: &Config) -> Result<bool, Error> {
        if !self.settled {
            if let Some(live) = self.live.take() {
                let changes = Changes { end: true, ..Changes::default() };
                self.mark = Some(Batch {
                    base: Base::Live(live),
                    changes,
                    result: None,
                    name: new_commit_name(),
                    secret: None,
                    new_id: None,
                    in_doubt: false,
                });
            }
            if let Some(mark) = &mut self.mark {
                match mark.run(config).await {
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::Ended => return Ok(false),
                    Err(error) => return Err(error),
                }
            }
            // What is left holds no data and opens for nobody, so a failure to delete it is not the client's.
            if let Err(error) = config.store.delete(&self.id).await {
                config.events.raise_failure(EventKind::UpkeepFailed, self.id, &error);
            }
            return Ok(true);
        }
        delete(config, &self.id, &mut self.in_doubt).await.map_err(Error::from)
    }
}

/// Deletes a record; says whether it was this that deleted it, or may have been.
pub(crate) async fn delete(config: &Config, id: &SessionId, in_doubt: &mut bool) -> Result<bool, StoreError> {
    let mut tries = 0;
    loop {
        let before = std::mem::replace(in_doubt, true);
        match config.store.delete(id).await {
            Ok(deleted) => return Ok(deleted || before),
            Err(error) => {
                config.events.raise_failure(EventKind::StoreFailed, *id, &error);
                tries += 1;
                if tries >= MOST_TRIES {
                    return Err(error);
                }
                config.store.pause(tries).await;
            }
        }
    }
}
