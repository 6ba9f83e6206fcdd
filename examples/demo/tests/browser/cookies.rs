use serde_json::{Value, json};

use super::browser::Browser;
use super::demo::Demo;
use super::driver::Driver;

/// What every session cookie of the demo has.
fn assert_attributes(cookie: &Value) {
    assert_eq!(cookie["name"], "__Host-id");
    assert_eq!(cookie["httpOnly"], true);
    assert_eq!(cookie["secure"], true);
    assert_eq!(cookie["sameSite"], "Lax");
    assert_eq!(cookie["path"], "/");
    // A cookie for a whole domain has a dot before it here.
    assert_eq!(cookie["domain"], "localhost");
}

#[tokio::test]
async fn who_only_looks_is_given_no_cookie() {
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

#[tokio::test]
async fn the_cookie_is_gone_with_the_window_unless_the_user_wants_to_be_remembered() {
    let (demo, driver) = (Demo::start(), Driver::start());
    let browser = Browser::start(&driver).await;
    browser.sign_up(&demo, "ada").await;
    let cookie = browser.cookie(&demo).await.unwrap();
    assert_attributes(&cookie);
    assert_eq!(cookie["session"], true);
    // No script sees it.
    assert_eq!(browser.run("return document.cookie").await, "");

    browser.press_out().await;
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

#[tokio::test]
async fn who_wants_to_be_remembered_is_when_the_browser_is_closed_and_opened_again() {
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

#[tokio::test]
async fn signing_in_replaces_the_token_and_keeps_the_cart() {
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

    // Whoever knew the token from before is a stranger; the one who has the new one is ada.
    let thief = Browser::start(&driver).await;
    for (token, path) in [(planted, "/sign-in"), (token, "/devices")] {
        let cookie = json!({ "name": "__Host-id", "value": token, "url": demo.url("/"), "path": "/", "secure": true });
        thief.devtools("Network.setCookie", cookie).await;
        thief.open(&demo, "/devices").await;
        assert_eq!(thief.path().await, path);
    }

    browser.open(&demo, "/cart").await;
    browser.press("Order").await;
    browser.until_says("Thank you, ada. 2 packets are on their way.").await;
    assert_eq!(browser.in_cart().await, 0);
    thief.close().await;
    browser.close().await;
}
