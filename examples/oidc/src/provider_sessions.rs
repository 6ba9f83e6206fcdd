//! From a session of the provider to sessions of this application, in their store.

use std::time::Duration;

use openidconnect::IssuerUrl;
use serde::{Deserialize, Serialize};
use sessile::config::ConfigError;
use sessile::store::Store;
use sessile::{Error, Field, Lifetime, Sessions, Transient};

use crate::MAX_SESSION;
use crate::sign_in::MAX_SIGN_IN;

/// The provider's session that a session was signed in by.
///
/// A session that has lost it, by `clear` for example, ends with every logout of its user.
pub(crate) const ORIGIN: Field<Origin> = Field::new("oidc.origin");
/// Realm of the records of logouts.
const REALM: &str = "oidc-logouts";
/// Time that a record of a logout is kept: longer than any sign-in that began before it.
const LOGOUT_KEPT: Duration = Duration::from_secs(2 * MAX_SIGN_IN.as_secs());
/// Time that the owner of a provider's session is kept: longer than any session that it signed in.
const OWNER_KEPT: Duration = Duration::from_secs(MAX_SESSION.as_secs() + 60 * 60);

/// The provider's session behind a session of this application.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Origin {
    pub(crate) sub: String,
    /// Missing if the provider does not name its sessions.
    pub(crate) sid: Option<String>,
    /// Time of the sign-in, in seconds since the Unix epoch.
    pub(crate) since: i64,
}

/// The end of one session of the provider, or of all those of a user.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Logout {
    pub(crate) sub: Option<String>,
    pub(crate) sid: Option<String>,
    /// In seconds since the Unix epoch.
    pub(crate) at: i64,
}

impl Logout {
    fn ends(&self, origin: &Origin) -> bool {
        match (&self.sid, &origin.sid) {
            (Some(ended), Some(sid)) => ended == sid,
            // All sessions of the user end, except later ones.
            _ => origin.since <= self.at,
        }
    }
}

/// The sessions of the provider that this application knows.
#[derive(Clone)]
pub(crate) struct ProviderSessions {
    issuer: IssuerUrl,
    sessions: Sessions,
    /// Records of logouts, each owned by the name of the session or user that it ends. Unlike a single value under that name, they
    /// cannot overwrite each other.
    logouts: Sessions,
    values: Transient,
}

impl ProviderSessions {
    pub(crate) fn new<S: Store + Clone>(issuer: &IssuerUrl, store: S, sessions: Sessions) -> Result<Self, ConfigError> {
        let lifetime = Lifetime::new().without_idle_timeout().with_absolute_timeout(LOGOUT_KEPT);
        let logouts = Sessions::new(store.clone()).with_realm(REALM)?.with_lifetime(lifetime)?;
        Ok(Self { issuer: issuer.clone(), sessions, logouts, values: Transient::new(store) })
    }

    /// Stores the owner of the provider's session; returns the owner. Call it before the session is committed.
    ///
    /// All sign-ins by one session of the provider store the same owner, so they need no list that each would have to change.
    pub(crate) async fn link(&self, origin: &Origin) -> Result<String, Error> {
        let owner = owner(&origin.sub);
        if let Some(sid) = &origin.sid {
            self.values.set(&self.name("owner", sid), &owner, OWNER_KEPT).await?;
        }
        Ok(owner)
    }

    /// Checks whether the provider's session has ended. Call it after the session was committed.
    pub(crate) async fn is_over(&self, origin: &Origin) -> Result<bool, Error> {
        for name in self.names(Some(&origin.sub), origin.sid.as_deref()) {
            for logout in self.logouts.owned_by(&name).await? {
                if logout.to::<Logout>()?.ends(origin) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Ends the sessions that the provider's session signed in; returns their number.
    pub(crate) async fn end(&self, logout: &Logout) -> Result<usize, Error> {
        // Before the sessions are listed: a sign-in that is committed after that finds the record.
        for name in self.names(logout.sub.as_deref(), logout.sid.as_deref()) {
            self.logouts.create_owned_by(&name, logout).await?;
        }
        let owner = match (&logout.sub, &logout.sid) {
            (Some(sub), _) => Some(owner(sub)),
            (None, Some(sid)) => self.owner_of(sid).await?,
            (None, None) => None,
        };
        let Some(owner) = owner else { return Ok(0) };
        let is_over = |origin: Option<Origin>| origin.is_none_or(|origin| logout.ends(&origin));
        let ended =
            self.sessions.end_matching_of(&owner, |session| is_over(session.get(ORIGIN).ok().flatten())).await?;
        Ok(ended.len())
    }

    /// Returns the owner of a session of the provider, if this application knows it.
    pub(crate) async fn owner_of(&self, sid: &str) -> Result<Option<String>, Error> {
        self.values.get(&self.name("owner", sid)).await
    }

    /// Checks whether a logout token has taken effect.
    pub(crate) async fn is_done(&self, jti: &str) -> Result<bool, Error> {
        Ok(self.values.get::<()>(&self.name("jti", jti)).await?.is_some())
    }

    /// Notes that a logout token has taken effect, until it expires.
    pub(crate) async fn set_done(&self, jti: &str, expires_in: Duration) -> Result<(), Error> {
        self.values.set(&self.name("jti", jti), &(), expires_in).await
    }

    fn names(&self, sub: Option<&str>, sid: Option<&str>) -> Vec<String> {
        let sub = sub.map(|sub| self.name("sub", sub));
        sub.into_iter().chain(sid.map(|sid| self.name("sid", sid))).collect()
    }

    /// Names a thing of the provider. Neither the kind nor an issuer contains a space.
    fn name(&self, kind: &str, id: &str) -> String {
        format!("{kind} {} {id}", self.issuer.as_str())
    }
}

/// Returns the owner of a subject's sessions. An application with its own accounts looks up the account here.
fn owner(sub: &str) -> String {
    format!("provider:{sub}")
}
