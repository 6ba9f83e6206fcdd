//! Step-up: asks for the password again before a sensitive action.

use axum::Form;
use axum::extract::{FromRequestParts, Query, State};
use axum::http::request::Parts;
use axum::response::{IntoResponse, Redirect, Response};
use maud::html;
use serde::Deserialize;

use crate::authenticate::authenticate;
use crate::destination::{Destination, To};
use crate::failure::Failure;
use crate::form::{FormPage, destination_field, password_field};
use crate::site::App;
use crate::visitor::Member;

/// Extractor of a member who entered the password recently; others are redirected to `/confirm`.
pub struct Confirmed(pub Member);

impl FromRequestParts<App> for Confirmed {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Failure> {
        let member = Member::from_request_parts(parts, app).await?;
        member.session().require_recent(app.confirm_within)?;
        Ok(Self(member))
    }
}

/// `GET /confirm`
pub async fn show(member: Member, Query(To { to, .. }): Query<To>) -> Result<Response, Failure> {
    member.visitor.ask(form(&member.user.name, to), None).await
}

#[derive(Deserialize)]
pub struct Proof {
    password: String,
    #[serde(default)]
    to: Destination,
}

/// `POST /confirm`
pub async fn submit(member: Member, State(app): State<App>, Form(sent): Form<Proof>) -> Result<Response, Failure> {
    match authenticate(&app, &member.user.name, &sent.password).await? {
        Ok(_) => {
            member.session().reauthenticate()?;
            Ok(Redirect::to(sent.to.path()).into_response())
        }
        Err(refusal) => {
            let wrong = refusal.message("This is not your password.");
            member.visitor.ask(form(&member.user.name, sent.to), Some(wrong)).await
        }
    }
}

fn form(name: &str, to: Destination) -> FormPage<'static> {
    FormPage {
        title: "Confirm that it is you",
        lead: html! { p { "You are signed in as " strong { (name) } ". To go on, please enter your password once more." } },
        action: "/confirm",
        fields: html! {
            (destination_field(to))
            // For password managers, which look for a name beside the password.
            input type="text" name="name" value=(name) autocomplete="username" hidden readonly;
            (password_field())
        },
        button: "Confirm",
        instead: html! {},
    }
}
