//! The response's way out.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::header::{CACHE_CONTROL, Entry, HeaderMap, HeaderName, HeaderValue, VARY};
use http::{Response, StatusCode};
use pin_project_lite::pin_project;

use crate::config::SiteData;
use crate::error::Error;
use crate::session::{Farewell, Leave, Outgoing, RequestSession};
use crate::transport::Carrier;

pin_project! {
    /// The response of a [`SessionService`](crate::service::SessionService): it commits the session before it is ready.
    pub struct ResponseFuture<F, B> {
        #[pin]
        state: State<F, B>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<F, B> {
        /// The inner service is at work.
        Inner { #[pin] inner: F, session: OpenSession, waited: bool },
        /// It has answered, and the session is being committed. The response is in a box, so that the future of every
        /// request is not larger for it.
        Commit { commit: Commit, response: Option<Box<Response<B>>>, session: OpenSession },
        /// The layers cannot work.
        Misconfigured { cookie: Box<str> },
        Done,
    }
}

type Commit = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

impl<F, B> ResponseFuture<F, B> {
    pub(crate) fn new(inner: F, session: Arc<RequestSession>) -> Self {
        Self { state: State::Inner { inner, session: OpenSession { session, open: true }, waited: false } }
    }

    pub(crate) fn misconfigured(cookie: &str) -> Self {
        Self { state: State::Misconfigured { cookie: cookie.into() } }
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
                StateProjection::Inner { inner, session: open, waited } => {
                    let Poll::Ready(response) = inner.poll(context) else {
                        *waited = true;
                        return Poll::Pending;
                    };
                    let response = response?;
                    let session = &open.session;
                    let status = response.status();
                    let commits = session.config().commit_on.allows(status);
                    // The head goes out now: a write from here on would be lost.
                    open.open = false;
                    match session.leave(commits, *waited) {
                        Leave::NotLoaded => return Poll::Ready(Ok(response)),
                        Leave::Settled(farewell) => return Poll::Ready(Ok(finish(response, session, farewell))),
                        Leave::Unsettled => {}
                    }
                    let claims_success = !status.is_client_error() && !status.is_server_error();
                    if let Some(settled) = session.settle_at_once(commits, claims_success) {
                        return Poll::Ready(Ok(conclude(response, session, settled)));
                    }
                    let session = Arc::clone(session);
                    let shared = Arc::clone(&session);
                    let commit: Commit = Box::pin(async move { shared.settle(commits, claims_success).await });
                    let session = OpenSession { session, open: false };
                    state.set(State::Commit { commit, response: Some(Box::new(response)), session });
                }
                StateProjection::Commit { commit, response, session: open } => {
                    let settled = ready!(commit.as_mut().poll(context));
                    let response = response.take().expect("a response is taken once");
                    let response = conclude(*response, &open.session, settled);
                    state.set(State::Done);
                    return Poll::Ready(Ok(response));
                }
                StateProjection::Misconfigured { cookie } => {
                    log_misconfiguration(cookie);
                    state.set(State::Done);
                    return Poll::Ready(Ok(refusal(StatusCode::INTERNAL_SERVER_ERROR)));
                }
                StateProjection::Done => panic!("a response was polled after it was ready"),
            }
        }
    }
}

impl<F, B> fmt::Debug for ResponseFuture<F, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResponseFuture")
    }
}

/// A session that closes with its response: also when the client goes away before there is one, so that work which
/// is still under way is told rather than lost.
struct OpenSession {
    session: Arc<RequestSession>,
    open: bool,
}

impl Drop for OpenSession {
    fn drop(&mut self) {
        if self.open {
            self.session.close();
        }
    }
}

/// An empty response of this status, in the place of a service's own.
pub(crate) fn refusal<B: Default>(status: StatusCode) -> Response<B> {
    let mut response = Response::new(B::default());
    *response.status_mut() = status;
    response
}

/// The response of a session whose commit has come to its end.
fn conclude<B: Default>(response: Response<B>, session: &RequestSession, settled: Result<(), Error>) -> Response<B> {
    let response = match settled {
        Ok(()) => response,
        Err(error) => refusal(error.status()),
    };
    finish(response, session, session.farewell())
}

/// Says in the head what the session has done.
fn finish<B>(mut response: Response<B>, session: &RequestSession, farewell: Farewell) -> Response<B> {
    let headers = response.headers_mut();
    let (transport, carrier) = (&session.config().transport, session.carrier());
    if let Some(header) = &transport.header {
        vary_by(headers, header.request_name().as_str());
    }
    if !transport.without_cookie {
        vary_by(headers, "cookie");
    }
    let outgoing = farewell.outgoing;
    match &outgoing {
        Outgoing::Nothing => {
            make_private(headers);
            return response;
        }
        Outgoing::Set { token, max_age } => {
            if carrier == Carrier::Cookie {
                warn_of_plain_http(session);
            }
            transport.give(headers, carrier, token, *max_age);
        }
        Outgoing::Clear => transport.take_back(headers, carrier),
    }
    if farewell.ended_the_clients {
        let begins_another = matches!(outgoing, Outgoing::Set { .. });
        clear_site_data(headers, &session.config().clear_site_data, begins_another);
    }
    forbid_storing(headers);
    response
}

/// The answer rests on this header of the request, so a cache must tell by it.
fn vary_by(headers: &mut HeaderMap, header: &str) {
    let names = |value: &HeaderValue| {
        let listed = value.as_bytes().split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
        listed.into_iter().any(|name| name == b"*" || name.eq_ignore_ascii_case(header.as_bytes()))
    };
    let value = || match header {
        "cookie" => HeaderValue::from_static("cookie"),
        other => HeaderValue::from_str(other).expect("the name of a header is a value"),
    };
    match headers.entry(VARY) {
        Entry::Vacant(vary) => {
            vary.insert(value());
        }
        Entry::Occupied(mut vary) => {
            if !vary.iter().any(names) {
                vary.append(value());
            }
        }
    }
}

/// Whether there is a header of this name: a response has few, and to look at each takes less than a hash of the name.
fn has(headers: &HeaderMap, name: &HeaderName) -> bool {
    headers.keys().any(|present| present == name)
}

/// The session has ended: the browser is to forget what it has of it, but not the cookie of another that begins.
fn clear_site_data(headers: &mut HeaderMap, data: &[SiteData], begins_another: bool) {
    let kept = |data: &&SiteData| !(begins_another && **data == SiteData::Cookies);
    if let Some(value) = SiteData::header(data.iter().filter(kept)) {
        headers.insert("clear-site-data", value);
    }
}

/// A response that sets the session cookie must be in no cache; nothing else that was said of caching matters then.
fn forbid_storing(headers: &mut HeaderMap) {
    let mut values =
        headers.get_all(CACHE_CONTROL).iter().flat_map(|value| value.as_bytes().split(|&byte| byte == b','));
    let keeps_form = values.any(|directive| directive.trim_ascii().eq_ignore_ascii_case(b"no-transform"));
    let value = if keeps_form { "no-store, no-transform" } else { "no-store" };
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(value));
}

/// What was made from a session is for nobody else: `public` and `s-maxage` become `private`. All else that the handler
/// said stays.
fn make_private(headers: &mut HeaderMap) {
    if !has(headers, &CACHE_CONTROL) {
        return;
    }
    let is_shared = |directive: &&[u8]| {
        let name = directive.split(|&byte| byte == b'=').next().unwrap_or_default().trim_ascii();
        name.eq_ignore_ascii_case(b"public") || name.eq_ignore_ascii_case(b"s-maxage")
    };
    let values = headers.get_all(CACHE_CONTROL).iter().map(HeaderValue::as_bytes);
    let directives: Vec<&[u8]> =
        values.flat_map(|value| value.split(|&byte| byte == b',')).map(<[u8]>::trim_ascii).collect();
    if !directives.iter().any(is_shared) {
        return;
    }
    let kept =
        directives.iter().filter(|directive| !is_shared(directive) && !directive.eq_ignore_ascii_case(b"private"));
    let tightened = kept.copied().chain([&b"private"[..]]).collect::<Vec<_>>().join(&b", "[..]);
    let tightened = HeaderValue::from_bytes(&tightened).unwrap_or(HeaderValue::from_static("private"));
    headers.insert(CACHE_CONTROL, tightened);
}

#[cfg(feature = "tracing")]
fn log_misconfiguration(name: &str) {
    tracing::error!(
        name,
        "two session layers, one inside the other, use one cookie or header: give one of them another name (with_name)"
    );
}

#[cfg(feature = "tracing")]
fn warn_of_plain_http(session: &RequestSession) {
    let config = session.config();
    if config.transport.cookie.is_secure() && config.watch.is_worth_a_warning(session.way()) {
        let cookie = config.transport.cookie.name();
        tracing::warn!(
            cookie,
            "a session cookie that is Secure goes out over plain http, as it seems, and to another machine: its browser will \
             drop it, and every request begins a new session. Serve https (a proxy before this says so in \
             X-Forwarded-Proto), use http://localhost, or, in a network of your own, with_secure(false)"
        );
    }
}

#[cfg(not(feature = "tracing"))]
fn warn_of_plain_http(_: &RequestSession) {}

#[cfg(not(feature = "tracing"))]
fn log_misconfiguration(_: &str) {}
