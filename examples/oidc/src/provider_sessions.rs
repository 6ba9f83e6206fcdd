//! From a session of the provider to sessions of this application, in their store.

use std::collections::BTreeSet;
use std::time::Duration;

use openidconnect::IssuerUrl;
use serde::{Deserialize, Serialize};
use sessile::config::ConfigError;
use sessile::store::Store;
use sessile::{Error, Field, Lifetime, Sessions, StoredSession, Transient};

use crate::sign_in::MAX_SIGN_IN;
use crate::{MAX_SESSION, now};

/// The provider's session that a session was signed in by.
///
/// A session that has lost it, by `clear` for example, ends with every logout of its user.
pub(crate) const ORIGIN: Field<Origin> = Field::new("oidc.origin");
/// Time that a logout is kept: longer than any sign-in that began before it.
const LOGOUT_KEPT: Duration = Duration::from_secs(2 * MAX_SIGN_IN.as_secs());
/// Age at which the link of a provider's session to an owner is stored again.
const LINK_RENEWED: Duration = Duration::from_secs(60 * 60);
/// Time that a link is kept: longer than any session that was signed in while it was young.
const LINK_KEPT: Duration = Duration::from_secs(MAX_SESSION.as_secs() + 2 * LINK_RENEWED.as_secs());

/// The provider's session behind a session of this application.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Origin {
    pub(crate) sub: String,
    /// Missing if the provider does not name its sessions.
    pub(crate) sid: Option<String>,
    /// Earliest time at which the provider can have issued the code, in seconds since the Unix epoch.
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

/// The link of a provider's session to an owner that it signed in.
#[derive(Serialize, Deserialize)]
struct Link {
    owner: String,
}

/// The sessions of the provider that this application knows.
///
/// Links and logouts of users are records, each owned by the name of the provider's session or user. Unlike a single value under that
/// name, they cannot overwrite each other.
#[derive(Clone)]
pub(crate) struct ProviderSessions {
    issuer: IssuerUrl,
    sessions: Sessions,
    links: Sessions,
    logouts: Sessions,
    values: Transient,
}

impl ProviderSessions {
    pub(crate) fn new<S: Store + Clone>(issuer: &IssuerUrl, store: S, sessions: Sessions) -> Result<Self, ConfigError> {
        let records = |realm, kept| {
            let lifetime = Lifetime::new().without_idle_timeout().with_absolute_timeout(kept);
            Sessions::new(store.clone()).with_realm(realm)?.with_lifetime(lifetime)
        };
        let links = records("oidc-links", LINK_KEPT)?;
        let logouts = records("oidc-logouts", LOGOUT_KEPT)?;
        Ok(Self { issuer: issuer.clone(), sessions, links, logouts, values: Transient::new(store) })
    }

    /// Links the provider's session to its owner; returns the owner. Call it before the session is committed.
    ///
    /// A provider's session has one owner, but some providers keep it when another user signs in.
    pub(crate) async fn link(&self, origin: &Origin) -> Result<String, Error> {
        let owner = owner(&origin.sub);
        if let Some(sid) = &origin.sid {
            let name = self.name("sid", sid);
            let oldest = now() - LINK_RENEWED.as_secs().cast_signed();
            let mut is_linked = false;
            for link in self.links.owned_by(&name).await? {
                is_linked |= link.created_at().unix_timestamp() > oldest && link.to::<Link>()?.owner == owner;
            }
            if !is_linked {
                self.links.create_owned_by(&name, &Link { owner: owner.clone() }).await?;
            }
        }
        Ok(owner)
    }

    /// Checks whether the provider's session has ended. Call it after the session was committed.
    pub(crate) async fn is_over(&self, origin: &Origin) -> Result<bool, Error> {
        if let Some(sid) = &origin.sid
            && self.values.get::<()>(&self.name("over", sid)).await?.is_some()
        {
            return Ok(true);
        }
        for logout in self.logouts.owned_by(&self.name("sub", &origin.sub)).await? {
            if logout.to::<Logout>()?.ends(origin) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Ends the sessions that the provider's session signed in.
    pub(crate) async fn end(&self, logout: &Logout) -> Result<(), Error> {
        // Before the sessions are listed: a sign-in that is committed after that finds the logout.
        let mut owners = BTreeSet::new();
        if let Some(sid) = &logout.sid {
            self.values.set(&self.name("over", sid), &(), LOGOUT_KEPT).await?;
            owners = self.owners_of(sid).await?;
        }
        if let Some(sub) = &logout.sub {
            self.logouts.create_owned_by(&self.name("sub", sub), logout).await?;
            owners.insert(owner(sub));
        }
        for owner in owners {
            let is_over =
                |session: &StoredSession| session.get(ORIGIN).ok().flatten().is_none_or(|origin| logout.ends(&origin));
            self.sessions.end_matching_of(&owner, is_over).await?;
        }
        Ok(())
    }

    /// Returns the owners that a session of the provider signed in.
    pub(crate) async fn owners_of(&self, sid: &str) -> Result<BTreeSet<String>, Error> {
        let links = self.links.owned_by(&self.name("sid", sid)).await?;
        links.iter().map(|link| Ok(link.to::<Link>()?.owner)).collect()
    }

    /// Checks whether a logout token has taken effect.
    pub(crate) async fn is_done(&self, jti: &str) -> Result<bool, Error> {
        Ok(self.values.get::<()>(&self.name("jti", jti)).await?.is_some())
    }

    /// Notes that a logout token has taken effect, until it expires.
    pub(crate) async fn set_done(&self, jti: &str, expires_in: Duration) -> Result<(), Error> {
        self.values.set(&self.name("jti", jti), &(), expires_in).await
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
