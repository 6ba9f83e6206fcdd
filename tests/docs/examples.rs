//! The example programs, over HTTP. `quickstart.rs` has the tests of the quickstart.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::support;

use futures_util::{SinkExt, StreamExt};
use reqwest::{Method, Response};
use serde_json::{Value, json};
use support::client::set_cookies;
use support::site::{Site, Visitor};
use tokio::task::JoinSet;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};

fn ok(text: &str) -> (u16, String) {
    (200, text.to_owned())
}

fn credentials(name: &str, remember: bool) -> Value {
    json!({ "name": name, "password": format!("{name}'s password"), "remember": remember })
}

/// Passwords, roles, sign-out and the remembered browser of `login`.
#[tokio::test]
async fn login_checks_users_and_roles() {
    let site = Site::start("login");
    let mut ada = site.visitor();
    assert_eq!(ada.get("/me").await.0, 401);
    assert_eq!(ada.post_json("/sign-in", &json!({ "name": "ada", "password": "guess" })).await, 401);
    assert!(ada.jar.is_empty());

    assert_eq!(ada.post_json("/sign-in", &credentials("ada", false)).await, 204);
    assert_eq!(ada.get_json("/me").await, json!({ "id": 1, "name": "ada", "admin": false }));
    assert_eq!(ada.get("/admin").await.0, 403);

    let mut grace = site.visitor();
    let remembered = grace.post_json("/sign-in", &credentials("grace", true)).await;
    assert_eq!((remembered, grace.get("/admin").await), (204, ok("the back room\n")));

    // An administrator acts as a user, who keeps the password.
    for account in ["/act-as/1", "/act-as/2", "/act-as/3"] {
        // Whether there is such an account, only an administrator learns.
        assert_eq!((site.visitor().post(account, "").await.0, ada.post(account, "").await.0), (401, 403));
    }
    assert_eq!(grace.post("/act-as/3", "").await.0, 404);
    assert_eq!(grace.post("/act-as/1", "").await.0, 204);
    assert_eq!(grace.get_json("/me").await["name"], "ada");
    assert_eq!((grace.get("/admin").await.0, grace.post("/password", "a new one").await.0), (403, 403));
    assert_eq!(grace.post("/sign-out", "").await.0, 204);
    assert_eq!(grace.get("/admin").await, ok("the back room\n"));

    // "Remember me" ends with the next sign-in without it.
    for (remember, max_age) in [(true, Some(90 * 24 * 60 * 60)), (false, None)] {
        let response = ada.request_json("/sign-in", &credentials("ada", remember)).await;
        assert_eq!(set_cookies(response.headers())[0].max_age(), max_age);
    }

    // A new password signs out all sessions of the account but the one that changed it.
    let mut other = site.visitor();
    other.post_json("/sign-in", &credentials("ada", false)).await;
    assert_eq!(ada.post("/password", "correct horse").await.0, 204);
    assert_eq!((ada.get("/me").await.0, other.get("/me").await.0), (200, 401));
    assert_eq!(other.post_json("/sign-in", &credentials("ada", false)).await, 401);

    let mut copy = ada.clone();
    assert_eq!(ada.post("/sign-out", "").await.0, 204);
    assert_eq!((ada.get("/me").await.0, copy.get("/me").await.0), (401, 401));
    assert_eq!(grace.get("/me").await.0, 200);
}

/// Returns the token in the first form of a page.
fn form_token(page: &str) -> String {
    page.split("name=\"csrf_token\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned()
}

/// CSRF tokens and flash messages of `forms`.
#[tokio::test]
async fn forms_accept_their_own_pages_only() {
    let site = Site::start("forms");
    let mut ada = site.visitor();
    let (_, page) = ada.get("/").await;
    let token = form_token(&page);
    assert_eq!(ada.post_form("/sign-in", "name=ada".to_owned()).await.0, 403);
    assert_eq!(ada.post_form("/sign-in", format!("name=%3Cada%3E&csrf_token={token}")).await.0, 303);
    let (_, page) = ada.get("/").await;
    assert!(page.contains("<p class=\"info\">Welcome, &lt;ada&gt;.</p>"), "{page}");

    assert_eq!(ada.post_form("/note", format!("text=x&csrf_token={token}")).await.0, 403, "the sign-in renewed it");
    let token = form_token(&page);
    assert_eq!(ada.post_form("/note", format!("text=milk+%26+bread&csrf_token={token}")).await.0, 303);
    let (_, page) = ada.get("/").await;
    assert!(page.contains("<li>milk &amp; bread</li>") && page.contains("Noted."), "{page}");
    assert!(!ada.get("/").await.1.contains("Noted."), "it is shown once");

    let mut eve = site.visitor();
    let (_, page) = eve.get("/").await;
    assert_eq!(ada.post_form("/sign-out", format!("csrf_token={}", form_token(&page))).await.0, 403);
    assert_eq!(ada.post_form("/sign-out", format!("csrf_token={token}")).await.0, 303);
    let (_, page) = ada.get("/").await;
    assert!(page.contains("You are signed out.") && page.contains("Sign in"), "{page}");
}

fn location(response: &Response) -> String {
    response.headers()["location"].to_str().unwrap().to_owned()
}

async fn redirected(visitor: &mut Visitor, to: &str) -> String {
    let response = visitor.request(Method::GET, to, "").await;
    assert_eq!(response.status(), 303, "{to}");
    location(&response)
}

/// Only the browser that began the flow signs in, and once.
#[tokio::test]
async fn oauth_completes_a_flow_once() {
    let site = Site::start("oauth");
    let mut visitor = site.visitor();
    let to_provider = redirected(&mut visitor, "/sign-in").await;
    let back = redirected(&mut visitor, &to_provider).await;

    let mut stranger = site.visitor();
    assert_eq!(stranger.get(&back).await.0, 400, "whoever did not begin it cannot end it");
    let mut other = site.visitor();
    redirected(&mut other, "/sign-in").await;
    assert_eq!(other.get(&back).await.0, 400, "nor with a sign-in of their own under way");
    let wrong = "/callback?state=wrong&code=x";
    assert_eq!(visitor.get(wrong).await.0, 400, "a link on another site, which stops no sign-in");
    redirected(&mut visitor, "/sign-in").await;

    let mut twice = visitor.clone();
    assert!(redirected(&mut visitor, &back).await.ends_with("/account"));
    assert_eq!(visitor.get("/account").await, ok("signed in as provider:ada\n"));
    for browser in [&mut visitor, &mut twice] {
        assert_eq!(browser.get(&back).await.0, 400, "the state is used up");
    }

    let mut before = visitor.clone();
    oauth_sign_in(&mut visitor).await;
    assert_ne!(visitor.jar.value("__Host-id"), before.jar.value("__Host-id"), "each sign-in gives a new token");
    assert_eq!(visitor.get("/account").await.0, 200);
    assert_ne!(before.get("/account").await.0, 200);
}

/// Goes to the provider and back.
async fn oauth_sign_in(visitor: &mut Visitor) {
    let to_provider = redirected(visitor, "/sign-in").await;
    let back = redirected(visitor, &to_provider).await;
    assert!(redirected(visitor, &back).await.ends_with("/account"));
}

/// `oauth` signs in at once after the session was ended from elsewhere.
#[tokio::test]
async fn oauth_signs_in_after_a_remote_end() {
    let site = Site::start("oauth");
    let mut visitor = site.visitor();
    oauth_sign_in(&mut visitor).await;
    let mut elsewhere = visitor.clone();
    assert_eq!(elsewhere.post("/sign-out", "").await.0, 200);
    assert_eq!(visitor.get("/account").await.0, 401);
    oauth_sign_in(&mut visitor).await;
    assert_eq!(visitor.get("/account").await, ok("signed in as provider:ada\n"));
}

/// `form_post` signs in on the visitor's session, although the provider's form carries only the `SameSite=None` cookie.
#[tokio::test]
async fn form_post_keeps_the_visitors_session() {
    let site = Site::start("form_post");
    let mut visitor = site.visitor();
    visitor.post("/cart", "tea").await;
    let lax = visitor.jar.value("__Host-id").unwrap();
    let to_provider = redirected(&mut visitor, "/sign-in").await;
    let state = to_provider.split_once("state=").unwrap().1;
    let form = format!("state={state}&code=ada");

    // The browser adds no `SameSite=Lax` cookie to the form of another site.
    let mut cross_site = site.visitor();
    cross_site.jar.put("__Host-pending", &visitor.jar.value("__Host-pending").unwrap());
    assert_eq!(cross_site.post_form("/callback", form.clone()).await.0, 303);
    assert_eq!(cross_site.jar.value("__Host-id"), None, "the visitor's cookie is not replaced");
    assert_eq!(cross_site.post_form("/callback", form.clone()).await.0, 400, "the state is used up");
    let mut stranger = site.visitor();
    assert_eq!(stranger.post_form("/callback", form).await.0, 400, "a client that did not begin it cannot go on");

    assert!(redirected(&mut visitor, "/finish").await.ends_with("/account"));
    assert_ne!(visitor.jar.value("__Host-id").unwrap(), lax, "the sign-in gives a new token");
    assert_eq!(visitor.get("/account").await, ok("provider:ada has 1 items\n"));
    assert_eq!(visitor.get("/finish").await.0, 400);
}

/// The socket of `websocket` writes to its session and closes with it.
#[tokio::test]
async fn a_websocket_writes_until_the_session_ends() {
    let site = Site::start("websocket");
    let mut ada = site.visitor();
    let url = format!("{}/ws", site.address().replace("http:", "ws:"));
    let request = |visitor: &Visitor, origin: Option<&str>| {
        let mut request = url.as_str().into_client_request().unwrap();
        let headers = request.headers_mut();
        if let Some(cookies) = visitor.jar.header() {
            headers.insert("cookie", cookies.parse().unwrap());
        }
        if let Some(origin) = origin {
            headers.insert("origin", origin.parse().unwrap());
        }
        request
    };
    let refused = async |request| match connect_async(request).await {
        Err(Error::Http(response)) => response.status().as_u16(),
        other => panic!("it should be refused, not {other:?}"),
    };
    assert_eq!(refused(request(&ada, None)).await, 401);
    ada.post("/sign-in", "").await;
    assert_eq!(refused(request(&ada, Some("https://elsewhere.example"))).await, 403);

    let (mut socket, _) = connect_async(request(&ada, Some(site.address()))).await.unwrap();
    for (n, text) in [(1, "one"), (2, "two")] {
        socket.send(Message::text(text)).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), Message::text(n.to_string()));
    }
    assert_eq!(ada.get_json("/messages").await, json!(["one", "two"]));

    ada.post("/sign-out", "").await;
    socket.send(Message::text("three")).await.unwrap();
    let Message::Close(Some(frame)) = socket.next().await.unwrap().unwrap() else { panic!("it should close") };
    assert!(frame.reason.contains("ended"), "{frame:?}");
}

/// Returns the data of the next event, or `None` at the end of the stream.
async fn next_event(stream: &mut Response) -> Option<String> {
    let mut text = String::new();
    loop {
        text.push_str(std::str::from_utf8(&stream.chunk().await.unwrap()?).unwrap());
        // Other lines keep the connection alive.
        if let Some(data) = text.lines().find_map(|line| line.strip_prefix("data: ")).filter(|_| text.contains("\n\n"))
        {
            return Some(data.to_owned());
        }
    }
}

/// The stream of `server_sent_events` follows its session.
#[tokio::test]
async fn server_sent_events_end_with_the_session() {
    let site = Site::start("server_sent_events");
    let mut visitor = site.visitor();
    let mut nothing = visitor.request(Method::GET, "/events", "").await;
    assert_eq!(next_event(&mut nothing).await, None, "a visitor without a session has nothing to watch");

    visitor.post("/cart", "tea").await;
    let mut events = visitor.request(Method::GET, "/events", "").await;
    assert_eq!(events.headers()["content-type"], "text/event-stream");
    assert_eq!(next_event(&mut events).await.as_deref(), Some("1"));
    visitor.post("/cart", "milk").await;
    assert_eq!(next_event(&mut events).await.as_deref(), Some("2"));
    visitor.post("/sign-out", "").await;
    assert_eq!(next_event(&mut events).await, None);
}

/// Each application of `several_apps` has its own cookie and session.
#[tokio::test]
async fn several_apps_have_separate_sessions() {
    let site = Site::start("several_apps");
    let mut visitor = site.visitor();
    assert_eq!(visitor.get("/").await, ok("visit 1\n"));
    assert_eq!(visitor.get("/office").await.0, 401);
    assert_eq!(visitor.post("/office/sign-in", "").await.0, 200);
    assert!(visitor.jar.value("__Host-shop").is_some() && visitor.jar.value("__Host-staff").is_some());
    assert_eq!(visitor.get("/office").await, ok("staff:grace has visited the shop 1 times\n"));
    assert_eq!(visitor.post("/office/sign-out", "").await.0, 200);
    assert!(visitor.jar.value("__Host-staff").is_none());
    assert_eq!(visitor.get("/").await, ok("visit 2\n"));
}

/// The job of `background_job` writes after the response.
#[tokio::test]
async fn a_background_job_stores_its_result() {
    let site = Site::start("background_job");
    for path in ["/report", "/report/queued"] {
        let mut visitor = site.visitor();
        assert_eq!(visitor.get_json("/report").await, json!("none"));
        assert_eq!(visitor.post(path, "").await.0, 202);
        // No deadline: the duration of the job depends on the machine.
        loop {
            match visitor.get_json("/report").await {
                working if working == json!("working") => tokio::task::yield_now().await,
                ready => break assert_eq!(ready, json!({ "ready": { "lines": 42 } })),
            }
        }
        visitor.post(path, "").await;
        assert_eq!(visitor.post("/sign-out", "").await.0, 200);
        assert_eq!(visitor.get_json("/report").await, json!("none"), "no job brings a session back");
    }
}

/// `anonymous_limits` refuses further visitors and keeps members.
#[tokio::test]
async fn anonymous_sessions_are_limited() {
    // The rate limit allows a burst of 100 and then no more, however long the requests take.
    let site = Site::start_with("anonymous_limits", &[("LIMIT", "20"), ("PER_SECOND", "0")]);
    let mut member = site.visitor();
    assert_eq!(member.post("/sign-in", "").await.0, 200);
    assert_eq!(member.post("/cart", "tea").await.0, 204);

    let mut requests = JoinSet::new();
    for _ in 0..400 {
        let mut visitor = site.visitor();
        requests.spawn(async move {
            let status = visitor.post("/cart", "spam").await.0;
            (status, visitor)
        });
    }
    let answers = requests.join_all().await;
    for (expected, count) in [(204, 100), (429, 300)] {
        assert_eq!(answers.iter().filter(|(status, _)| *status == expected).count(), count, "{expected}");
    }
    let mut kept = 0;
    // The latest first, before they expire.
    for (_, mut visitor) in answers.into_iter().rev() {
        kept += usize::from(visitor.get_json("/cart").await == json!(["spam"]));
    }
    assert!((1..20).contains(&kept), "{kept} of at most 19 are kept");
    assert_eq!(member.get("/account").await, ok("user:ada"));
    assert_eq!(member.get_json("/cart").await, json!(["tea"]));
}

/// `metrics` counts creations, sign-ins and ends.
#[tokio::test]
async fn metrics_count_session_events() {
    let site = Site::start("metrics");
    let mut ada = site.visitor();
    ada.get("/").await;
    assert_eq!(ada.get("/").await, ok("visit 2\n"));
    ada.post("/sign-in", "").await;
    ada.post("/sign-out", "").await;
    let (_, metrics) = ada.get("/metrics").await;
    for (kind, count) in [("Created", 1), ("SignedIn", 1)] {
        assert!(metrics.contains(&format!("session_events_total{{kind=\"{kind}\"}} {count}\n")), "{metrics}");
    }
    assert!(metrics.contains("kind=\"Ended\",reason=\"SignedOut\"} 1\n"), "{metrics}");
}

/// The main routes of the remaining examples.
#[tokio::test]
async fn the_other_examples_answer() {
    let site = Site::start("typed");
    let mut visitor = site.visitor();
    assert_eq!(visitor.post("/theme/dark", "").await.0, 200);
    assert_eq!(visitor.post_json("/cart", &json!({ "article": "tea", "count": 2 })).await, 200);
    let expected = json!({ "theme": "dark", "cart": [{ "article": "tea", "count": 2 }], "newsletter": false });
    assert_eq!(visitor.get_json("/").await, expected);

    let directory = std::env::temp_dir().join(format!("sessile-example-{}", std::process::id()));
    for (example, answers) in [("tower", ["visit 1\n", "visit 2\n"]), ("tests", ["", ""])] {
        let site = Site::start(example);
        let mut visitor = site.visitor();
        for answer in answers.into_iter().filter(|answer| !answer.is_empty()) {
            assert_eq!(visitor.get("/").await, ok(answer));
        }
    }
    let environment = [("SESSIONS", directory.to_str().unwrap())];
    let site = Site::start_with("custom_store", &environment);
    let mut visitor = site.visitor();
    visitor.get("/").await;
    drop(site);
    let site = Site::start_with("custom_store", &environment);
    let mut again = site.visitor();
    again.jar = visitor.jar;
    assert_eq!(again.get("/").await, ok("visit 2, also after a restart\n"));
    std::fs::remove_dir_all(directory).unwrap();
}
