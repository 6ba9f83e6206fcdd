//! The administrator's list of users, each with a button to act as that user.

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::{Redirect, Response};
use maud::html;
use sessile::user::Users;

use crate::accounts::Account;
use crate::devices::DEVICE;
use crate::failure::Failure;
use crate::form::csrf_field;
use crate::site::App;
use crate::user_agent;
use crate::visitor::Visitor;

/// `GET /admin`
pub async fn show(visitor: Visitor, State(app): State<App>) -> Result<Response, Failure> {
    let token = visitor.session.csrf_token().await?;
    let may_act_as =
        |user: &Account| visitor.account.as_ref().is_some_and(|admin| app.accounts.may_act_as(admin, user));
    let content = html! {
        section .narrow {
            h1 { "Users" }
            ul .devices {
                @for account in app.accounts.all().await? {
                    li .card {
                        div .what {
                            h2 { (account.name) @if account.is_admin { " " span .badge { "Administrator" } } }
                            p .note { "User " (account.id) }
                        }
                        @if may_act_as(&account) {
                            form method="post" action={ "/admin/act-as/" (account.id) } {
                                (csrf_field(&token))
                                button .quiet type="submit" aria-label={ "Act as this user, " (account.name) } {
                                    "Act as this user"
                                }
                            }
                        }
                    }
                }
            }
        }
    };
    visitor.page("Users", content).await
}

/// `POST /admin/act-as/{id}`: begins a session as the user, beside the administrator's own.
pub async fn act_as(
    visitor: Visitor,
    State(app): State<App>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Redirect, Failure> {
    let id = id.parse().map_err(|_| Failure::NotFound)?;
    let user = app.accounts.find(&id).await?.ok_or(Failure::NotFound)?;
    let session = visitor.current.act_as(&user).await?;
    session.note(DEVICE, &user_agent::describe(&headers))?;
    Ok(Redirect::to("/"))
}
