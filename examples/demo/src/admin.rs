//! The administrator's list of users.

use axum::extract::State;
use axum::response::Response;
use maud::html;

use crate::failure::Failure;
use crate::site::App;
use crate::visitor::Visitor;

/// `GET /admin`
pub async fn show(visitor: Visitor, State(app): State<App>) -> Result<Response, Failure> {
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
                    }
                }
            }
        }
    };
    visitor.page("Users", content).await
}
