//! Extractors for the client of a request.

use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Redirect, Response};
use maud::Markup;
use sessile::flash::FlashLevel;
use sessile::{ErrorKind, Session, SignedIn};

use crate::destination::Destination;
use crate::ending;
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
    /// Page of the request.
    here: Destination,
    /// Time before the end of the session at which the page warns.
    warn_before: Duration,
}

impl FromRequestParts<App> for Visitor {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Failure> {
        let session = Session::from_request_parts(parts, app).await?;
        let user = match session.owner() {
            Some(owner) => app.users.by_owner(&owner).await?,
            None => None,
        };
        Ok(Self { session, user, here: Destination::from_path(parts.uri.path()), warn_before: app.warn_before })
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
    pub async fn ask_unless_signed_in(
        &self,
        form: FormPage<'_>,
        to: Destination,
        wrong: Option<&str>,
    ) -> Result<Response, Failure> {
        let Some(user) = &self.user else { return self.ask(form, wrong).await };
        self.session.flash(FlashLevel::Info, format!("You are signed in as {}.", user.name))?;
        Ok(Redirect::to(to.path()).into_response())
    }

    async fn page_with(&self, status: StatusCode, title: &str, content: Markup) -> Result<Response, Failure> {
        // Only the frame of a member has forms. For other visitors, a token would create a session.
        let csrf_token = match self.user {
            Some(_) => Some(self.session.csrf_token().await?),
            None => None,
        };
        let frame = layout::Frame {
            user: self.user.as_ref(),
            in_cart: self.session.get(CART)?.unwrap_or_default().count(),
            flashes: self.session.take_flashes().await?,
            session: self.user.as_ref().and_then(|_| self.session.id()),
            ended: self.session.end_reason().map(ending::reason),
            dialogs: csrf_token.as_ref().map(|token| ending::dialogs(self.warn_before, self.here, token)),
            csrf_token,
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
        <SignedIn>::from_request_parts(parts, app).await?;
        let visitor = Visitor::from_request_parts(parts, app).await?;
        // A session without a user is one of another users table.
        let user = visitor.user.clone().ok_or(Failure::Refused(ErrorKind::NotSignedIn))?;
        Ok(Self { visitor, user })
    }
}
