use std::time::{Duration, Instant};

use super::PASSWORD;
use super::browser::Browser;
use super::demo::Demo;
use super::driver::Driver;

const NEW_PASSWORD: &str = "seven spoons of sugar";

/// With a limit of zero or after two seconds the page redirects to `/confirm`; a correct password leads back.
#[tokio::test]
async fn password_page_asks_for_reauthentication_when_it_is_old() {
    let (mut demo, driver) = (Demo::start(), Driver::start());
    let browser = Browser::start(&driver).await;
    browser.sign_up(&demo, "ada").await;
    // The sign-up counts as a recent authentication.
    browser.open(&demo, "/password").await;
    assert_eq!(browser.path().await, "/password");

    demo.restart_with(&[("CONFIRM_WITHIN", "0")]);
    browser.open(&demo, "/password").await;
    assert_eq!(browser.path().await, "/confirm");
    // Other pages need no recent authentication.
    browser.open(&demo, "/devices").await;
    assert_eq!(browser.path().await, "/devices");

    // With the default limit the authentication is still recent, so the restart did not reset its age.
    demo.restart();
    browser.open(&demo, "/password").await;
    assert_eq!(browser.path().await, "/password");

    // With a limit of two seconds the authentication becomes too old, and a new one is recent again.
    demo.restart_with(&[("CONFIRM_WITHIN", "2")]);
    let started = Instant::now();
    loop {
        browser.open(&demo, "/password").await;
        if browser.path().await == "/confirm" {
            break;
        }
        assert!(started.elapsed() < Duration::from_secs(60), "the authentication stays recent");
    }
    demo.restart();
    browser.open(&demo, "/confirm?to=password").await;
    let token = browser.token(&demo).await;
    browser.fill("password", "not the password").await;
    browser.press("Confirm").await;
    browser.until_says("This is not your password.").await;
    assert_eq!(browser.token(&demo).await, token);
    browser.fill("password", PASSWORD).await;
    browser.press("Confirm").await;
    browser.until_at("/password").await;
    // Each reauthentication rotates the token.
    assert_ne!(browser.token(&demo).await, token);
    browser.close().await;
}

/// The changing device gets a new token; the other device must sign in with the new password.
#[tokio::test]
async fn password_change_signs_other_devices_out() {
    let (demo, driver) = (Demo::start(), Driver::start());
    let laptop = Browser::start(&driver).await;
    laptop.sign_up(&demo, "ada").await;
    let phone = Browser::start_phone(&driver).await;
    phone.sign_in(&demo, "ada").await;

    laptop.open(&demo, "/password").await;
    let token = laptop.token(&demo).await;
    laptop.fill("password", NEW_PASSWORD).await;
    laptop.press("Change the password").await;
    laptop.until_says("Your password is changed, and 1 other device is signed out.").await;
    assert_ne!(laptop.token(&demo).await, token);

    phone.open(&demo, "/sign-in").await;
    phone.fill("name", "ada").await;
    phone.fill("password", PASSWORD).await;
    phone.press("Sign in").await;
    phone.until_says("Name and password do not match.").await;
    phone.fill("password", NEW_PASSWORD).await;
    phone.press("Sign in").await;
    phone.until_says("Welcome back, ada.").await;
    phone.close().await;
    laptop.close().await;
}
