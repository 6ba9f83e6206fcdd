//! Sign-in and sign-out.

use std::time::Duration;

use axum::Form;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;
use sessile::csrf::SameOrigin;
use sessile::flash::FlashLevel;
use sessile::{Lifetime, Session};

use crate::authenticate::authenticate;
use crate::destination::{Destination, To};
use crate::devices::DEVICE;
use crate::failure::Failure;
use crate::form::{FormPage, destination_field, name_field, password_field};
use crate::layout::notice;
use crate::moment::span;
use crate::site::App;
use crate::user_agent;
use crate::users::User;
use crate::visitor::{Member, Visitor};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Lifetime for "Keep me signed in".
///
/// An idle timeout of two weeks, an absolute timeout of 90 days, a cookie that survives closing the browser, and a new
/// token every day.
const REMEMBERED: Lifetime = Lifetime::new()
    .with_idle_timeout(Duration::from_secs(14 * DAY.as_secs()))
    .with_absolute_timeout(Duration::from_secs(90 * DAY.as_secs()))
    .with_max_age(Duration::from_secs(90 * DAY.as_secs()))
    .with_refresh_interval(DAY);

/// `GET /sign-in`
pub async fn show(visitor: Visitor, Query(To { to, ended }): Query<To>) -> Result<Response, Failure> {
    // The frame of the page says why a session ended, if that is known.
    let ended = ended && visitor.session.end_reason().is_none();
    let lead = html! {
        @if ended { p .flash .warning { "Your session has ended." } }
        @if let Some(purpose) = to.purpose() { p { (purpose) } }
    };
    visitor.ask_unless_signed_in(FormPage { lead, ..form(&visitor, to, "") }, to, None).await
}

/// Form of the sign-in page and of the sign-up page.
#[derive(Deserialize)]
pub struct Credentials {
    pub name: String,
    pub password: String,
    /// Browsers leave out a checkbox that is not ticked.
    remember: Option<String>,
    #[serde(default)]
    pub to: Destination,
    #[serde(default)]
    pub csrf_token: String,
}

/// Message for a form whose session ended or changed while the form was open.
pub const OUT_OF_DATE: &str = "This page was open for too long. Please enter your password again.";

/// `POST /sign-in`
pub async fn submit(
    _: SameOrigin,
    visitor: Visitor,
    State(app): State<App>,
    headers: HeaderMap,
    Form(sent): Form<Credentials>,
) -> Result<Response, Failure> {
    let form = form(&visitor, sent.to, sent.name.trim());
    if !visitor.session.verify_csrf(&sent.csrf_token) {
        return visitor.ask_unless_signed_in(form, sent.to, Some(OUT_OF_DATE)).await;
    }
    match authenticate(&app, sent.name.trim(), &sent.password).await? {
        Ok(user) => begin(&visitor.session, &user, &headers, &sent, "Welcome back"),
        Err(refusal) => visitor.ask(form, Some(refusal.message("Name and password do not match."))).await,
    }
}

/// Signs the user in. The session keeps the cart, and the browser gets a new token, so that a token planted by an
/// attacker opens nothing (session fixation).
pub fn begin(
    session: &Session,
    user: &User,
    headers: &HeaderMap,
    sent: &Credentials,
    greeting: &str,
) -> Result<Response, Failure> {
    session.sign_in(&user.owner())?;
    session.note(DEVICE, &user_agent::describe(headers))?;
    if sent.remember.is_some() {
        session.set_lifetime(REMEMBERED)?;
    }
    session.flash(FlashLevel::Success, format!("{greeting}, {}.", user.name))?;
    Ok(Redirect::to(sent.to.path()).into_response())
}

/// `POST /sign-out`
pub async fn out(member: Member) -> Result<Redirect, Failure> {
    // Ends the session with all its data, and removes the cookie.
    member.session().sign_out()?;
    Ok(Redirect::to("/signed-out"))
}

/// `GET /signed-out`: confirms the sign-out (OWASP ASVS 5.0 V7.4.4).
pub async fn done(visitor: Visitor) -> Result<Response, Failure> {
    let ways_on = html! { a .button href="/sign-in" { "Sign in again" } a href="/" { "To the teas" } };
    let content = notice("You are signed out", "This browser holds no session any more.", &ways_on);
    visitor.page("Signed out", content).await
}

fn form(visitor: &Visitor, to: Destination, name: &str) -> FormPage<'static> {
    FormPage {
        title: "Sign in",
        lead: html! {},
        action: "/sign-in",
        fields: html! { (destination_field(to)) (name_field(name)) (password_field()) (remember_box(visitor)) },
        button: "Sign in",
        instead: html! { p .note { "New here? " a href={ "/sign-up?to=" (to.name()) } { "Sign up" } "." } },
    }
}

/// Returns the checkbox "Keep me signed in", with both lifetimes in words.
pub fn remember_box(visitor: &Visitor) -> Markup {
    // That of the layer, since the visitor is not signed in.
    let usual = visitor.session.lifetime();
    let end = |lifetime: Lifetime| {
        let idle = lifetime.idle_timeout().map(|idle| format!("after {} without a visit, and ", span(idle)));
        format!("{}after {} at the latest", idle.unwrap_or_default(), span(lifetime.absolute_timeout()))
    };
    html! {
        div .tick {
            input #remember type="checkbox" name="remember" aria-describedby="remember-hint";
            label for="remember" { "Keep me signed in" }
            p .note #remember-hint {
                "Your session ends " (end(REMEMBERED)) ". Not on a computer that others use." br;
                "Without the tick it ends " (end(usual)) ", or when you close the browser."
            }
        }
    }
}
