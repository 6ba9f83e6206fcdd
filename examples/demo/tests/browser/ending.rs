use std::time::Duration;

use fantoccini::key::Key;
use serde_json::{Value, json};

use super::PASSWORD;
use super::browser::Browser;
use super::demo::Demo;
use super::driver::Driver;

/// Has the page ask the server again, as it does when the user returns to its tab.
const RETURN_TO_TAB: &str = "document.dispatchEvent(new Event('visibilitychange'))";

const MINUTE: Duration = Duration::from_secs(60);

/// Starts a demo with sessions of an hour that warn in the second half, so that no test depends on its own speed.
fn start_demo() -> Demo {
    let mut demo = Demo::start();
    demo.restart_with(&[("IDLE_TIMEOUT", "3600"), ("WARN_BEFORE", "1800")]);
    demo
}

/// Two tabs warn after 45 unused minutes of an hour; "Stay signed in" in one closes the dialogs of both.
#[tokio::test]
async fn staying_in_one_tab_closes_the_warning_in_both() {
    let (demo, driver) = (start_demo(), Driver::start());
    let browser = Browser::start(&driver).await;
    browser.sign_up(&demo, "ada").await;
    let [first, second] = browser.open_tab().await;
    browser.open(&demo, "/devices").await;
    demo.age_sessions(45 * MINUTE).await;
    for tab in [&first, &second] {
        browser.switch_to(tab).await;
        browser.run(RETURN_TO_TAB).await;
        browser.until_dialog(Some("ending")).await;
        browser.until_says("Your session ends within 30 minutes").await;
    }
    let aged = demo.last_use().await;
    browser.press("Stay signed in").await;
    browser.until_dialog(None).await;
    assert!(demo.last_use().await > aged);
    browser.switch_to(&first).await;
    browser.until_dialog(None).await;

    // A sign-out in one tab ends the page of the other.
    browser.sign_out().await;
    browser.until_at("/signed-out").await;
    browser.switch_to(&second).await;
    browser.until_dialog(Some("ended")).await;
    browser.close().await;
}

/// Loading a page in one tab closes the dialog of another.
#[tokio::test]
async fn use_in_another_tab_closes_the_warning() {
    let (demo, driver) = (start_demo(), Driver::start());
    let browser = Browser::start(&driver).await;
    browser.sign_up(&demo, "ada").await;
    demo.age_sessions(45 * MINUTE).await;
    browser.run(RETURN_TO_TAB).await;
    browser.until_dialog(Some("ending")).await;
    let [first, _] = browser.open_tab().await;
    browser.open(&demo, "/cart").await;
    browser.switch_to(&first).await;
    browser.until_dialog(None).await;
    browser.close().await;
}

/// Ten requests for the time left do not move the last use.
#[tokio::test]
async fn asking_for_the_time_left_is_no_use() {
    let (demo, driver) = (start_demo(), Driver::start());
    let browser = Browser::start(&driver).await;
    browser.sign_up(&demo, "ada").await;
    demo.age_sessions(45 * MINUTE).await;
    let aged = demo.last_use().await;
    browser.run("for (let n = 0; n < 10; n++) await check()").await;
    browser.until_dialog(Some("ending")).await;
    assert_eq!(demo.last_use().await, aged);
    browser.close().await;
}

/// Screen readers get the dialog's name and text; Tab stays in it, Enter and Escape stay signed in, and focus returns.
#[tokio::test]
async fn warning_works_by_keyboard_and_screen_reader() {
    let (demo, driver) = (start_demo(), Driver::start());
    let browser = Browser::start(&driver).await;
    browser.sign_up(&demo, "ada").await;
    for key in [Key::Enter, Key::Escape] {
        browser.run("document.querySelector('#one-of-each').focus()").await;
        demo.age_sessions(45 * MINUTE).await;
        browser.run(RETURN_TO_TAB).await;
        browser.until_dialog(Some("ending")).await;

        let tree = browser.devtools("Accessibility.getFullAXTree", json!({})).await;
        let nodes = tree["nodes"].as_array().unwrap();
        let dialog = nodes.iter().find(|node| node["role"]["value"] == "alertdialog").expect("an alert dialog");
        assert_eq!(dialog["name"]["value"], "Your session ends within 30 minutes");
        assert_eq!(dialog["description"]["value"], "The shop has not been used for a while.");
        let is_modal = |property: &Value| property["name"] == "modal" && property["value"]["value"] == true;
        assert!(dialog["properties"].as_array().unwrap().iter().any(is_modal), "{dialog}");

        let focused = "const at = document.activeElement; return at.closest('dialog') ? at.innerText : at.localName";
        assert_eq!(browser.run(focused).await, "Stay signed in");
        let mut seen = Vec::new();
        for _ in 0..6 {
            browser.type_keys(&Key::Tab).await;
            seen.push(browser.run(focused).await);
        }
        assert!(seen.contains(&json!("Sign out")), "{seen:?}");
        // Between the last and the first element the browser's own controls have the focus.
        assert!(seen.iter().all(|at| ["Stay signed in", "Sign out", "body"].iter().any(|it| at == it)), "{seen:?}");

        browser.run("document.querySelector('#stay').focus()").await;
        let aged = demo.last_use().await;
        browser.type_keys(&key).await;
        browser.until_dialog(None).await;
        assert_eq!(browser.run("return document.activeElement.id").await, "one-of-each");
        // Escape closes the dialog before the answer of the server.
        while demo.last_use().await == aged {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    browser.close().await;
}

/// After the idle timeout the page says that the session is over, by mouse or Escape leads to the sign-in page, and back.
#[tokio::test]
async fn page_says_when_the_session_is_over() {
    let (demo, driver) = (start_demo(), Driver::start());
    let browser = Browser::start(&driver).await;
    browser.sign_up(&demo, "ada").await;
    for by_key in [false, true] {
        browser.open(&demo, "/devices").await;
        browser.until_dialog(None).await;
        demo.age_sessions(61 * MINUTE).await;
        browser.run(RETURN_TO_TAB).await;
        browser.until_dialog(Some("ended")).await;
        browser.until_says("Please sign in again to go on.").await;
        if by_key {
            browser.type_keys(&Key::Escape).await;
        } else {
            browser.run("document.querySelector('#ended a').click()").await;
        }
        browser.until_at("/sign-in?ended=true&next=%2Fdevices").await;
        browser.until_says("Your session has ended.").await;
        browser.fill("name", "ada").await;
        browser.fill("password", PASSWORD).await;
        browser.press("Sign in").await;
        browser.until_at("/devices").await;
    }
    browser.close().await;
}

/// Before the absolute timeout the dialog offers to sign in again, since use does not help; the password does.
#[tokio::test]
async fn warning_before_the_absolute_end_asks_to_sign_in() {
    let (mut demo, driver) = (Demo::start(), Driver::start());
    demo.restart_with(&[("IDLE_TIMEOUT", "1200"), ("ABSOLUTE_TIMEOUT", "1200"), ("WARN_BEFORE", "1800")]);
    let browser = Browser::start(&driver).await;
    browser.sign_up(&demo, "ada").await;
    browser.until_dialog(Some("final")).await;
    browser.run("await stay()").await;
    browser.until_dialog(Some("final")).await;
    assert!(!browser.text().await.contains("Stay signed in"));

    browser.follow("Sign in again").await;
    browser.until_at("/confirm?next=%2F").await;
    // The dialog is not in the way.
    browser.run("await check()").await;
    browser.until_dialog(None).await;
    let token = browser.token(&demo).await;
    demo.restart();
    browser.fill("password", PASSWORD).await;
    browser.press("Confirm").await;
    browser.until_at("/").await;
    browser.until_dialog(None).await;
    assert_ne!(browser.token(&demo).await, token);
    browser.close().await;
}

/// The page asks again when it must warn, when the session ends, and otherwise each minute; a page that is over stops.
#[tokio::test]
async fn page_asks_again_at_the_times_that_matter() {
    let (demo, driver) = (start_demo(), Driver::start());
    let browser = Browser::start(&driver).await;
    browser.sign_up(&demo, "ada").await;
    // The page's clock and the server's answers are the test's.
    let waits = "const session = document.body.dataset.session;
        const waits = [];
        window.setTimeout = (_, wait) => waits.push(wait);
        for (const answer of [
            { session, left: 3_000_000, warn_in: 2_940_000 },
            { session, left: 70_000, warn_in: 10_000 },
            { session, left: 60_000, warn_in: 0 },
            { session, left: 5_000, warn_in: 0 },
            { session, left: 4_000, warn_in: 0, is_final: true },
            null,
            { session: null },
        ]) {
            window.fetch = async () => answer ? Response.json(answer) : Response.error();
            await check();
            waits.push(document.querySelector('dialog[open]')?.id ?? 'none');
        }
        return waits";
    let expected = json!([
        60_000, "none", 10_000, "none", 60_000, "ending", 5_000, "ending", 4_000, "final", 60_000, "final", "ended"
    ]);
    assert_eq!(browser.run(waits).await, expected);
    browser.close().await;
}
