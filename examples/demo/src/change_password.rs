//! A page that asks for the password again: the one that changes it.

use axum::Form;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;
use sessile::{CsrfToken, FlashLevel};

use crate::confirm::Confirmed;
use crate::failure::Failure;
use crate::form::{Text, csrf_field, problem};
use crate::passwords;
use crate::site::App;

/// `GET /password`
pub async fn show(Confirmed(member): Confirmed) -> Result<Response, Failure> {
    let token = member.session().csrf_token().await?;
    member.visitor.page("Change your password", form(&token, None)).await
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
        let token = session.csrf_token().await?;
        let content = form(&token, Some(wrong));
        return member.visitor.page_with(StatusCode::UNPROCESSABLE_ENTITY, "Change your password", content).await;
    }
    let hash = app.passwords.hash(sent.password).await?;
    app.users.set_password(&member.user, &hash).await?;

    // Whoever knew the old password is out (OWASP ASVS 5.0 V7.4.3), and this browser is given a new token.
    session.rotate()?;
    let ended = match session.id() {
        Some(id) => app.sessions.delete_others(&member.user.owner(), &id).await?,
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

fn form(token: &CsrfToken, wrong: Option<&str>) -> Markup {
    let password = Text {
        name: "password",
        label: "New password",
        autocomplete: "new-password",
        value: "",
        hint: Some(passwords::HINT),
        is_password: true,
    };
    html! {
        section .narrow {
            h1 { "Change your password" }
            p { "Your other devices will be signed out." }
            (problem(wrong))
            form .stack method="post" action="/password" {
                (csrf_field(token))
                (password.show())
                button type="submit" { "Change the password" }
            }
        }
    }
}
