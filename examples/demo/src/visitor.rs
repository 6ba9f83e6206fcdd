//! Who sends a request.

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Redirect, Response};
use maud::Markup;
use sessile::Session;

use crate::destination::Destination;
use crate::failure::Failure;
use crate::form::FormPage;
use crate::layout;
use crate::shop::CART;
use crate::site::App;
use crate::users::User;

/// Anybody, signed in or not.
pub struct Visitor {
    pub session: Session,
    pub user: Option<User>,
}

impl FromRequestParts<App> for Visitor {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Failure> {
        let session = Session::from_request_parts(parts, app).await?;
        let user = match session.owner() {
            Some(owner) => app.users.by_owner(&owner).await?,
            None => None,
        };
        Ok(Self { session, user })
    }
}

impl Visitor {
    /// A page for this visitor, with the messages that wait for one.
    pub async fn page(&self, title: &str, content: Markup) -> Result<Response, Failure> {
        self.page_with(StatusCode::OK, title, content).await
    }

    /// A page with a form: to be filled in, or once more, where something is wrong with what was sent.
    pub async fn ask(&self, form: FormPage<'_>, wrong: Option<&str>) -> Result<Response, Failure> {
        let token = self.session.csrf_token().await?;
        let status = if wrong.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
        self.page_with(status, form.title, form.show(&token, wrong)).await
    }

    /// A page for those who are not signed in; who is goes on.
    pub async fn ask_a_stranger(&self, form: FormPage<'_>, to: Destination) -> Result<Response, Failure> {
        match self.user {
            Some(_) => Ok(Redirect::to(to.path()).into_response()),
            None => self.ask(form, None).await,
        }
    }

    async fn page_with(&self, status: StatusCode, title: &str, content: Markup) -> Result<Response, Failure> {
        let frame = layout::Frame {
            user: self.user.as_ref(),
            in_cart: self.session.get(CART)?.unwrap_or_default().count(),
            flashes: self.session.take_flashes().await?,
            // Only who is signed in is shown a form in the frame; for others a token would begin a session.
            csrf_token: match self.user {
                Some(_) => Some(self.session.csrf_token().await?),
                None => None,
            },
        };
        Ok((status, layout::page(title, &frame, &content)).into_response())
    }
}

/// Somebody who is signed in; others are sent to the page for that.
pub struct Member {
    pub visitor: Visitor,
    pub user: User,
}

impl Member {
    pub fn session(&self) -> &Session {
        &self.visitor.session
    }
}

impl FromRequestParts<App> for Member {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Failure> {
        let visitor = Visitor::from_request_parts(parts, app).await?;
        match visitor.user.clone() {
            Some(user) => Ok(Self { visitor, user }),
            None => Err(Failure::SignInFirst(Destination::of_path(parts.uri.path()))),
        }
    }
}
