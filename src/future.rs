//! The response future of the service: it commits the session and writes the cookie.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::header::{COOKIE, HeaderMap};
use http::{Response, StatusCode};
use pin_project_lite::pin_project;

use crate::caching::{forbid_storing, make_private, vary_by};
use crate::config::SiteData;
use crate::error::{Error, error_response};
use crate::failure::claims_success;
use crate::request::{CookieUpdate, RequestSession, ResponseStep, ResponseUpdate};
use crate::transport::{CookieTemplate, TokenLocation};

pin_project! {
    /// The response future of a [`SessionService`](crate::service::SessionService).
    pub struct ResponseFuture<F, B> {
        #[pin]
        state: ResponseState<F, B>,
    }
}

pin_project! {
    #[project = ResponseStateProjection]
    enum ResponseState<F, B> {
        /// The inner service is running.
        Inner { #[pin] inner: F, session: OpenSession, waited: bool },
        /// It has answered, and the session is being committed.
        Finish { finish: Finish, response: Option<Response<B>>, session: OpenSession },
        /// The layers do not fit together.
        Misconfigured { advice: Box<str> },
        Done,
    }
}

type Finish = Pin<Box<dyn Future<Output = (Result<(), Error>, ResponseUpdate)> + Send>>;

impl<F, B> ResponseFuture<F, B> {
    pub(crate) fn new(inner: F, session: Arc<RequestSession>) -> Self {
        Self { state: ResponseState::Inner { inner, session: OpenSession(session), waited: false } }
    }

    /// Answers with [`MissingLayer`](crate::ErrorKind::MissingLayer), a 500, and logs the advice.
    pub(crate) fn misconfigured(advice: impl Into<Box<str>>) -> Self {
        Self { state: ResponseState::Misconfigured { advice: advice.into() } }
    }
}

impl<F, B, E> Future for ResponseFuture<F, B>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Default,
{
    type Output = Result<Response<B>, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            match state.as_mut().project() {
                ResponseStateProjection::Inner { inner, session: open, waited } => {
                    let Poll::Ready(response) = inner.poll(context) else {
                        *waited = true;
                        return Poll::Pending;
                    };
                    let (mut head, body) = response?.into_parts();
                    let session = &open.0;
                    if let (StatusCode::UNAUTHORIZED, Some(header)) = (head.status, &session.config().transport.header)
                    {
                        header.challenge(&mut head.headers);
                    }
                    session.close();
                    let commits = session.is_loaded() && (session.config().commit_on)(&head);
                    let step = session.begin_response(commits, *waited);
                    let claims_success = matches!(step, ResponseStep::Finish) && claims_success(&head);
                    let response = Response::from_parts(head, body);
                    match step {
                        ResponseStep::Unused if !session.config().vary_always => return Poll::Ready(Ok(response)),
                        ResponseStep::Unused => {
                            return Poll::Ready(Ok(apply(response, session, ResponseUpdate::default())));
                        }
                        ResponseStep::Update(update) => return Poll::Ready(Ok(apply(response, session, update))),
                        ResponseStep::Finish => {}
                    }
                    let session = Arc::clone(session);
                    let shared = Arc::clone(&session);
                    let finish: Finish = Box::pin(async move { shared.finish(commits, claims_success).await });
                    let session = OpenSession(session);
                    state.set(ResponseState::Finish { finish, response: Some(response), session });
                }
                ResponseStateProjection::Finish { finish, response, session: open } => {
                    let (finished, update) = ready!(finish.as_mut().poll(context));
                    let response = match finished {
                        Ok(()) => response.take().expect("a future is not polled after it is ready"),
                        Err(error) => error_response(&error),
                    };
                    let response = apply(response, &open.0, update);
                    state.set(ResponseState::Done);
                    return Poll::Ready(Ok(response));
                }
                ResponseStateProjection::Misconfigured { advice } => {
                    let response = error_response(&Error::misconfigured(advice));
                    state.set(ResponseState::Done);
                    return Poll::Ready(Ok(response));
                }
                ResponseStateProjection::Done => panic!("a response future was polled after it was ready"),
            }
        }
    }
}

impl<F, B> fmt::Debug for ResponseFuture<F, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResponseFuture")
    }
}

/// A session that closes with its response, also if the client disconnects before there is one: a task that still runs then
/// gets an error instead of losing its changes.
struct OpenSession(Arc<RequestSession>);

impl Drop for OpenSession {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Applies the outcome of a session to the head of its response.
fn apply<B>(mut response: Response<B>, session: &RequestSession, update: ResponseUpdate) -> Response<B> {
    let headers = response.headers_mut();
    let (transport, location) = (&session.config().transport, session.token_location());
    if let Some(header) = &transport.header {
        vary_by(headers, header.request_name());
    }
    if location == TokenLocation::Cookie {
        vary_by(headers, &COOKIE);
    }
    match &update.cookie {
        CookieUpdate::Keep => {
            make_private(headers);
            return response;
        }
        CookieUpdate::Set { token, max_age } => {
            if location == TokenLocation::Cookie {
                note_cookie(session, &transport.cookie);
            }
            transport.send(headers, location, token, *max_age);
        }
        CookieUpdate::Clear => transport.clear(headers, location),
    }
    if update.ended_client_session {
        let starts_another = matches!(update.cookie, CookieUpdate::Set { .. });
        clear_site_data(headers, &session.config().clear_site_data, starts_another);
    }
    forbid_storing(headers);
    response
}

/// Logs advice if the browser will not send the cookie back.
fn note_cookie(session: &RequestSession, cookie: &CookieTemplate) {
    let config = session.config();
    if cookie.is_secure() {
        config.plain_http.note_cookie(session.scheme(), cookie.name());
    }
    config.cookie_path.note_cookie(session.is_outside_path(), cookie.name(), cookie.path());
}

/// Asks the browser to remove data of an ended session, but not the cookie of one that starts.
fn clear_site_data(headers: &mut HeaderMap, data: &[SiteData], starts_another: bool) {
    let kept = |data: &&SiteData| !(starts_another && **data == SiteData::Cookies);
    if let Some(value) = SiteData::header(data.iter().filter(kept)) {
        headers.insert("clear-site-data", value);
    }
}
