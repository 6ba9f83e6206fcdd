//! The shop and the cart: session use without signing in.

use axum::extract::Path;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Redirect, Response};
use axum::{Form, Json};
use maud::{Markup, html};
use serde::{Deserialize, Serialize};
use sessile::csrf::{CsrfToken, SameOrigin};
use sessile::flash::FlashLevel;
use sessile::user::User;
use sessile::{ErrorKind, Field, Session, SessionId};

use crate::accounts::Accounts;
use crate::cart::Cart;
use crate::catalog::{self, TEAS, Tea, price};
use crate::failure::{Failure, is_script};
use crate::form::csrf_field;
use crate::layout::{cup, notice};
use crate::visitor::Visitor;

/// Key of the session, with the type of its value.
pub const CART: Field<Cart> = Field::new("cart");

/// Shows the teas. A visitor who only looks gets no cookie, and no session is stored.
pub async fn teas(visitor: Visitor) -> Result<Response, Failure> {
    let member = visitor.account.as_ref().and_then(|_| visitor.session.id());
    let content = html! {
        div .title {
            div {
                h1 { "Teas of the season" }
                p .note { "Fill the cart, then sign up: it comes along. A second browser is a second device." }
            }
            // Hidden until the script runs, which it needs.
            button #one-of-each .quiet type="button" hidden { "Add one of each, all at once" }
        }
        ul .teas {
            @for tea in &TEAS { li .card { (card(tea, member)) } }
        }
    };
    visitor.page("Teas", content).await
}

fn card(tea: &Tea, member: Option<SessionId>) -> Markup {
    html! {
        (cup(tea.color))
        h2 { (tea.name) }
        p .note { (tea.note) }
        form .add method="post" action="/add" {
            input type="hidden" name="tea" value=(tea.code);
            @if let Some(session) = member { input type="hidden" name="session" value=(session); }
            span .price { (price(tea.cents)) span .unit { " / 100 g" } }
            button type="submit" aria-label={ "Add " (tea.name) " to the cart" } { "Add" }
        }
    }
}

#[derive(Deserialize)]
pub struct Add {
    tea: String,
    /// Session of the page, if its user was signed in.
    session: Option<String>,
}

/// Adds a packet.
///
/// The form has no CSRF token, since a token would create a session for every visitor who looks at the teas.
/// [`SameOrigin`] refuses cross-site requests by the headers that browsers send.
pub async fn add(
    _: SameOrigin,
    visitor: Visitor,
    headers: HeaderMap,
    Form(add): Form<Add>,
) -> Result<Response, Failure> {
    // A page that shows a name must not fill another cart after the session of that name has ended.
    if add.session.is_some() && add.session != visitor.session.id().map(|id| id.to_string()) {
        return Err(Failure::Refused(ErrorKind::Ended));
    }
    let tea = catalog::find(&add.tea).ok_or(Failure::NotFound)?;
    if is_script(&headers) {
        // The count is part of the answer, so it must be the one that is stored.
        let count = visitor.session.update_now(CART, |cart| {
            cart.add(tea);
            cart.count()
        });
        return Ok(Json(Added { count: count.await? }).into_response());
    }
    // The closure runs again if another request committed first, so no packet is lost. The commit happens with the
    // response.
    visitor.session.update(CART, |cart| cart.add(tea))?;
    visitor.session.flash(FlashLevel::Success, format!("{} is in your cart.", tea.name))?;
    Ok(Redirect::to("/").into_response())
}

/// Answer to the script.
#[derive(Serialize)]
struct Added {
    count: u32,
}

pub async fn cart(visitor: Visitor) -> Result<Response, Failure> {
    let cart = visitor.session.get(CART)?.unwrap_or_default();
    let content = if cart.count() == 0 {
        notice("Your cart", "There is nothing in it yet.", &html! { a .button href="/" { "To the teas" } })
    } else {
        let token = visitor.session.csrf_token().await?;
        html! {
            section .narrow {
                h1 { "Your cart" }
                ul .lines {
                    @for (tea, packets) in cart.lines() { li { (line(tea, packets, &token)) } }
                }
                p .total { span { "Total" } strong { (price(cart.cents())) } }
                @if visitor.account.is_some() {
                    form method="post" action="/cart/order" {
                        (csrf_field(&token))
                        button type="submit" { "Order" }
                    }
                } @else {
                    p { a .button href="/sign-in?next=%2Fcart" { "Sign in to order" } }
                    p .note { "Your cart comes along." }
                }
            }
        }
    };
    visitor.page("Your cart", content).await
}

fn line(tea: &Tea, packets: u32, token: &CsrfToken) -> Markup {
    html! {
        (cup(tea.color))
        div .what {
            strong { (tea.name) }
            span .note { (price(tea.cents)) " each" }
        }
        div .count {
            form method="post" action={ "/cart/" (tea.code) "/less" } {
                (csrf_field(token))
                button .step type="submit" aria-label={ "One " (tea.name) " less" } { "−" }
            }
            span .packets { span .unseen { "Packets: " } (packets) }
            form method="post" action={ "/cart/" (tea.code) "/more" } {
                (csrf_field(token))
                button .step type="submit" aria-label={ "One " (tea.name) " more" } { "+" }
            }
        }
        span .price { (price(tea.cents * packets)) }
    }
}

pub async fn more(visitor: Visitor, Path(code): Path<String>) -> Result<Redirect, Failure> {
    let tea = catalog::find(&code).ok_or(Failure::NotFound)?;
    visitor.session.update(CART, |cart| cart.add(tea))?;
    Ok(Redirect::to("/cart"))
}

pub async fn less(visitor: Visitor, Path(code): Path<String>) -> Result<Redirect, Failure> {
    let tea = catalog::find(&code).ok_or(Failure::NotFound)?;
    visitor.session.update(CART, |cart| cart.take(tea))?;
    Ok(Redirect::to("/cart"))
}

/// Orders the cart. If the user clicks twice, only one request takes the cart, so the order is placed once.
pub async fn order(User(account): User<Accounts>, session: Session) -> Result<Redirect, Failure> {
    let Some(cart) = session.take_now(CART).await? else { return Ok(Redirect::to("/cart")) };
    // A real shop stores the order here.
    let thanks = format!("Thank you, {}. {} packets are on their way.", account.name, cart.count());
    session.flash(FlashLevel::Success, thanks)?;
    Ok(Redirect::to("/"))
}
