//! Checking a name and a password.

use crate::accounts::{self, Account};
use crate::failure::Failure;
use crate::site::App;
use crate::throttle;

/// Reason for refusing a password.
pub enum Refusal {
    NoMatch,
    TooManyAttempts,
}

impl Refusal {
    /// Returns the message for the user: `no_match`, in the words of the page, or the throttle's message.
    pub fn message(&self, no_match: &'static str) -> &'static str {
        match self {
            Self::NoMatch => no_match,
            Self::TooManyAttempts => throttle::MESSAGE,
        }
    }
}

/// Returns the account with this name and password.
pub async fn authenticate(app: &App, name: &str, password: &str) -> Result<Result<Account, Refusal>, Failure> {
    // No account has such a name, and the throttle would keep it.
    if !accounts::is_name(name) {
        return Ok(Err(Refusal::NoMatch));
    }
    if !app.throttle.allows(name) {
        return Ok(Err(Refusal::TooManyAttempts));
    }
    let (account, hash) = app.accounts.by_name(name).await?.unzip();
    // Neither the message nor the response time tells whether the name or the password was wrong.
    let matches = app.passwords.check(password, hash).await?;
    let Some(account) = account.filter(|_| matches) else { return Ok(Err(Refusal::NoMatch)) };
    app.throttle.reset(name);
    Ok(Ok(account))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use argon2::Params;
    use argon2::password_hash::phc::PasswordHash;
    use sessile::{MemoryStore, Sessions};
    use sqlx::sqlite::SqlitePoolOptions;

    use super::*;
    use crate::accounts::Accounts;
    use crate::passwords::Passwords;
    use crate::throttle::Throttle;

    /// An attacker cannot learn names from response times: every answer takes one comparison with the same parameters.
    ///
    /// The test counts comparisons, since times differ from run to run.
    #[tokio::test]
    async fn an_unknown_name_costs_as_much_as_a_known_one() {
        let app = app().await;
        let hash = app.passwords.hash("kettle of fish").await.ok().expect("a hash");
        app.accounts.add("ada", &hash).await.expect("a table").expect("a new name");

        let mut effort = Vec::new();
        for (name, password, accepted) in [
            ("ada", "kettle of fish", true),
            ("ada", "a guess", false),
            ("bob", "a guess", false),
            ("bob", "decoy", false),
        ] {
            let answer = authenticate(&app, name, password).await.ok().expect("an answer");
            assert_eq!(answer.is_ok(), accepted, "{name}");
            let verified = std::mem::take(&mut *app.passwords.verified.lock().expect("no panic"));
            effort.push(verified.iter().map(|hash| cost(hash)).collect::<Vec<_>>());
        }
        assert_eq!(effort, vec![vec![cost(&hash)]; 4]);
    }

    /// A name that no account can have is refused at once: the throttle would keep it for ten minutes.
    #[tokio::test]
    async fn an_impossible_name_is_not_kept() {
        let app = app().await;
        for name in ["x".repeat(1 << 20), "ä".repeat(accounts::MAX_NAME_LENGTH + 1), String::new(), "a\0".to_owned()] {
            let answer = authenticate(&app, &name, "a guess").await.ok().expect("an answer");
            assert!(matches!(answer, Err(Refusal::NoMatch)));
        }
        assert_eq!(app.throttle.names(), 0);
        let longest = "ä".repeat(accounts::MAX_NAME_LENGTH);
        assert!(authenticate(&app, &longest, "a guess").await.ok().expect("an answer").is_err());
        assert_eq!(app.throttle.names(), 1);
    }

    /// Returns the parameters that determine the cost of a comparison: memory, passes and lanes.
    fn cost(hash: &str) -> (u32, u32, u32) {
        let hash = PasswordHash::new(hash).expect("a hash");
        let params = Params::try_from(&hash).expect("of Argon2");
        (params.m_cost(), params.t_cost(), params.p_cost())
    }

    async fn app() -> App {
        // One connection, since each connection to `:memory:` opens a separate database.
        let pool = SqlitePoolOptions::new().max_connections(1).connect("sqlite::memory:").await.expect("a database");
        App {
            accounts: Accounts::open(pool).await.expect("a table"),
            passwords: Passwords::new().expect("a hash"),
            throttle: Throttle::default(),
            sessions: Sessions::new(MemoryStore::new()),
            acting_sessions: Sessions::new(MemoryStore::new()),
            confirm_within: Duration::ZERO,
            warn_before: Duration::ZERO,
        }
    }
}
