//! Sign-up.

use axum::Form;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use maud::html;
use sessile::csrf::SameOrigin;
use sessile::user::{LocalPath, NextPath};

use crate::accounts;
use crate::failure::Failure;
use crate::form::{FormPage, name_field, new_password_field, next_field};
use crate::passwords;
use crate::sign_in::{Credentials, OUT_OF_DATE, begin, remember_box};
use crate::site::App;
use crate::visitor::Visitor;

/// `GET /sign-up`
pub async fn show(visitor: Visitor, Query(query): Query<NextPath>) -> Result<Response, Failure> {
    let next = query.next_or("/");
    visitor.ask_unless_signed_in(form(&visitor, &next, ""), &next, None).await
}

/// `POST /sign-up`
pub async fn submit(
    _: SameOrigin,
    visitor: Visitor,
    State(app): State<App>,
    headers: HeaderMap,
    Form(sent): Form<Credentials>,
) -> Result<Response, Failure> {
    let (name, next) = (sent.name.trim(), sent.next());
    let form = form(&visitor, &next, name);
    if !visitor.session.verify_csrf(&sent.csrf_token) {
        return visitor.ask_unless_signed_in(form, &next, Some(OUT_OF_DATE)).await;
    }
    let account = match check_name(name).and_then(|()| passwords::check_new(&sent.password, name)) {
        Ok(()) => {
            let hash = app.passwords.hash(&sent.password).await?;
            // A sign-up form with free choice of names cannot hide which names are taken.
            app.accounts.add(name, &hash).await?.ok_or("This name is taken. Please choose another.")
        }
        Err(wrong) => Err(wrong),
    };
    match account {
        Ok(account) => begin(&visitor, &account, &headers, &sent, "Welcome").await,
        Err(wrong) => visitor.ask(form, Some(wrong)).await,
    }
}

fn check_name(name: &str) -> Result<(), &'static str> {
    if accounts::is_name(name) { Ok(()) } else { Err("Please choose a name of 1 to 32 characters.") }
}

fn form(visitor: &Visitor, next: &LocalPath, name: &str) -> FormPage<'static> {
    FormPage {
        title: "Sign up",
        lead: html! {},
        action: "/sign-up",
        fields: html! {
            (next_field(next)) (name_field(name)) (new_password_field("Password")) (remember_box(visitor))
        },
        button: "Sign up",
        instead: html! {
            p .note { "You have an account? " a href=(LocalPath::from_static("/sign-in").with_next(Some(next))) { "Sign in" } "." }
        },
    }
}
