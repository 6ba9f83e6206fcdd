//! The page that changes the password, after the user confirms the old one.

use axum::Form;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use maud::html;
use serde::Deserialize;
use sessile::flash::FlashLevel;
use sessile::user::User;

use crate::accounts::Accounts;
use crate::failure::Failure;
use crate::form::{FormPage, new_password_field};
use crate::passwords;
use crate::site::App;
use crate::visitor::Visitor;

/// `GET /password`
pub async fn show(visitor: Visitor) -> Result<Response, Failure> {
    visitor.ask(form(), None).await
}

#[derive(Deserialize)]
pub struct Change {
    password: String,
}

/// `POST /password`
pub async fn submit(
    User(account): User<Accounts>,
    visitor: Visitor,
    State(app): State<App>,
    Form(sent): Form<Change>,
) -> Result<Response, Failure> {
    if let Err(wrong) = passwords::check_new(&sent.password, &account.name) {
        return visitor.ask(form(), Some(wrong)).await;
    }
    let hash = app.passwords.hash(&sent.password).await?;
    // Before the hash is stored, so that no request in between signs this browser out.
    visitor.current.accept_credentials_of(&app.accounts.with_password(account.clone(), &hash)).await?;
    app.accounts.set_password(&account, &hash).await?;

    // Issues a new token for this browser, and signs out every other device, where an attacker with the old password may be
    // (OWASP ASVS 5.0 V7.4.3). A session that this misses is signed out at its next request, by its stamp.
    visitor.session.rotate()?;
    let visits = app.acting_sessions.end_all_of(&account.id.to_string()).await?;
    let done = match visitor.current.end_others().await?.len() + visits.len() {
        0 => "Your password is changed.".to_owned(),
        1 => "Your password is changed, and 1 other device is signed out.".to_owned(),
        more => format!("Your password is changed, and {more} other devices are signed out."),
    };
    visitor.session.flash(FlashLevel::Success, done)?;
    Ok(Redirect::to("/devices").into_response())
}

fn form() -> FormPage<'static> {
    FormPage {
        title: "Change your password",
        lead: html! { p { "Your other devices will be signed out." } },
        action: "/password",
        fields: new_password_field("New password"),
        button: "Change the password",
        instead: html! {},
    }
}
