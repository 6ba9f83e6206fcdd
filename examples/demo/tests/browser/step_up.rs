use std::time::{Duration, Instant};

use super::PASSWORD;
use super::browser::Browser;
use super::demo::Demo;
use super::driver::Driver;

const NEW: &str = "seven spoons of sugar";

#[tokio::test]
async fn the_password_is_asked_for_again_when_its_proof_has_grown_old() {
    let (mut demo, driver) = (Demo::start(), Driver::start());
    let browser = Browser::start(&driver).await;
    browser.sign_up(&demo, "ada").await;
    // Just proved.
    browser.open(&demo, "/password").await;
    assert_eq!(browser.path().await, "/password");

    demo.restart_with(&[("CONFIRM_WITHIN", "0")]);
    browser.open(&demo, "/password").await;
    assert_eq!(browser.path().await, "/confirm");
    // The rest of the site goes on as before.
    browser.open(&demo, "/devices").await;
    assert_eq!(browser.path().await, "/devices");

    // Young enough for the demo as it is by default: the age decides, not the restart.
    demo.restart();
    browser.open(&demo, "/password").await;
    assert_eq!(browser.path().await, "/password");

    // It grows old while nobody does anything, and a new proof makes it young.
    demo.restart_with(&[("CONFIRM_WITHIN", "2")]);
    let started = Instant::now();
    loop {
        browser.open(&demo, "/password").await;
        if browser.path().await == "/confirm" {
            break;
        }
        assert!(started.elapsed() < Duration::from_secs(60), "the proof does not grow old");
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
    // As every proof does, it came with a new token.
    assert_ne!(browser.token(&demo).await, token);
    browser.close().await;
}

#[tokio::test]
async fn a_new_password_signs_the_other_devices_out() {
    let (demo, driver) = (Demo::start(), Driver::start());
    let laptop = Browser::start(&driver).await;
    laptop.sign_up(&demo, "ada").await;
    let phone = Browser::start_phone(&driver).await;
    phone.sign_in(&demo, "ada").await;

    laptop.open(&demo, "/password").await;
    let token = laptop.token(&demo).await;
    laptop.fill("password", NEW).await;
    laptop.press("Change the password").await;
    laptop.until_says("Your password is changed, and 1 other device is signed out.").await;
    assert_ne!(laptop.token(&demo).await, token);

    phone.open(&demo, "/sign-in").await;
    phone.fill("name", "ada").await;
    phone.fill("password", PASSWORD).await;
    phone.press("Sign in").await;
    phone.until_says("Name and password do not match.").await;
    phone.fill("password", NEW).await;
    phone.press("Sign in").await;
    phone.until_says("Welcome back, ada.").await;
    phone.close().await;
    laptop.close().await;
}
