//! Step-up: the password once more, before what matters.

use axum::Form;
use axum::extract::{FromRequestParts, Query, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;
use sessile::CsrfToken;

use crate::authenticate::authenticate;
use crate::destination::{Destination, To};
use crate::failure::Failure;
use crate::form::{Text, csrf_field, problem};
use crate::site::App;
use crate::visitor::Member;

/// A member who has proved who they are not long ago; others are asked to.
pub struct Confirmed(pub Member);

impl FromRequestParts<App> for Confirmed {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Failure> {
        let member = Member::from_request_parts(parts, app).await?;
        match member.session().require_recent(app.confirm_within) {
            Ok(()) => Ok(Self(member)),
            Err(_) => Err(Failure::ConfirmFirst(Destination::of_path(parts.uri.path()))),
        }
    }
}

/// `GET /confirm`
pub async fn show(member: Member, Query(To { to }): Query<To>) -> Result<Response, Failure> {
    let token = member.session().csrf_token().await?;
    let content = form(&token, &member.user.name, to, None);
    member.visitor.page("Confirm that it is you", content).await
}

#[derive(Deserialize)]
pub struct Proof {
    password: String,
    #[serde(default)]
    to: Destination,
}

/// `POST /confirm`
pub async fn submit(member: Member, State(app): State<App>, Form(sent): Form<Proof>) -> Result<Response, Failure> {
    match authenticate(&app, &member.user.name, sent.password).await? {
        Ok(_) => {
            member.session().reauthenticate()?;
            Ok(Redirect::to(sent.to.path()).into_response())
        }
        Err(wrong) => {
            let token = member.session().csrf_token().await?;
            let content = form(&token, &member.user.name, sent.to, Some(wrong));
            member.visitor.page_with(StatusCode::UNPROCESSABLE_ENTITY, "Confirm that it is you", content).await
        }
    }
}

fn form(token: &CsrfToken, name: &str, to: Destination, wrong: Option<&str>) -> Markup {
    let password = Text {
        name: "password",
        label: "Password",
        autocomplete: "current-password",
        value: "",
        hint: None,
        is_password: true,
    };
    html! {
        section .narrow {
            h1 { "Confirm that it is you" }
            p { "You are signed in as " strong { (name) } ". To go on, please enter your password once more." }
            (problem(wrong))
            form .stack method="post" action="/confirm" {
                (csrf_field(token))
                input type="hidden" name="to" value=(to.name());
                // For password managers, which look for the name beside the password.
                input type="text" name="name" value=(name) autocomplete="username" hidden readonly;
                (password.show())
                button type="submit" { "Confirm" }
            }
        }
    }
}
