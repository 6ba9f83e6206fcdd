//! Hashing passwords, with Argon2id.

use std::sync::Arc;

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{Error, PasswordHasher, PasswordVerifier};
use tokio::sync::Semaphore;

use crate::failure::Failure;

/// OWASP ASVS 5.0 V6.2.1 asks for 8 characters, and recommends 15.
const SHORTEST: usize = 8;
/// Long enough for any sentence (V6.2.9 asks for 64 at least), and no work for nothing.
const LONGEST: usize = 256;

pub const HINT: &str =
    "At least 8 characters; 15 or more are better. A few words that do not belong together are good.";

/// What everybody tries first. A real list has thousands (V6.2.4).
const KNOWN: [&str; 6] = ["12345678", "123456789", "1234567890", "password", "password1", "qwertyuiop"];

/// Says what is wrong with a new password. No rules about signs and digits: they make passwords worse (V6.2.5).
pub fn check_new(password: &str, name: &str) -> Result<(), &'static str> {
    if password.chars().count() < SHORTEST {
        return Err("Please choose a password of at least 8 characters.");
    }
    if password.len() > LONGEST {
        return Err("Please choose a shorter password.");
    }
    if KNOWN.contains(&password.to_lowercase().as_str()) || password.eq_ignore_ascii_case(name) {
        return Err("This password is among the first that others would try. Please choose another.");
    }
    Ok(())
}

#[derive(Clone)]
pub struct Passwords {
    /// A hash takes 19 MiB and all of a processor: strangers do not decide how many run at once.
    turns: Arc<Semaphore>,
    /// The hash of no user, checked in place of one that is not there: so that an answer takes as long for an unknown name as
    /// for a wrong password.
    nobody: Arc<str>,
    /// The hashes that passwords were compared with, one after the other.
    #[cfg(test)]
    pub verified: Arc<std::sync::Mutex<Vec<String>>>,
}

impl Passwords {
    pub fn new() -> Result<Self, Error> {
        let turns = std::thread::available_parallelism().map_or(1, usize::from);
        let nobody = Argon2::default().hash_password(b"nobody")?.to_string();
        Ok(Self {
            turns: Arc::new(Semaphore::new(turns)),
            nobody: nobody.into(),
            #[cfg(test)]
            verified: Arc::default(),
        })
    }

    pub async fn hash(&self, password: &str) -> Result<String, Failure> {
        let password = password.to_owned();
        self.run(move || Ok(Argon2::default().hash_password(password.as_bytes())?.to_string())).await
    }

    /// Whether the password is the one of this hash. It never is where there is no hash, which takes as long.
    pub async fn check(&self, password: &str, hash: Option<String>) -> Result<bool, Failure> {
        let is_somebody = hash.is_some();
        let hash = hash.unwrap_or_else(|| self.nobody.to_string());
        let password = password.to_owned();
        #[cfg(test)]
        let verified = Arc::clone(&self.verified);
        let matches = move || {
            let matches = match Argon2::default().verify_password(password.as_bytes(), &PasswordHash::new(&hash)?) {
                Ok(()) => true,
                Err(Error::PasswordInvalid) => false,
                Err(error) => return Err(error),
            };
            #[cfg(test)]
            verified.lock().expect("no test panics here").push(hash);
            Ok(matches)
        };
        Ok(self.run(matches).await? && is_somebody)
    }

    /// Away from the threads that serve requests.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Failure> {
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(Failure::internal)?;
        let work = move || {
            // Held by the work itself, which goes on where the client does not wait for it.
            let _turn = turn;
            work()
        };
        tokio::task::spawn_blocking(work).await.map_err(Failure::internal)?.map_err(Failure::internal)
    }
}
