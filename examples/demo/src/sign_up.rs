//! Sign-up.

use axum::Form;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use maud::html;
use sessile::csrf::SameOrigin;

use crate::destination::{Destination, To};
use crate::failure::Failure;
use crate::form::{FormPage, destination_field, name_field, new_password_field};
use crate::passwords;
use crate::sign_in::{Credentials, OUT_OF_DATE, begin, remember_box};
use crate::site::App;
use crate::visitor::Visitor;

const MAX_NAME_LENGTH: usize = 32;

/// `GET /sign-up`
pub async fn show(visitor: Visitor, Query(To { to, .. }): Query<To>) -> Result<Response, Failure> {
    visitor.ask_unless_signed_in(form(&visitor, to, ""), to, None).await
}

/// `POST /sign-up`
pub async fn submit(
    _: SameOrigin,
    visitor: Visitor,
    State(app): State<App>,
    headers: HeaderMap,
    Form(sent): Form<Credentials>,
) -> Result<Response, Failure> {
    let name = sent.name.trim();
    let form = form(&visitor, sent.to, name);
    if !visitor.session.verify_csrf(&sent.csrf_token) {
        return visitor.ask_unless_signed_in(form, sent.to, Some(OUT_OF_DATE)).await;
    }
    let user = match check_name(name).and_then(|()| passwords::check_new(&sent.password, name)) {
        Ok(()) => {
            let hash = app.passwords.hash(&sent.password).await?;
            // A sign-up form with free choice of names cannot hide which names are taken.
            app.users.add(name, &hash).await?.ok_or("This name is taken. Please choose another.")
        }
        Err(wrong) => Err(wrong),
    };
    match user {
        Ok(user) => begin(&visitor.session, &user, &headers, &sent, "Welcome"),
        Err(wrong) => visitor.ask(form, Some(wrong)).await,
    }
}

fn check_name(name: &str) -> Result<(), &'static str> {
    if name.is_empty() || name.chars().count() > MAX_NAME_LENGTH || name.chars().any(char::is_control) {
        return Err("Please choose a name of 1 to 32 characters.");
    }
    Ok(())
}

fn form(visitor: &Visitor, to: Destination, name: &str) -> FormPage<'static> {
    FormPage {
        title: "Sign up",
        lead: html! {},
        action: "/sign-up",
        fields: html! {
            (destination_field(to)) (name_field(name)) (new_password_field("Password")) (remember_box(visitor))
        },
        button: "Sign up",
        instead: html! {
            p .note { "You have an account? " a href={ "/sign-in?to=" (to.name()) } { "Sign in" } "." }
        },
    }
}
