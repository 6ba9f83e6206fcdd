//! "Your devices": a list of the user's sessions, each with a button to end it.

use axum::Form;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;
use sessile::csrf::CsrfToken;
use sessile::flash::FlashLevel;
use sessile::user::Users;
use sessile::{ErrorKind, SessionId, SignedIn, StoredSession};

use crate::failure::Failure;
use crate::form::csrf_field;
use crate::moment;
use crate::sign_in;
use crate::site::App;
use crate::visitor::Visitor;

/// Note on each session: the browser and system at sign-in.
pub const DEVICE: &str = "device";
/// Note on a session: the name that its user has given to the device.
const NAME: &str = "name";

/// `GET /devices`
pub async fn show(user: SignedIn, visitor: Visitor, State(app): State<App>) -> Result<Response, Failure> {
    let mut devices = app.sessions.owned_by(user.owner()).await?;
    devices.extend(app.acting_sessions.owned_by(user.owner()).await?);
    let this = user.id();
    // This device first, then the most recently used.
    devices.sort_by_key(|device| (Some(device.id()) != this, std::cmp::Reverse(device.last_seen())));
    let mut actors = Vec::new();
    for device in &devices {
        actors.push(actor_of(device, &app).await?);
    }
    let name = visitor.account.as_ref().map_or("", |account| account.name.as_str());
    let token = user.csrf_token().await?;
    let content = html! {
        section .narrow {
            h1 { "Your devices" }
            @if visitor.actor.is_none() {
                p { "You are signed in here. If you do not know one of these, sign it out and "
                    a href="/password" { "change your password" } "." }
            }
            ul .devices {
                @for (device, actor) in devices.iter().zip(&actors) {
                    @let visit = actor.as_ref().map(|actor| format!("{actor} acts as {name}"));
                    @let is_this = Some(device.id()) == this;
                    // An administrator who acts as the user ends this session alone.
                    @let may_end = is_this || visitor.actor.is_none();
                    li .card { (card(device, visit, is_this, may_end.then_some(&token))) }
                }
            }
            @if visitor.actor.is_none() {
                (name_form(&token))
                @if devices.len() > 1 {
                    form method="post" action="/devices/end-others" {
                        (csrf_field(&token))
                        button .danger type="submit" { "Sign out all other devices" }
                    }
                }
            }
        }
    };
    visitor.page("Your devices", content).await
}

/// Returns the name of the administrator who acts as the user in this session.
async fn actor_of(device: &StoredSession, app: &App) -> Result<Option<String>, Failure> {
    let Some(Ok(actor)) = device.actor().map(str::parse) else { return Ok(None) };
    Ok(app.accounts.find(&actor).await?.map(|actor| actor.name))
}

/// Returns a device, or the `visit` of an administrator. With a token it has a button.
fn card(device: &StoredSession, visit: Option<String>, is_this: bool, token: Option<&CsrfToken>) -> Markup {
    let mut notes = device.notes().unwrap_or_default();
    let kind = notes.remove(DEVICE).unwrap_or_else(|| "Unknown device".to_owned());
    let given = visit.or(notes.remove(NAME)).filter(|name| !name.is_empty());
    let name = given.as_ref().unwrap_or(&kind);
    html! {
        div .what {
            h2 { (name) @if is_this { " " span .badge { "This device" } } }
            @if given.is_some() { p .note { (kind) } }
            p .note { "Last used " (moment::ago(device.last_seen())) }
            p .note { "Began " (moment::on(device.created_at())) }
        }
        @if let Some(token) = token {
            form method="post" action={ "/devices/" (device.id()) "/end" } {
                (csrf_field(token))
                button .quiet type="submit" aria-label={ "Sign out " (name) @if is_this { " (this device)" } } { "Sign out" }
            }
        }
    }
}

fn name_form(token: &CsrfToken) -> Markup {
    html! {
        form .inline method="post" action="/devices/name" {
            (csrf_field(token))
            label for="device" { "Name of this device" }
            input #device name="device" maxlength="40" autocomplete="off" placeholder="Kitchen laptop";
            button .quiet type="submit" { "Save the name" }
        }
    }
}

#[derive(Deserialize)]
pub struct Naming {
    device: String,
}

/// `POST /devices/name`: names the device of the request, which is the one that the user surely knows.
pub async fn name(user: SignedIn, Form(sent): Form<Naming>) -> Result<Redirect, Failure> {
    user.note(NAME, sent.device.trim())?;
    user.flash(FlashLevel::Success, "The name is saved.")?;
    Ok(Redirect::to("/devices"))
}

/// `POST /devices/{id}/end`
pub async fn end(
    user: SignedIn,
    visitor: Visitor,
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    let id: SessionId = id.parse().map_err(|_| Failure::NotFound)?;
    if user.id() == Some(id) {
        return Ok(sign_in::out(visitor).await?.into_response());
    }
    if visitor.actor.is_some() {
        return Err(Failure::Refused(ErrorKind::ActingAsAnother));
    }
    // Ids are not secret, so the call ends the session only if it belongs to this user.
    let is_ended = app.sessions.end_if_owned_by(&id, user.owner()).await?
        || app.acting_sessions.end_if_owned_by(&id, user.owner()).await?;
    if is_ended {
        user.flash(FlashLevel::Success, "The device is signed out.")?;
    } else {
        user.flash(FlashLevel::Info, "That device was signed out already.")?;
    }
    Ok(Redirect::to("/devices").into_response())
}

/// `POST /devices/end-others`
pub async fn end_others(user: SignedIn, State(app): State<App>) -> Result<Redirect, Failure> {
    let (owner, this) = (user.owner(), user.id());
    // One by one, so that each knows for a minute why it ended, and its pages can say so. After a password was stolen,
    // `end_others_of` ends all in one step.
    app.sessions.end_matching_of(owner, |device| Some(device.id()) != this).await?;
    app.acting_sessions.end_all_of(owner).await?;
    user.flash(FlashLevel::Success, "All other devices are signed out.")?;
    Ok(Redirect::to("/devices"))
}
