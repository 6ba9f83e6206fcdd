//! Proving who one is, with a name and a password.

use crate::failure::Failure;
use crate::site::App;
use crate::throttle;
use crate::users::User;

/// The user whose name and password these are; otherwise, what to tell whoever sent them.
pub async fn authenticate(app: &App, name: &str, password: String) -> Result<Result<User, &'static str>, Failure> {
    if !app.throttle.admits(name) {
        return Ok(Err(throttle::SAID));
    }
    let (user, hash) = app.users.by_name(name).await?.unzip();
    // Whether it is the name or the password is told neither by the words nor by the time that it takes.
    let matches = app.passwords.check(password, hash).await?;
    let Some(user) = user.filter(|_| matches) else { return Ok(Err("Name and password do not match.")) };
    app.throttle.forget(name);
    Ok(Ok(user))
}
