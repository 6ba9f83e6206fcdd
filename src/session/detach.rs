//! A session that outlives its request: for WebSockets, event streams and background work.

use std::sync::Arc;

use super::Session;
use super::load::find;
use super::request::RequestSession;
use super::work::{Base, Promised, Work};
use crate::error::{Error, ErrorKind};
use crate::token::SessionId;

/// # Beyond the request
impl<M> Session<M> {
    /// The same session for work that outlives the request: a WebSocket, an event stream, a background task.
    ///
    /// It sees what this request sees now, and commits by [`commit`](Session::commit) alone. It can neither create a
    /// session nor change a token, since there is no response to send one with: [`sign_in`](Session::sign_in) and
    /// [`rotate`](Session::rotate) fail as [`Detached`](ErrorKind::Detached). A session that this request has yet to store can be
    /// used once the response's head is out.
    ///
    /// ```
    /// # use sessile::{Error, Session};
    /// # async fn handler(session: Session) -> Result<(), Error> {
    /// let background = session.detach();
    /// let work = async move {
    ///     background.insert("report", "ready")?;
    ///     background.commit().await
    /// };
    /// # work.await
    /// # }
    /// ```
    #[must_use]
    pub fn detach(&self) -> Self {
        let now = self.request.config().clock.now();
        let mut work = self.request.work();
        let signs_in = work.changes.sign_in.is_some();
        let base = match &work.base {
            Base::Live(live) if work.changes.is_empty() && work.stalled.is_none() => Base::Live(live.clone()),
            Base::Live(live) => {
                let epoch = live.found.header.epoch + u64::from(signs_in && live.found.record.owner().is_none());
                Base::Promised(Promised { id: *live.found.record.id(), epoch, owner: work.owner.clone() })
            }
            Base::Fresh if !work.changes.is_empty() => {
                let id = *work.new_id.get_or_insert_with(|| SessionId::generate(now));
                Base::Promised(Promised { id, epoch: u64::from(signs_in), owner: work.owner.clone() })
            }
            other => other.clone(),
        };
        let mut detached = Work::new(base);
        detached.view = work.view.clone();
        detached.owner = work.owner.clone();
        detached.authenticated_at = work.authenticated_at;
        detached.failed = work.failed;
        drop(work);
        Self::of(Arc::new(RequestSession::detached(Arc::clone(self.request.shared_config()), detached)))
    }

    /// Commits what was done so far, and reads the session anew: what other requests have written to it is seen from then
    /// on, and an end is noticed.
    ///
    /// # Errors
    ///
    /// [`Ended`](ErrorKind::Ended) where the session has ended, [`Superseded`](ErrorKind::Superseded) where it changed hands,
    /// and those of [`commit`](Session::commit).
    pub async fn reload(&self) -> Result<(), Error> {
        drop(self.request.work_for_end()?);
        self.request.commit().await?;
        let promised = match &self.request.work().base {
            Base::Live(live) => Promised {
                id: *live.found.record.id(),
                epoch: live.found.header.epoch,
                owner: live.found.record.owner_shared().cloned(),
            },
            Base::Promised(promised) => promised.clone(),
            Base::Fresh | Base::Retired => return Ok(()),
        };
        let config = self.request.config();
        let found = find(config, &promised.id).await?;
        let found = found.ok_or_else(|| Error::new(ErrorKind::Ended))?;
        if !promised.is(&found) {
            return Err(Error::new(ErrorKind::Superseded));
        }
        self.request.rebase(found);
        Ok(())
    }
}
