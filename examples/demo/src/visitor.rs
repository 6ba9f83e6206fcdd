//! The client of a request, and its page.

use std::time::Duration;

use axum::extract::{FromRequestParts, Query};
use axum::http::header::REFERER;
use axum::http::request::Parts;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Redirect, Response};
use maud::Markup;
use sessile::Session;
use sessile::flash::FlashLevel;
use sessile::user::{LocalPath, NextPath};

use crate::accounts::{Account, Current};
use crate::ending;
use crate::failure::Failure;
use crate::form::FormPage;
use crate::layout;
use crate::shop::CART;
use crate::site::App;

/// Client of a request, signed in or not.
pub struct Visitor {
    pub session: Session,
    pub current: Current,
    pub account: Option<Account>,
    /// Administrator who acts as the user.
    pub actor: Option<Account>,
    /// Page of the request.
    here: LocalPath,
    /// Time before the end of the session at which the page warns.
    warn_before: Duration,
}

impl FromRequestParts<App> for Visitor {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Failure> {
        let current = Current::from_request_parts(parts, app).await?;
        // Asks the database once per request, also if a guard or an extractor has asked.
        let account = current.load().await?;
        let actor = current.load_actor().await?;
        let session = current.session().await?;
        Ok(Self { session, current, account, actor, here: page_of(parts), warn_before: app.warn_before })
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
        next: &LocalPath,
        wrong: Option<&str>,
    ) -> Result<Response, Failure> {
        let Some(account) = &self.account else { return self.ask(form, wrong).await };
        self.session.flash(FlashLevel::Info, format!("You are signed in as {}.", account.name))?;
        Ok(Redirect::to(next.as_str()).into_response())
    }

    /// Returns the name of the user as whom an administrator acts.
    pub fn acts_as(&self) -> Option<&str> {
        self.account.as_ref().filter(|_| self.actor.is_some()).map(|account| account.name.as_str())
    }

    async fn page_with(&self, status: StatusCode, title: &str, content: Markup) -> Result<Response, Failure> {
        // Only the frame of a member has forms. For other visitors, a token would create a session.
        let csrf_token = match self.account {
            Some(_) => Some(self.session.csrf_token().await?),
            None => None,
        };
        let frame = layout::Frame {
            account: self.account.as_ref(),
            actor: self.actor.as_ref(),
            in_cart: self.session.get(CART)?.unwrap_or_default().count(),
            flashes: self.session.take_flashes().await?,
            session: self.account.as_ref().and_then(|_| self.session.id()),
            ended: self.session.end_reason().map(ending::reason),
            dialogs: csrf_token
                .as_ref()
                .map(|token| ending::dialogs(self.warn_before, &self.here, self.acts_as(), token)),
            csrf_token,
        };
        Ok((status, layout::page(title, &frame, &content)).into_response())
    }
}

/// Returns the page of a request: that of a `GET`, and for a form the page that it is on, by the `Referer`.
///
/// A page that leads on to another, such as the one that asks for the password again, counts as that other.
pub fn page_of(head: &Parts) -> LocalPath {
    let form_page = || head.headers.get(REFERER)?.to_str().ok()?.parse().ok();
    let page: Uri = if head.method.is_safe() { Some(head.uri.clone()) } else { form_page() }.unwrap_or_default();
    let leads_to = Query::<NextPath>::try_from_uri(&page).ok().and_then(|Query(query)| query.next);
    let path = page.path_and_query().and_then(|path| LocalPath::new(path.as_str()));
    leads_to.or(path).unwrap_or_else(|| LocalPath::from_static("/"))
}
