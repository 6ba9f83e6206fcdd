//! Sign-in and sign-out.

use std::time::Duration;

use axum::Form;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;
use sessile::Lifetime;
use sessile::csrf::SameOrigin;
use sessile::flash::FlashLevel;
use sessile::user::{LocalPath, NextPath};

use crate::accounts::Account;
use crate::authenticate::authenticate;
use crate::devices::DEVICE;
use crate::failure::Failure;
use crate::form::{FormPage, name_field, next_field, password_field};
use crate::layout::notice;
use crate::moment::span;
use crate::site::App;
use crate::user_agent;
use crate::visitor::Visitor;

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

/// Query `?next=%2Fdevices`, with `&ended=true` if the session of the page before has ended.
#[derive(Deserialize)]
pub struct PageQuery {
    #[serde(flatten)]
    next: NextPath,
    #[serde(default)]
    ended: bool,
}

/// `GET /sign-in`
pub async fn show(visitor: Visitor, Query(PageQuery { next, ended }): Query<PageQuery>) -> Result<Response, Failure> {
    let next = next.next_or("/");
    if ended && visitor.account.is_some() {
        // A form of a session that has ended, in a browser that has another one.
        let text = "The page before was of a session that has ended, so nothing was done.";
        visitor.session.flash(FlashLevel::Warning, text)?;
    }
    // The frame of the page says why a session ended, if that is known.
    let ended = ended && visitor.session.end_reason().is_none();
    let lead = html! {
        @if ended { p .flash .warning { "Your session has ended." } }
        @if let Some(purpose) = purpose(&next) { p { (purpose) } }
    };
    visitor.ask_unless_signed_in(FormPage { lead, ..form(&visitor, &next, "") }, &next, None).await
}

/// Returns why a page asks to sign in.
fn purpose(next: &LocalPath) -> Option<&'static str> {
    match next.as_str().split('?').next()? {
        "/admin" => Some("Please sign in as an administrator."),
        "/cart" => Some("Please sign in to order."),
        "/devices" => Some("Please sign in to see your devices."),
        "/password" => Some("Please sign in to change your password."),
        _ => None,
    }
}

/// Form of the sign-in page and of the sign-up page.
#[derive(Deserialize)]
pub struct Credentials {
    pub name: String,
    pub password: String,
    /// Browsers leave out a checkbox that is not ticked.
    remember: Option<String>,
    #[serde(flatten)]
    next: NextPath,
    #[serde(default)]
    pub csrf_token: String,
}

impl Credentials {
    pub fn next(&self) -> LocalPath {
        self.next.clone().next_or("/")
    }
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
    let next = sent.next();
    let form = form(&visitor, &next, sent.name.trim());
    if !visitor.session.verify_csrf(&sent.csrf_token) {
        return visitor.ask_unless_signed_in(form, &next, Some(OUT_OF_DATE)).await;
    }
    match authenticate(&app, sent.name.trim(), &sent.password).await? {
        Ok(account) => begin(&visitor, &account, &headers, &sent, "Welcome back").await,
        Err(refusal) => visitor.ask(form, Some(refusal.message("Name and password do not match."))).await,
    }
}

/// Signs the user in. The session keeps the cart, and the browser gets a new token, so that a token planted by an
/// attacker opens nothing (session fixation).
pub async fn begin(
    visitor: &Visitor,
    account: &Account,
    headers: &HeaderMap,
    sent: &Credentials,
    greeting: &str,
) -> Result<Response, Failure> {
    let session = &visitor.session;
    visitor.current.sign_in(account).await?;
    session.note(DEVICE, &user_agent::describe(headers))?;
    if sent.remember.is_some() {
        session.set_lifetime(REMEMBERED)?;
    }
    session.flash(FlashLevel::Success, format!("{greeting}, {}.", account.name))?;
    Ok(Redirect::to(sent.next().as_str()).into_response())
}

/// `POST /sign-out`
pub async fn out(visitor: Visitor) -> Result<Redirect, Failure> {
    // Ends the session with all its data, and removes the cookie.
    visitor.session.sign_out()?;
    let (Some(own), Some(user)) = (visitor.session.actor_session(), visitor.acts_as()) else {
        return Ok(Redirect::to("/signed-out"));
    };
    // The administrator is still signed in. The session that has ended holds no message any more.
    own.flash(FlashLevel::Success, format!("You no longer act as {user}."))?;
    Ok(Redirect::to("/admin"))
}

/// `GET /signed-out`: confirms the sign-out (OWASP ASVS 5.0 V7.4.4).
pub async fn done(visitor: Visitor) -> Result<Response, Failure> {
    let ways_on = html! { a .button href="/sign-in" { "Sign in again" } a href="/" { "To the teas" } };
    let content = notice("You are signed out", "This browser holds no session any more.", &ways_on);
    visitor.page("Signed out", content).await
}

fn form(visitor: &Visitor, next: &LocalPath, name: &str) -> FormPage<'static> {
    FormPage {
        title: "Sign in",
        lead: html! {},
        action: "/sign-in",
        fields: html! { (next_field(next)) (name_field(name)) (password_field()) (remember_box(visitor)) },
        button: "Sign in",
        instead: html! {
            p .note { "New here? " a href=(LocalPath::from_static("/sign-up").with_next(Some(next))) { "Sign up" } "." }
        },
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
