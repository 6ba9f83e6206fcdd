//! Extractors for the client of a request.

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

/// Client of a request, signed in or not.
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
    /// Returns a page, with the pending flash messages.
    pub async fn page(&self, title: &str, content: Markup) -> Result<Response, Failure> {
        self.page_with(StatusCode::OK, title, content).await
    }

    /// Returns a page with a form; with an error, the status is 422.
    pub async fn ask(&self, form: FormPage<'_>, wrong: Option<&str>) -> Result<Response, Failure> {
        let token = self.session.csrf_token().await?;
        let status = if wrong.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
        self.page_with(status, form.title, form.show(&token, wrong)).await
    }

    /// Returns a page for clients that are not signed in, and redirects others.
    pub async fn ask_unless_signed_in(&self, form: FormPage<'_>, to: Destination) -> Result<Response, Failure> {
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
            // Only the frame of a member has a form. For other visitors, a token would create a session.
            csrf_token: match self.user {
                Some(_) => Some(self.session.csrf_token().await?),
                None => None,
            },
        };
        Ok((status, layout::page(title, &frame, &content)).into_response())
    }
}

/// Client that is signed in; others are redirected to the sign-in page.
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
            None => Err(Failure::SignInFirst(Destination::from_path(parts.uri.path()))),
        }
    }
}
