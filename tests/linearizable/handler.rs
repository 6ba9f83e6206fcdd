//! A request: what its handler does, and the notes that it takes.

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::task::Poll;

use http::header::{COOKIE, SET_COOKIE};
use http::{Request, Response, StatusCode};
use sessile::{Error, ErrorKind, Field, Session, SessionHandle, SessionLayer};
use tower::{Layer, ServiceExt};

use super::history::{Act, COUNTER, Carried, Cookie, Data, History, KEYS, LIST, Outcome, Seen, Step};
use super::network::Network;

const COUNT: Field<u32> = Field::new(COUNTER);
const ITEMS: Field<Vec<u32>> = Field::new(LIST);

/// What a handler does next.
#[derive(Clone, Copy, Debug)]
pub enum Deed {
    Act(Act),
    Commit,
    CountNow,
    TakeNow,
    /// Counts, and gives up waiting for the commit after so many polls.
    GiveUp(u32),
}

/// What a request does.
#[derive(Clone, Debug)]
pub struct Script {
    pub token: Option<usize>,
    pub deeds: Vec<Deed>,
    /// Whether the response commits what was done.
    pub kept: bool,
}

/// Where a request takes its notes.
#[derive(Clone)]
pub struct Notes {
    pub network: Network,
    pub history: Arc<Mutex<History>>,
    pub request: usize,
}

impl Notes {
    fn begin(&self, step: Step) {
        let faults = self.network.faults(self.request);
        self.history.lock().unwrap().begin(self.request, step, faults);
    }

    fn end(&self, change: impl FnOnce(&mut Step)) {
        let faults = self.network.faults(self.request);
        change(self.history.lock().unwrap().end(self.request, faults));
    }

    fn carried(&self, how: Carried) {
        self.history.lock().unwrap().carried(self.request, how);
    }
}

/// Runs the request to its response.
pub async fn run(layer: SessionLayer, notes: Notes, script: Script) {
    let mut request = Request::new(());
    if let Some(token) = script.token {
        let token = notes.history.lock().unwrap().tokens[token].clone();
        let cookie = format!("{}={token}", layer.cookie_name());
        request.headers_mut().insert(COOKIE, cookie.parse().unwrap());
    }
    let inner = {
        let notes = notes.clone();
        tower::service_fn(move |request: Request<()>| {
            let handle = request.extensions().get::<SessionHandle>().unwrap().clone();
            let (notes, script) = (notes.clone(), script.clone());
            async move { Ok::<_, std::convert::Infallible>(handle_request(handle, &notes, script).await) }
        })
    };
    let response = layer.layer(inner).oneshot(request).await.unwrap();
    let cookies: Vec<_> = response.headers().get_all(SET_COOKIE).iter().collect();
    assert!(cookies.len() <= 1, "{cookies:?}");
    let told = cookies.first().map_or(Cookie::Untouched, |cookie| {
        let text = cookie.to_str().unwrap();
        let value = text.split_once('=').unwrap().1.split(';').next().unwrap();
        if value.is_empty() { Cookie::Removed } else { Cookie::Set(notes.history.lock().unwrap().token(value)) }
    });
    let came = match response.status() {
        StatusCode::CONFLICT => Outcome::Superseded,
        StatusCode::SERVICE_UNAVAILABLE => Outcome::Unknown,
        StatusCode::OK | StatusCode::INTERNAL_SERVER_ERROR => Outcome::Done,
        other => panic!("{other}"),
    };
    let excused = came != Outcome::Unknown || notes.network.faults(notes.request) > 0;
    assert!(excused, "unavailable, over a store that has not failed");
    let mut is_kept = true;
    notes.end(|step| {
        let Step::Respond { kept, cookie, outcome, .. } = step else { return };
        (*cookie, *outcome) = (told, came.clone());
        is_kept = *kept;
    });
    notes.carried(match came {
        Outcome::Unknown => Carried::Perhaps,
        _ if is_kept => Carried::Whole,
        _ => Carried::ToTheEndOfASession,
    });
}

async fn handle_request(handle: SessionHandle, notes: &Notes, script: Script) -> Response<()> {
    let mut acts = Vec::new();
    let done = act(handle, notes, &script, &mut acts).await;
    let kept = done.is_ok() && script.kept;
    notes.begin(Step::Respond { acts, kept, cookie: Cookie::Untouched, outcome: Outcome::Done });
    let mut response = Response::new(());
    if !kept {
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    }
    response
}

/// Does the deeds, up to the first that fails.
async fn act(handle: SessionHandle, notes: &Notes, script: &Script, acts: &mut Vec<Act>) -> Result<(), Error> {
    notes.begin(Step::Load { token: script.token, seen: None });
    let session = match handle.load().await {
        Ok(session) => session,
        Err(error) => {
            // It saw nothing, and did nothing.
            notes.history.lock().unwrap().requests[notes.request].pop();
            return Err(error);
        }
    };
    let now = look(&session);
    notes.end(|step| {
        if let Step::Load { seen, .. } = step {
            *seen = now;
        }
    });
    for deed in &script.deeds {
        match deed {
            Deed::Act(act) => {
                at_once(&session, *act, acts).map_err(|error| refused(error, notes, *act))?;
            }
            Deed::Commit => {
                begin_commit(notes, acts);
                let done = session.commit().await.map(|()| None);
                end_commit(notes, &session, done)?;
            }
            Deed::CountNow => {
                probe(&session, notes, Act::Count)?;
                acts.push(Act::Count);
                begin_commit(notes, acts);
                let done = count_now(&session).await.map(|count| Some(Some(count)));
                end_commit(notes, &session, done)?;
            }
            Deed::TakeNow if session.contains(COUNTER) => {
                acts.push(Act::Take);
                begin_commit(notes, acts);
                let done = session.take_now(COUNT).await.map(Some);
                end_commit(notes, &session, done)?;
            }
            Deed::TakeNow => assert!(!matches!(session.take_now(COUNT).await, Ok(Some(_)))),
            Deed::GiveUp(polls) => {
                probe(&session, notes, Act::Count)?;
                acts.push(Act::Count);
                let mut commit = Box::pin(count_now(&session));
                let mut left = *polls;
                notes.begin(Step::GivenUp { acts: std::mem::take(acts), carried: Carried::Whole });
                let done = std::future::poll_fn(|context| match commit.as_mut().poll(context) {
                    Poll::Pending if left == 0 => Poll::Ready(None),
                    Poll::Pending => {
                        left -= 1;
                        Poll::Pending
                    }
                    Poll::Ready(done) => Poll::Ready(Some(done)),
                })
                .await;
                drop(commit);
                let Some(done) = done else {
                    notes.network.note_fault(notes.request);
                    continue;
                };
                // It was quicker than the handler's patience.
                notes.end(|step| {
                    let Step::GivenUp { acts, .. } = step else { return };
                    let acts = std::mem::take(acts);
                    *step = Step::Commit { acts, returned: None, seen: None, outcome: Outcome::Unknown };
                });
                settle_commit(notes, &session, done.map(|count| Some(Some(count))))?;
            }
        }
    }
    Ok(())
}

async fn count_now(session: &Session) -> Result<u32, Error> {
    session
        .update_now(COUNT, |count| {
            *count += 1;
            *count
        })
        .await
}

/// Asks whether a write would be refused, by one that has nothing to do.
fn probe(session: &Session, notes: &Notes, act: Act) -> Result<(), Error> {
    session.remove("no such key").map(|_| ()).map_err(|error| refused(error, notes, act))
}

fn refused(error: Error, notes: &Notes, act: Act) -> Error {
    assert_eq!(error.kind(), ErrorKind::Superseded);
    notes.begin(Step::Refused(act));
    notes.end(|_| ());
    error
}

fn begin_commit(notes: &Notes, acts: &mut Vec<Act>) {
    let acts = std::mem::take(acts);
    notes.begin(Step::Commit { acts, returned: None, seen: None, outcome: Outcome::Unknown });
}

fn end_commit(notes: &Notes, session: &Session, done: Result<Option<Option<u32>>, Error>) -> Result<(), Error> {
    notes.end(|_| ());
    settle_commit(notes, session, done)
}

fn settle_commit(notes: &Notes, session: &Session, done: Result<Option<Option<u32>>, Error>) -> Result<(), Error> {
    let (came, value) = match &done {
        Ok(value) => (Outcome::Done, *value),
        Err(error) => match error.kind() {
            ErrorKind::Superseded => (Outcome::Superseded, None),
            ErrorKind::Ended => (Outcome::Ended, None),
            ErrorKind::Unavailable => (Outcome::Unknown, None),
            other => panic!("{other:?}"),
        },
    };
    let is_known = came != Outcome::Unknown;
    assert!(is_known || notes.network.faults(notes.request) > 0, "unavailable, over a store that has not failed");
    let mut history = notes.history.lock().unwrap();
    let step = &mut history.requests[notes.request].last_mut().unwrap().step;
    if let Step::Commit { returned, seen, outcome, .. } = step {
        (*returned, *seen, *outcome) = (value, look(session), came);
    }
    drop(history);
    notes.carried(if is_known { Carried::Whole } else { Carried::Perhaps });
    done.map(|_| ())
}

/// Does what needs no commit, and notes it if there was something to do.
fn at_once(session: &Session, act: Act, acts: &mut Vec<Act>) -> Result<(), Error> {
    let did = match act {
        Act::Insert(key, value) => session.insert(KEYS[key], &value).map(|()| true),
        Act::Remove(key) => session.remove(KEYS[key]),
        Act::Clear => {
            let empty = session.keys().is_empty();
            session.clear().map(|()| !empty)
        }
        Act::Count => session.update(COUNT, |count| *count += 1).map(|()| true),
        Act::Push(item) => session.update(ITEMS, move |items| items.push(item)).map(|()| true),
        // A session that is not there yet has nothing to rotate.
        Act::Rotate => session.rotate().map(|()| session.id().is_some()),
        Act::SignIn(owner) => session.sign_in(["x", "y"][usize::from(owner)]).map(|()| true),
        Act::SignOut => session.sign_out().map(|()| true),
        Act::Take => unreachable!("it commits"),
    }?;
    if did {
        acts.push(act);
    }
    Ok(())
}

/// What a session shows.
fn look(session: &Session) -> Seen {
    session.id()?;
    let owner = session.owner().map(|owner| u8::from(&*owner == "y"));
    let values = KEYS.map(|key| session.get::<u32>(key).unwrap());
    let data = Data { values, counter: session.get(COUNT).unwrap(), list: session.get(ITEMS).unwrap() };
    Some((owner, data))
}
