//! Signing in and out.

use std::time::Duration;

use axum::Form;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;
use sessile::{CsrfToken, FlashLevel, Lifetime, Session};

use crate::authenticate::authenticate;
use crate::destination::{Destination, To};
use crate::devices::DEVICE;
use crate::failure::Failure;
use crate::form::{Text, csrf_field, problem};
use crate::site::App;
use crate::user_agent;
use crate::users::User;
use crate::visitor::{Member, Visitor};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// "Keep me signed in": two weeks without a visit, ninety days in all, and a cookie that outlives the browser's window.
/// Its token is renewed once a day.
const REMEMBERED: Lifetime = Lifetime::new()
    .with_idle(Duration::from_secs(14 * DAY.as_secs()))
    .with_absolute(Duration::from_secs(90 * DAY.as_secs()))
    .with_max_age(Duration::from_secs(90 * DAY.as_secs()))
    .with_rotation(DAY);

/// `GET /sign-in`
pub async fn show(visitor: Visitor, Query(To { to }): Query<To>) -> Result<Response, Failure> {
    if visitor.user.is_some() {
        return Ok(Redirect::to(to.path()).into_response());
    }
    let token = visitor.session.csrf_token().await?;
    visitor.page("Sign in", form(&token, to, "", None)).await
}

#[derive(Deserialize)]
pub struct Credentials {
    name: String,
    password: String,
    /// A box that is not ticked is not sent.
    remember: Option<String>,
    #[serde(default)]
    to: Destination,
}

/// `POST /sign-in`
pub async fn submit(
    visitor: Visitor,
    State(app): State<App>,
    headers: HeaderMap,
    Form(sent): Form<Credentials>,
) -> Result<Response, Failure> {
    let name = sent.name.trim();
    match authenticate(&app, name, sent.password).await? {
        Ok(user) => {
            begin(&visitor.session, &user, &headers, sent.remember.is_some())?;
            visitor.session.flash(FlashLevel::Success, format!("Welcome back, {}.", user.name))?;
            Ok(Redirect::to(sent.to.path()).into_response())
        }
        Err(wrong) => {
            let token = visitor.session.csrf_token().await?;
            let content = form(&token, sent.to, name, Some(wrong));
            visitor.page_with(StatusCode::UNPROCESSABLE_ENTITY, "Sign in", content).await
        }
    }
}

/// Hands the session over to a user who has proved who they are. It keeps what is in the cart, and the browser is given a new
/// token: one that somebody else may have planted there opens nothing any more.
pub fn begin(session: &Session, user: &User, headers: &HeaderMap, remember: bool) -> Result<(), sessile::Error> {
    session.sign_in(&user.owner())?;
    session.note(DEVICE, &user_agent::describe(headers))?;
    if remember {
        session.set_lifetime(REMEMBERED)?;
    }
    Ok(())
}

/// `POST /sign-out`
pub async fn out(member: Member) -> Result<Redirect, Failure> {
    // The session ends, with all its data, and the cookie is removed.
    member.session().sign_out()?;
    Ok(Redirect::to("/signed-out"))
}

/// `GET /signed-out`: that it is done is to be seen (OWASP ASVS 5.0 V7.4.4).
pub async fn done(visitor: Visitor) -> Result<Response, Failure> {
    let content = html! {
        section .narrow {
            h1 { "You are signed out" }
            p { "This browser holds no session any more." }
            p .actions { a .button href="/sign-in" { "Sign in again" } a href="/" { "To the teas" } }
        }
    };
    visitor.page("Signed out", content).await
}

fn form(token: &CsrfToken, to: Destination, name: &str, wrong: Option<&str>) -> Markup {
    let user =
        Text { name: "name", label: "Name", autocomplete: "username", value: name, hint: None, is_password: false };
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
            h1 { "Sign in" }
            (problem(wrong))
            form .stack method="post" action="/sign-in" {
                (csrf_field(token))
                input type="hidden" name="to" value=(to.name());
                (user.show())
                (password.show())
                (remember_box())
                button type="submit" { "Sign in" }
            }
            p .note { "New here? " a href={ "/sign-up?to=" (to.name()) } { "Sign up" } "." }
        }
    }
}

pub fn remember_box() -> Markup {
    html! {
        div .tick {
            input #remember type="checkbox" name="remember" aria-describedby="remember-hint";
            label for="remember" { "Keep me signed in" }
            p .note #remember-hint { "For two weeks after each visit. Not on a computer that others use." }
        }
    }
}
