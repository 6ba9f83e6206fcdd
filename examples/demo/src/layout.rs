//! The frame of all pages.

use maud::{DOCTYPE, Markup, html};
use sessile::SessionId;
use sessile::csrf::CsrfToken;
use sessile::flash::Flash;

use crate::accounts::Account;
use crate::form::csrf_field;

/// Content of the frame that depends on the visitor.
pub struct Frame<'a> {
    pub account: Option<&'a Account>,
    /// Administrator who acts as the user.
    pub actor: Option<&'a Account>,
    pub in_cart: u32,
    pub flashes: Vec<Flash>,
    pub csrf_token: Option<CsrfToken>,
    /// Session of a member, which the script watches.
    pub session: Option<SessionId>,
    /// Why the session of this browser has just ended.
    pub ended: Option<&'static str>,
    /// Dialogs that the script opens.
    pub dialogs: Option<Markup>,
}

pub fn page(title: &str, frame: &Frame<'_>, content: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            (head(title))
            body data-session=[frame.session] {
                a .skip href="#content" { "To the content" }
                header {
                    div .bar {
                        (logo())
                        (account(frame))
                        (navigation(title, frame))
                    }
                }
                (acting_banner(frame))
                main #content {
                    // The script adds its messages here; screen readers announce them.
                    div #messages role="status" aria-live="polite" {
                        @if let Some(why) = frame.ended { p .flash .warning { "Your session has ended. " (why) } }
                        @for flash in &frame.flashes { p .flash .(flash.level.as_str()) { (flash.message) } }
                    }
                    (content)
                }
                (footer())
                @if let Some(dialogs) = &frame.dialogs { (dialogs) }
            }
        }
    }
}

/// Returns a page whose frame does not depend on the visitor, for errors.
pub fn bare(title: &str, content: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            (head(title))
            body {
                header { div .bar { (logo()) } }
                main #content { (content) }
                (footer())
            }
        }
    }
}

fn head(title: &str) -> Markup {
    html! {
        head {
            meta charset="utf-8";
            meta name="viewport" content="width=device-width, initial-scale=1";
            meta name="color-scheme" content="light dark";
            title { (title) " · Leaf & Kettle" }
            link rel="icon" href="/assets/leaf.svg" type="image/svg+xml";
            link rel="stylesheet" href="/assets/style.css";
            script defer src="/assets/session.js" {}
            script defer src="/assets/script.js" {}
        }
    }
}

fn logo() -> Markup {
    html! {
        a .logo href="/" {
            img src="/assets/leaf.svg" alt="" width="28" height="28";
            "Leaf & Kettle"
        }
    }
}

fn navigation(title: &str, frame: &Frame<'_>) -> Markup {
    // Marks the link of the current page.
    let current = |page: &str| (page == title).then_some("page");
    html! {
        nav .site aria-label="Site" {
            a href="/" aria-current=[current("Teas")] { "Teas" }
            a href="/cart" aria-current=[current("Your cart")] {
                "Cart "
                span #in-cart .badge { (frame.in_cart) }
                span .unseen { " packets" }
            }
            @if let Some(account) = frame.account {
                a href="/devices" aria-current=[current("Your devices")] { "Devices" }
                @if frame.actor.is_none() {
                    a href="/password" aria-current=[current("Change your password")] { "Password" }
                }
                @if account.is_admin { a href="/admin" aria-current=[current("Users")] { "Users" } }
            }
        }
    }
}

/// Returns the user's name with the sign-out button, or the links to sign in and sign up.
fn account(frame: &Frame<'_>) -> Markup {
    html! {
        @if let (Some(account), Some(token)) = (frame.account, &frame.csrf_token) {
            form .account method="post" action="/sign-out" {
                (csrf_field(token))
                span .who { span .unseen { "Signed in as " } (account.name) }
                button .quiet type="submit" { "Sign out" }
            }
        } @else {
            nav .account aria-label="Account" {
                a href="/sign-in" { "Sign in" }
                a href="/sign-up" { "Sign up" }
            }
        }
    }
}

/// Returns the line that names an administrator and the user as whom the administrator acts.
fn acting_banner(frame: &Frame<'_>) -> Markup {
    html! {
        @if let (Some(actor), Some(account), Some(token)) = (frame.actor, frame.account, &frame.csrf_token) {
            section .acting aria-label="Acting as a user" {
                form .bar method="post" action="/sign-out" {
                    (csrf_field(token))
                    p { strong { (actor.name) } " acts as " strong { (account.name) } }
                    button .quiet type="submit" { "Stop acting" }
                }
            }
        }
    }
}

fn footer() -> Markup {
    html! {
        footer {
            p { "A demonstration of " strong { "sessile" } ". Nothing here is sold, and nothing leaves this machine." }
        }
    }
}

/// Returns a short message in place of content: an empty cart, an error.
pub fn notice(title: &str, text: &str, ways_on: &Markup) -> Markup {
    html! {
        section .narrow .card .notice {
            (cup("none"))
            h1 { (title) }
            p { (text) }
            p .actions { (ways_on) }
        }
    }
}

/// Returns the drawing of a cup of tea. The color is an attribute, since the page's policy forbids inline styles.
pub fn cup(color: &str) -> Markup {
    html! {
        svg .cup viewBox="0 0 64 48" aria-hidden="true" {
            path .steam d="M26 3c-3 4 3 6 0 10M38 3c-3 4 3 6 0 10" {}
            path .handle d="M48 22h4a6 6 0 0 1 0 12h-6" {}
            path .china d="M12 18h38v10a16 16 0 0 1-16 16h-6a16 16 0 0 1-16-16z" {}
            ellipse cx="31" cy="19" rx="18" ry="4.5" fill=(color) {}
        }
    }
}
