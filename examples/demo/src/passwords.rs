//! Password hashing with Argon2id.

use std::sync::Arc;

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{Error, PasswordHasher, PasswordVerifier};
use tokio::sync::Semaphore;

use crate::failure::Failure;

/// OWASP ASVS 5.0 V6.2.1 asks for 8 characters, and recommends 15.
const MIN_CHARACTERS: usize = 8;
/// V6.2.9 asks for at least 64. A bound keeps an attacker from sending megabytes to hash.
const MAX_BYTES: usize = 256;

pub const HINT: &str =
    "At least 8 characters; 15 or more are better. A few words that do not belong together are good.";

/// Passwords that attackers try first. A real list has thousands (V6.2.4).
const KNOWN: [&str; 6] = ["12345678", "123456789", "1234567890", "password", "password1", "qwertyuiop"];

/// Checks a new password. There are no rules about signs and digits, since they lead to worse passwords (V6.2.5).
pub fn check_new(password: &str, name: &str) -> Result<(), &'static str> {
    if password.chars().count() < MIN_CHARACTERS {
        return Err("Please choose a password of at least 8 characters.");
    }
    if password.len() > MAX_BYTES {
        return Err("Please choose a shorter password.");
    }
    if KNOWN.contains(&password.to_lowercase().as_str()) || password.eq_ignore_ascii_case(name) {
        return Err("This password is among the first that others would try. Please choose another.");
    }
    Ok(())
}

#[derive(Clone)]
pub struct Passwords {
    /// Limits concurrent hashes, each of which takes 19 MiB and a whole core.
    permits: Arc<Semaphore>,
    /// Hash to compare with if the user does not exist, so that an unknown name takes as long as a wrong password.
    decoy: Arc<str>,
    /// Hashes compared so far.
    #[cfg(test)]
    pub verified: Arc<std::sync::Mutex<Vec<String>>>,
}

impl Passwords {
    pub fn new() -> Result<Self, Error> {
        let permits = std::thread::available_parallelism().map_or(1, usize::from);
        let decoy = Argon2::default().hash_password(b"decoy")?.to_string();
        Ok(Self {
            permits: Arc::new(Semaphore::new(permits)),
            decoy: decoy.into(),
            #[cfg(test)]
            verified: Arc::default(),
        })
    }

    pub async fn hash(&self, password: &str) -> Result<String, Failure> {
        let password = password.to_owned();
        self.run(move || Ok(Argon2::default().hash_password(password.as_bytes())?.to_string())).await
    }

    /// Checks a password against a hash. Without a hash the answer is `false`, after a comparison of the same cost.
    pub async fn check(&self, password: &str, hash: Option<String>) -> Result<bool, Failure> {
        let user_exists = hash.is_some();
        let hash = hash.unwrap_or_else(|| self.decoy.to_string());
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
        Ok(self.run(matches).await? && user_exists)
    }

    /// Runs `work` on a thread for blocking work, off the threads that serve requests.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Failure> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(Failure::internal)?;
        let work = move || {
            // Held until the work ends, which may be after the client has disconnected.
            let _permit = permit;
            work()
        };
        tokio::task::spawn_blocking(work).await.map_err(Failure::internal)?.map_err(Failure::internal)
    }
}
