//! Proving who one is, with a name and a password.

use crate::failure::Failure;
use crate::site::App;
use crate::throttle;
use crate::users::User;

/// Why a password was not taken.
pub enum Refused {
    NoMatch,
    TooOften,
}

impl Refused {
    /// What to tell whoever sent it; a password that does not match is told in the page's own words.
    pub fn said(&self, no_match: &'static str) -> &'static str {
        match self {
            Self::NoMatch => no_match,
            Self::TooOften => throttle::SAID,
        }
    }
}

/// The user whose name and password these are.
pub async fn authenticate(app: &App, name: &str, password: &str) -> Result<Result<User, Refused>, Failure> {
    if !app.throttle.admits(name) {
        return Ok(Err(Refused::TooOften));
    }
    let (user, hash) = app.users.by_name(name).await?.unzip();
    // Whether it is the name or the password is told neither by the words nor by the time that it takes.
    let matches = app.passwords.check(password, hash).await?;
    let Some(user) = user.filter(|_| matches) else { return Ok(Err(Refused::NoMatch)) };
    app.throttle.forget(name);
    Ok(Ok(user))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use argon2::Params;
    use argon2::password_hash::phc::PasswordHash;
    use sessile::{MemoryStore, Sessions};
    use sqlx::sqlite::SqlitePoolOptions;

    use super::*;
    use crate::passwords::Passwords;
    use crate::throttle::Throttle;
    use crate::users::Users;

    /// How long an answer takes tells no names: it is one comparison, as hard as any, whoever is asked for. It is counted
    /// here, since time differs from run to run.
    #[tokio::test]
    async fn an_unknown_name_costs_as_much_as_a_known_one() {
        let app = app().await;
        let hash = app.passwords.hash("kettle of fish").await.ok().expect("a hash");
        app.users.add("ada", &hash).await.expect("a table").expect("a new name");

        let mut effort = Vec::new();
        for (name, password, is_she) in [
            ("ada", "kettle of fish", true),
            ("ada", "a guess", false),
            ("bob", "a guess", false),
            ("bob", "nobody", false),
        ] {
            let answer = authenticate(&app, name, password).await.ok().expect("an answer");
            assert_eq!(answer.is_ok(), is_she, "{name}");
            let verified = std::mem::take(&mut *app.passwords.verified.lock().expect("no panic"));
            effort.push(verified.iter().map(|hash| cost(hash)).collect::<Vec<_>>());
        }
        assert_eq!(effort, vec![vec![cost(&hash)]; 4]);
    }

    /// What decides how long it takes to compare a password with this hash: memory, passes, lanes.
    fn cost(hash: &str) -> (u32, u32, u32) {
        let hash = PasswordHash::new(hash).expect("a hash");
        let params = Params::try_from(&hash).expect("of Argon2");
        (params.m_cost(), params.t_cost(), params.p_cost())
    }

    async fn app() -> App {
        // One connection: each would be a database of its own.
        let pool = SqlitePoolOptions::new().max_connections(1).connect("sqlite::memory:").await.expect("a database");
        let users = Users::new(pool);
        users.migrate().await.expect("a table");
        App {
            users,
            passwords: Passwords::new().expect("a hash"),
            throttle: Throttle::default(),
            sessions: Sessions::new(MemoryStore::new()),
            confirm_within: Duration::ZERO,
        }
    }
}
