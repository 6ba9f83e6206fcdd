use serde_json::{Value, json};

use super::browser::Browser;
use super::demo::Demo;
use super::driver::Driver;

/// Asserts the attributes of every session cookie of the demo.
fn assert_attributes(cookie: &Value) {
    assert_eq!(cookie["name"], "__Host-id");
    assert_eq!(cookie["httpOnly"], true);
    assert_eq!(cookie["secure"], true);
    assert_eq!(cookie["sameSite"], "Lax");
    assert_eq!(cookie["path"], "/");
    // A cookie with a `Domain` attribute would have a leading dot here.
    assert_eq!(cookie["domain"], "localhost");
}

/// Four pages leave the browser without a cookie; adding to the cart sets one with all attributes.
#[tokio::test]
async fn reading_pages_sets_no_cookie() {
    let (demo, driver) = (Demo::start(), Driver::start());
    let browser = Browser::start(&driver).await;
    for path in ["/", "/cart", "/signed-out", "/nowhere"] {
        browser.open(&demo, path).await;
        assert_eq!(browser.cookie(&demo).await, None, "{path}");
    }
    browser.open(&demo, "/").await;
    browser.press_named("Add Assam to the cart").await;
    browser.until_says("Assam is in your cart.").await;
    assert_attributes(&browser.cookie(&demo).await.unwrap());
    browser.close().await;
}

/// A plain sign-up sets a session cookie hidden from scripts; a sign-in with the box ticked one for 90 days.
#[tokio::test]
async fn remember_me_makes_the_cookie_persistent() {
    let (demo, driver) = (Demo::start(), Driver::start());
    let browser = Browser::start(&driver).await;
    browser.sign_up(&demo, "ada").await;
    let cookie = browser.cookie(&demo).await.unwrap();
    assert_attributes(&cookie);
    assert_eq!(cookie["session"], true);
    // `HttpOnly` hides the cookie from scripts.
    assert_eq!(browser.run("return document.cookie").await, "");

    browser.sign_out().await;
    browser.until_at("/signed-out").await;
    assert_eq!(browser.cookie(&demo).await, None);

    browser.open(&demo, "/sign-in").await;
    browser.fill("name", "ada").await;
    browser.fill("password", super::PASSWORD).await;
    browser.tick("remember").await;
    browser.press("Sign in").await;
    browser.until_says("Welcome back, ada.").await;
    let cookie = browser.cookie(&demo).await.unwrap();
    assert_attributes(&cookie);
    assert_eq!(cookie["session"], false);
    let now = browser.run("return Date.now() / 1000").await.as_f64().unwrap();
    let days = (cookie["expires"].as_f64().unwrap() - now) / 86_400.0;
    assert!((89.0..=90.1).contains(&days), "{days} days");
    browser.close().await;
}

/// After the browser reopens, only the user who ticked the box is signed in.
#[tokio::test]
async fn remembered_user_is_signed_in_after_a_browser_restart() {
    let (demo, driver) = (Demo::start(), Driver::start());
    for (name, remember, path) in [("ada", false, "/sign-in"), ("eve", true, "/devices")] {
        let browser = Browser::start(&driver).await;
        browser.open(&demo, "/sign-up").await;
        browser.fill("name", name).await;
        browser.fill("password", super::PASSWORD).await;
        if remember {
            browser.tick("remember").await;
        }
        browser.press("Sign up").await;
        browser.until_says(&format!("Welcome, {name}.")).await;
        let browser = browser.reopen(&driver).await;
        browser.open(&demo, "/devices").await;
        assert_eq!(browser.path().await, path, "{name}");
        browser.close().await;
    }
}

/// The cart survives the sign-up; the earlier token opens nothing in another browser, the new one does.
#[tokio::test]
async fn sign_up_rotates_the_token_and_keeps_the_cart() {
    let (demo, driver) = (Demo::start(), Driver::start());
    let browser = Browser::start(&driver).await;
    browser.open(&demo, "/").await;
    for tea in ["Assam", "Sencha"] {
        browser.press_named(&format!("Add {tea} to the cart")).await;
        browser.until_says(&format!("{tea} is in your cart.")).await;
    }
    let planted = browser.token(&demo).await;
    browser.sign_up(&demo, "ada").await;
    let token = browser.token(&demo).await;
    assert_ne!(token, planted);
    assert_eq!(browser.in_cart().await, 2);

    // The token from before the sign-in opens no session; the new one opens Ada's.
    let thief = Browser::start(&driver).await;
    for (token, opens) in [(planted, false), (token, true)] {
        let cookie = json!({ "name": "__Host-id", "value": token, "url": demo.url("/"), "path": "/", "secure": true });
        thief.devtools("Network.setCookie", cookie).await;
        thief.open(&demo, "/devices").await;
        assert_eq!(thief.text().await.contains("Your devices"), opens);
    }

    browser.open(&demo, "/cart").await;
    browser.press("Order").await;
    browser.until_says("Thank you, ada. 2 packets are on their way.").await;
    assert_eq!(browser.in_cart().await, 0);
    thief.close().await;
    browser.close().await;
}
