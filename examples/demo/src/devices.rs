//! "Your devices": a list of the user's sessions, each with a button to end it.

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use sessile::csrf::CsrfToken;
use sessile::flash::FlashLevel;
use sessile::{SessionId, StoredSession};

use crate::failure::Failure;
use crate::form::csrf_field;
use crate::moment;
use crate::site::App;
use crate::visitor::Member;

/// Note on each session: the browser and system at sign-in.
pub const DEVICE: &str = "device";

/// `GET /devices`
pub async fn show(member: Member, State(app): State<App>) -> Result<Response, Failure> {
    let mut devices = app.sessions.owned_by(&member.user.owner()).await?;
    let this = member.session().id();
    // This device first, then the most recently used.
    devices.sort_by_key(|device| (Some(device.id()) != this, std::cmp::Reverse(device.last_seen())));
    let token = member.session().csrf_token().await?;
    let content = html! {
        section .narrow {
            h1 { "Your devices" }
            p { "You are signed in here. If you do not know one of these, sign it out and "
                a href="/password" { "change your password" } "." }
            ul .devices {
                @for device in &devices { li .card { (card(device, Some(device.id()) == this, &token)) } }
            }
            @if devices.len() > 1 {
                form method="post" action="/devices/end-others" {
                    (csrf_field(&token))
                    button .danger type="submit" { "Sign out all other devices" }
                }
            }
        }
    };
    member.visitor.page("Your devices", content).await
}

fn card(device: &StoredSession, is_this: bool, token: &CsrfToken) -> Markup {
    let name = device.notes().unwrap_or_default().remove(DEVICE).unwrap_or_else(|| "Unknown device".to_owned());
    html! {
        div .what {
            h2 { (name) @if is_this { " " span .badge { "This device" } } }
            p .note {
                "Last seen " (moment::ago(device.last_seen()))
                @if let Some(at) = device.authenticated_at() { " · Signed in " (moment::ago(at)) }
            }
        }
        form method="post" action={ "/devices/" (device.id()) "/end" } {
            (csrf_field(token))
            button .quiet type="submit" aria-label={ "Sign out " (name) @if is_this { " (this device)" } } { "Sign out" }
        }
    }
}

/// `POST /devices/{id}/end`
pub async fn end(member: Member, State(app): State<App>, Path(id): Path<String>) -> Result<Response, Failure> {
    let id: SessionId = id.parse().map_err(|_| Failure::NotFound)?;
    if member.session().id() == Some(id) {
        member.session().sign_out()?;
        return Ok(Redirect::to("/signed-out").into_response());
    }
    // Ids are not secret, so the call ends the session only if it belongs to this user.
    if app.sessions.end_if_owned_by(&id, &member.user.owner()).await? {
        member.session().flash(FlashLevel::Success, "The device is signed out.")?;
    } else {
        member.session().flash(FlashLevel::Info, "That device was signed out already.")?;
    }
    Ok(Redirect::to("/devices").into_response())
}

/// `POST /devices/end-others`
pub async fn end_others(member: Member, State(app): State<App>) -> Result<Redirect, Failure> {
    if let Some(id) = member.session().id() {
        app.sessions.end_others_of(&member.user.owner(), &id).await?;
    }
    member.session().flash(FlashLevel::Success, "All other devices are signed out.")?;
    Ok(Redirect::to("/devices"))
}
