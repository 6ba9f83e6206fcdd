//! Signing up.

use axum::Form;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;
use sessile::{CsrfToken, FlashLevel};

use crate::destination::{Destination, To};
use crate::failure::Failure;
use crate::form::{Text, csrf_field, problem};
use crate::passwords;
use crate::sign_in::{begin, remember_box};
use crate::site::App;
use crate::visitor::Visitor;

const LONGEST_NAME: usize = 32;

/// `GET /sign-up`
pub async fn show(visitor: Visitor, Query(To { to }): Query<To>) -> Result<Response, Failure> {
    if visitor.user.is_some() {
        return Ok(Redirect::to(to.path()).into_response());
    }
    let token = visitor.session.csrf_token().await?;
    visitor.page("Sign up", form(&token, to, "", None)).await
}

#[derive(Deserialize)]
pub struct Account {
    name: String,
    password: String,
    remember: Option<String>,
    #[serde(default)]
    to: Destination,
}

/// `POST /sign-up`
pub async fn submit(
    visitor: Visitor,
    State(app): State<App>,
    headers: HeaderMap,
    Form(sent): Form<Account>,
) -> Result<Response, Failure> {
    let name = sent.name.trim();
    let user = match check_name(name).and_then(|()| passwords::check_new(&sent.password, name)) {
        Ok(()) => {
            let hash = app.passwords.hash(sent.password).await?;
            // That a name is taken cannot be kept secret where people choose their own.
            app.users.add(name, &hash).await?.ok_or("This name is taken. Please choose another.")
        }
        Err(wrong) => Err(wrong),
    };
    match user {
        Ok(user) => {
            begin(&visitor.session, &user, &headers, sent.remember.is_some())?;
            visitor.session.flash(FlashLevel::Success, format!("Welcome, {}.", user.name))?;
            Ok(Redirect::to(sent.to.path()).into_response())
        }
        Err(wrong) => {
            let token = visitor.session.csrf_token().await?;
            let content = form(&token, sent.to, name, Some(wrong));
            visitor.page_with(StatusCode::UNPROCESSABLE_ENTITY, "Sign up", content).await
        }
    }
}

fn check_name(name: &str) -> Result<(), &'static str> {
    if name.is_empty() || name.chars().count() > LONGEST_NAME || name.chars().any(char::is_control) {
        return Err("Please choose a name of 1 to 32 characters.");
    }
    Ok(())
}

fn form(token: &CsrfToken, to: Destination, name: &str, wrong: Option<&str>) -> Markup {
    let user =
        Text { name: "name", label: "Name", autocomplete: "username", value: name, hint: None, is_password: false };
    let password = Text {
        name: "password",
        label: "Password",
        autocomplete: "new-password",
        value: "",
        hint: Some(passwords::HINT),
        is_password: true,
    };
    html! {
        section .narrow {
            h1 { "Sign up" }
            (problem(wrong))
            form .stack method="post" action="/sign-up" {
                (csrf_field(token))
                input type="hidden" name="to" value=(to.name());
                (user.show())
                (password.show())
                (remember_box())
                button type="submit" { "Sign up" }
            }
            p .note { "You have an account? " a href={ "/sign-in?to=" (to.name()) } { "Sign in" } "." }
        }
    }
}
