//! Step-up: asks for the password again before a sensitive action.

use axum::Form;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use maud::html;
use serde::Deserialize;
use sessile::user::{LocalPath, NextPath, User};

use crate::accounts::Accounts;
use crate::authenticate::authenticate;
use crate::failure::Failure;
use crate::form::{FormPage, next_field, password_field};
use crate::site::App;
use crate::visitor::Visitor;

/// `GET /confirm`
pub async fn show(
    User(account): User<Accounts>,
    visitor: Visitor,
    Query(query): Query<NextPath>,
) -> Result<Response, Failure> {
    visitor.ask(form(&account.name, &query.next_or("/")), None).await
}

#[derive(Deserialize)]
pub struct Proof {
    password: String,
    #[serde(flatten)]
    next: NextPath,
}

/// `POST /confirm`
pub async fn submit(
    User(account): User<Accounts>,
    visitor: Visitor,
    State(app): State<App>,
    Form(sent): Form<Proof>,
) -> Result<Response, Failure> {
    let next = sent.next.next_or("/");
    match authenticate(&app, &account.name, &sent.password).await? {
        Ok(_) => {
            visitor.session.reauthenticate()?;
            Ok(Redirect::to(next.as_str()).into_response())
        }
        Err(refusal) => {
            let wrong = refusal.message("This is not your password.");
            visitor.ask(form(&account.name, &next), Some(wrong)).await
        }
    }
}

fn form(name: &str, next: &LocalPath) -> FormPage<'static> {
    FormPage {
        title: "Confirm that it is you",
        lead: html! { p { "You are signed in as " strong { (name) } ". To go on, please enter your password once more." } },
        action: "/confirm",
        fields: html! {
            (next_field(next))
            // For password managers, which look for a name beside the password.
            input type="text" name="name" value=(name) autocomplete="username" hidden readonly;
            (password_field())
        },
        button: "Confirm",
        instead: html! {},
    }
}
