//! The page that changes the password, after the user confirms the old one.

use axum::Form;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use maud::html;
use serde::Deserialize;
use sessile::flash::FlashLevel;

use crate::confirm::Confirmed;
use crate::failure::Failure;
use crate::form::{FormPage, new_password_field};
use crate::passwords;
use crate::site::App;

/// `GET /password`
pub async fn show(Confirmed(member): Confirmed) -> Result<Response, Failure> {
    member.visitor.ask(form(), None).await
}

#[derive(Deserialize)]
pub struct Change {
    password: String,
}

/// `POST /password`
pub async fn submit(
    Confirmed(member): Confirmed,
    State(app): State<App>,
    Form(sent): Form<Change>,
) -> Result<Response, Failure> {
    let session = member.session();
    if let Err(wrong) = passwords::check_new(&sent.password, &member.user.name) {
        return member.visitor.ask(form(), Some(wrong)).await;
    }
    let hash = app.passwords.hash(&sent.password).await?;
    app.users.set_password(&member.user, &hash).await?;

    // Signs out every other device, where an attacker with the old password may be (OWASP ASVS 5.0 V7.4.3), and issues
    // a new token for this browser.
    session.rotate()?;
    let ended = match session.id() {
        Some(id) => app.sessions.end_others_of(&member.user.owner(), &id).await?.len(),
        None => 0,
    };
    let done = match ended {
        0 => "Your password is changed.".to_owned(),
        1 => "Your password is changed, and 1 other device is signed out.".to_owned(),
        more => format!("Your password is changed, and {more} other devices are signed out."),
    };
    session.flash(FlashLevel::Success, done)?;
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
