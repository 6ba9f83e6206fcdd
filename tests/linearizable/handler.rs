//! One request: its handler's steps and their recording.

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::task::Poll;

use http::header::{COOKIE, SET_COOKIE};
use http::{Request, Response, StatusCode};
use sessile::{Error, ErrorKind, Field, Session, SessionHandle, SessionLayer};
use tower::{Layer, ServiceExt};

use super::history::{COUNTER, Completion, Cookie, Data, History, KEYS, LIST, Observed, Operation, Outcome, Step};
use super::network::Network;

const COUNT: Field<u32> = Field::new(COUNTER);
const ITEMS: Field<Vec<u32>> = Field::new(LIST);

/// A step of a handler.
#[derive(Clone, Copy, Debug)]
pub enum HandlerStep {
    Do(Operation),
    Commit,
    CountNow,
    TakeNow,
    /// Increments the counter, and drops the commit's future after this many polls.
    DropCommit(u32),
}

/// Token and handler steps of a request.
#[derive(Clone, Debug)]
pub struct Script {
    pub token: Option<usize>,
    pub steps: Vec<HandlerStep>,
    /// The response commits the changes.
    pub commits: bool,
}

/// Records the steps of one request.
#[derive(Clone)]
pub struct Recorder {
    pub network: Network,
    pub history: Arc<Mutex<History>>,
    pub request: usize,
}

impl Recorder {
    fn begin(&self, step: Step) {
        let faults = self.network.faults(self.request);
        self.history.lock().unwrap().begin(self.request, step, faults);
    }

    fn end(&self, change: impl FnOnce(&mut Step)) {
        let faults = self.network.faults(self.request);
        change(self.history.lock().unwrap().end(self.request, faults));
    }

    fn complete_dropped(&self, completion: Completion) {
        self.history.lock().unwrap().complete_dropped(self.request, completion);
    }
}

/// Runs the request and records its response.
pub async fn run(layer: SessionLayer, recorder: Recorder, script: Script) {
    let mut request = Request::new(());
    if let Some(token) = script.token {
        let token = recorder.history.lock().unwrap().tokens[token].clone();
        let cookie = format!("{}={token}", layer.cookie_name());
        request.headers_mut().insert(COOKIE, cookie.parse().unwrap());
    }
    let inner = {
        let recorder = recorder.clone();
        tower::service_fn(move |request: Request<()>| {
            let handle = request.extensions().get::<SessionHandle>().unwrap().clone();
            let (recorder, script) = (recorder.clone(), script.clone());
            async move { Ok::<_, std::convert::Infallible>(handle_request(handle, &recorder, script).await) }
        })
    };
    let response = layer.layer(inner).oneshot(request).await.unwrap();
    let cookies: Vec<_> = response.headers().get_all(SET_COOKIE).iter().collect();
    assert!(cookies.len() <= 1, "{cookies:?}");
    let response_cookie = cookies.first().map_or(Cookie::Untouched, |cookie| {
        let text = cookie.to_str().unwrap();
        let value = text.split_once('=').unwrap().1.split(';').next().unwrap();
        if value.is_empty() { Cookie::Removed } else { Cookie::Set(recorder.history.lock().unwrap().token(value)) }
    });
    let response_outcome = match response.status() {
        StatusCode::CONFLICT => Outcome::Superseded,
        StatusCode::SERVICE_UNAVAILABLE => Outcome::Unknown,
        StatusCode::OK | StatusCode::INTERNAL_SERVER_ERROR => Outcome::Done,
        other => panic!("{other}"),
    };
    let may_be_unavailable = response_outcome != Outcome::Unknown || recorder.network.faults(recorder.request) > 0;
    assert!(may_be_unavailable, "unavailable without a failed store call");
    let mut response_commits = true;
    recorder.end(|step| {
        let Step::Respond { commits, cookie, outcome, .. } = step else { return };
        (*cookie, *outcome) = (response_cookie, response_outcome.clone());
        response_commits = *commits;
    });
    recorder.complete_dropped(match response_outcome {
        Outcome::Unknown => Completion::Unknown,
        _ if response_commits => Completion::Full,
        _ => Completion::SessionEndOnly,
    });
}

async fn handle_request(handle: SessionHandle, recorder: &Recorder, script: Script) -> Response<()> {
    let mut operations = Vec::new();
    let result = run_steps(handle, recorder, &script, &mut operations).await;
    let commits = result.is_ok() && script.commits;
    recorder.begin(Step::Respond { operations, commits, cookie: Cookie::Untouched, outcome: Outcome::Done });
    let mut response = Response::new(());
    if !commits {
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    }
    response
}

/// Runs the handler's steps until one fails.
async fn run_steps(
    handle: SessionHandle,
    recorder: &Recorder,
    script: &Script,
    operations: &mut Vec<Operation>,
) -> Result<(), Error> {
    recorder.begin(Step::Load { token: script.token, observed: None });
    let session = match handle.load().await {
        Ok(session) => session,
        Err(error) => {
            // A load that failed observed nothing.
            recorder.history.lock().unwrap().requests[recorder.request].pop();
            return Err(error);
        }
    };
    let now = observe(&session);
    recorder.end(|step| {
        if let Step::Load { observed, .. } = step {
            *observed = now;
        }
    });
    for handler_step in &script.steps {
        match handler_step {
            HandlerStep::Do(operation) => {
                perform(&session, *operation, operations).map_err(|error| refused(error, recorder, *operation))?;
            }
            HandlerStep::Commit => {
                begin_commit(recorder, operations);
                let result = session.commit().await.map(|()| None);
                end_commit(recorder, &session, result)?;
            }
            HandlerStep::CountNow => {
                check_refused(&session, recorder, Operation::Count)?;
                operations.push(Operation::Count);
                begin_commit(recorder, operations);
                let result = count_now(&session).await.map(|count| Some(Some(count)));
                end_commit(recorder, &session, result)?;
            }
            HandlerStep::TakeNow if session.contains(COUNTER) => {
                operations.push(Operation::Take);
                begin_commit(recorder, operations);
                let result = session.take_now(COUNT).await.map(Some);
                end_commit(recorder, &session, result)?;
            }
            HandlerStep::TakeNow => assert!(!matches!(session.take_now(COUNT).await, Ok(Some(_)))),
            HandlerStep::DropCommit(polls) => {
                check_refused(&session, recorder, Operation::Count)?;
                operations.push(Operation::Count);
                let mut commit = Box::pin(count_now(&session));
                let mut polls_left = *polls;
                recorder.begin(Step::Dropped { operations: std::mem::take(operations), completion: Completion::Full });
                let result = std::future::poll_fn(|context| match commit.as_mut().poll(context) {
                    Poll::Pending if polls_left == 0 => Poll::Ready(None),
                    Poll::Pending => {
                        polls_left -= 1;
                        Poll::Pending
                    }
                    Poll::Ready(result) => Poll::Ready(Some(result)),
                })
                .await;
                drop(commit);
                let Some(result) = result else {
                    recorder.network.record_fault(recorder.request);
                    continue;
                };
                // The commit completed before the last poll.
                recorder.end(|step| {
                    let Step::Dropped { operations, .. } = step else { return };
                    let operations = std::mem::take(operations);
                    *step = Step::Commit { operations, returned: None, observed: None, outcome: Outcome::Unknown };
                });
                record_commit(recorder, &session, result.map(|count| Some(Some(count))))?;
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

/// Checks whether a write would be refused, with a removal of an absent key.
fn check_refused(session: &Session, recorder: &Recorder, operation: Operation) -> Result<(), Error> {
    session.remove("no such key").map(|_| ()).map_err(|error| refused(error, recorder, operation))
}

fn refused(error: Error, recorder: &Recorder, operation: Operation) -> Error {
    assert!(matches!(error.kind(), ErrorKind::Superseded | ErrorKind::Ended), "{error:?}");
    recorder.begin(Step::Refused(operation));
    recorder.end(|_| ());
    error
}

fn begin_commit(recorder: &Recorder, operations: &mut Vec<Operation>) {
    let operations = std::mem::take(operations);
    recorder.begin(Step::Commit { operations, returned: None, observed: None, outcome: Outcome::Unknown });
}

fn end_commit(recorder: &Recorder, session: &Session, result: Result<Option<Option<u32>>, Error>) -> Result<(), Error> {
    recorder.end(|_| ());
    record_commit(recorder, session, result)
}

fn record_commit(
    recorder: &Recorder,
    session: &Session,
    result: Result<Option<Option<u32>>, Error>,
) -> Result<(), Error> {
    let (commit_outcome, value) = match &result {
        Ok(value) => (Outcome::Done, *value),
        Err(error) => match error.kind() {
            ErrorKind::Superseded => (Outcome::Superseded, None),
            ErrorKind::Ended => (Outcome::Ended, None),
            ErrorKind::Unavailable => (Outcome::Unknown, None),
            other => panic!("{other:?}"),
        },
    };
    let is_known = commit_outcome != Outcome::Unknown;
    assert!(is_known || recorder.network.faults(recorder.request) > 0, "unavailable without a failed store call");
    let mut history = recorder.history.lock().unwrap();
    let step = &mut history.requests[recorder.request].last_mut().unwrap().step;
    if let Step::Commit { returned, observed, outcome, .. } = step {
        (*returned, *observed, *outcome) = (value, observe(session), commit_outcome);
    }
    drop(history);
    recorder.complete_dropped(if is_known { Completion::Full } else { Completion::Unknown });
    result.map(|_| ())
}

/// Performs an operation without a commit, and records it if it changes something.
fn perform(session: &Session, operation: Operation, operations: &mut Vec<Operation>) -> Result<(), Error> {
    let changed = match operation {
        Operation::Insert(key, value) => session.insert(KEYS[key], &value).map(|()| true),
        Operation::Remove(key) => session.remove(KEYS[key]),
        Operation::Clear => {
            let empty = session.keys().is_empty();
            session.clear().map(|()| !empty)
        }
        Operation::Count => session.update(COUNT, |count| *count += 1).map(|()| true),
        Operation::Push(item) => session.update(ITEMS, move |items| items.push(item)).map(|()| true),
        // A session without an id has no token to rotate.
        Operation::Rotate => session.rotate().map(|()| session.id().is_some()),
        Operation::SignIn(owner) => session.sign_in(["x", "y"][usize::from(owner)]).map(|()| true),
        Operation::SignOut => session.sign_out().map(|()| true),
        Operation::Take => unreachable!("`take_now` commits"),
    }?;
    if changed {
        operations.push(operation);
    }
    Ok(())
}

/// Returns the observable state of a session.
fn observe(session: &Session) -> Observed {
    session.id()?;
    let owner = session.owner().map(|owner| u8::from(&*owner == "y"));
    let values = KEYS.map(|key| session.get::<u32>(key).unwrap());
    let data = Data { values, counter: session.get(COUNT).unwrap(), list: session.get(ITEMS).unwrap() };
    Some((owner, data))
}
