//! The end of a session: the time left, the dialogs that warn, and the reason afterwards.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use maud::{Markup, html};
use serde::Serialize;
use sessile::csrf::{CsrfToken, SameOrigin};
use sessile::event::EndReason;
use sessile::user::{LocalPath, User};
use sessile::{OffsetDateTime, Session};

use crate::accounts::Accounts;
use crate::failure::Failure;
use crate::form::csrf_field;
use crate::moment;
use crate::site::App;

/// Answer to the script of a page, which asks at least once a minute.
#[derive(Serialize)]
pub struct TimeLeft {
    /// Id of the session, if it is signed in.
    session: Option<String>,
    /// Milliseconds until the session ends unless it is used.
    left: Option<u64>,
    /// Milliseconds until the page must warn.
    warn_in: Option<u64>,
    /// At its absolute timeout a session ends even if it is used.
    is_final: bool,
    /// Why the session ended, within a minute of its end.
    ended: Option<&'static str>,
}

/// `GET /session`, routed under a `PassiveLayer`: a page that is open and asks must not keep its user signed in.
///
/// While another request replaces the token of the session, `Option<User>` rejects, and the script asks again later.
pub async fn show(session: Session, user: Option<User<Accounts>>, State(app): State<App>) -> Json<TimeLeft> {
    // An acting session ends with that of the administrator at the latest.
    let sessions = [Some(session.clone()), session.actor_session()].into_iter().flatten();
    let ends = sessions.filter_map(|session| Some((session.expires_at()?, session.absolute_expiry())));
    let (end, absolute) = user.as_ref().and_then(|_| ends.min()).unzip();
    let left = end.map(|end| Duration::try_from(end - OffsetDateTime::now_utc()).unwrap_or_default());
    let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    Json(TimeLeft {
        session: user.and_then(|_| session.id()).map(|id| id.to_string()),
        left: left.map(milliseconds),
        warn_in: left.map(|left| milliseconds(left.saturating_sub(app.warn_before))),
        is_final: end.is_some() && end == absolute.flatten(),
        ended: session.end_reason().map(reason),
    })
}

/// `POST /session`, for "Stay signed in": notes the use of the session.
pub async fn stay(_: SameOrigin, session: Session) -> Result<(), Failure> {
    if let Some(own) = session.actor_session() {
        own.touch().await?;
    }
    Ok(session.touch().await?)
}

/// Returns the reason for the user.
pub fn reason(reason: EndReason) -> &'static str {
    match reason {
        EndReason::SignedOut => "You have signed out.",
        EndReason::Replaced => "Another user has signed in with this browser.",
        EndReason::Revoked => "You were signed out on another device.",
        EndReason::OwnerLimit => "You have signed in on too many devices, and the first of them was signed out.",
        EndReason::CredentialsChanged => "Your password was changed.",
        EndReason::ActorGone => "You can no longer act as this user.",
        _ => "For your safety, please sign in again.",
    }
}

/// Returns the dialogs of a member's page, which the script opens. `acts_as` is the user as whom an administrator acts.
pub fn dialogs(warn_before: Duration, here: &LocalPath, acts_as: Option<&str>, token: &CsrfToken) -> Markup {
    let soon = format!("Your session ends within {}", moment::span(warn_before));
    let [confirm, sign_in] =
        ["/confirm", "/sign-in?ended=true"].map(|page| LocalPath::from_static(page).with_next(Some(here)));
    let sign_out = html! {
        form method="post" action="/sign-out" {
            (csrf_field(token))
            button .quiet type="submit" { (if acts_as.is_some() { "Stop acting" } else { "Sign out" }) }
        }
    };
    let spent = match acts_as {
        Some(_) => {
            "You signed in a long time ago, so using the shop cannot delay the end. To go on, please sign in again as yourself."
        }
        None => {
            "You signed in a long time ago, so using the shop cannot delay the end. To go on, please sign in again."
        }
    };
    let (changed, page, page_name) = match acts_as {
        Some(user) => (format!("You no longer act as {user}."), "/admin", "To the users"),
        None => (
            "This browser now shows the shop as another user sees it.".to_owned(),
            here.as_str(),
            "Open the page again",
        ),
    };
    html! {
        (dialog("ending", &soon, "The shop has not been used for a while.", &html! {
            button #stay type="button" autofocus { "Stay signed in" }
            (sign_out)
        }))
        (dialog("final", &soon, spent, &html! {
            @if acts_as.is_none() { a .button href=(confirm) { "Sign in again" } }
            (sign_out)
        }))
        (dialog("changed", "This page is out of date", &changed, &html! {
            a .button href=(page) { (page_name) }
        }))
        (dialog("ended", "Your session has ended", "Please sign in again to go on.", &html! {
            a .button href=(sign_in) { "Sign in" }
        }))
    }
}

fn dialog(id: &str, title: &str, text: &str, ways_on: &Markup) -> Markup {
    let (title_id, text_id) = (format!("{id}-title"), format!("{id}-text"));
    html! {
        dialog #(id) role="alertdialog" aria-labelledby=(title_id) aria-describedby=(text_id) {
            h2 #(title_id) { (title) }
            p #(text_id) { (text) }
            div .actions { (ways_on) }
        }
    }
}
