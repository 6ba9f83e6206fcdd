use std::time::{Duration, Instant};

use super::PASSWORD;
use super::browser::Browser;
use super::demo::Demo;
use super::driver::Driver;

const NEW_PASSWORD: &str = "seven spoons of sugar";

const CHANGED: &str = "Your password was changed.";

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
        assert!(started.elapsed() < Duration::from_secs(120), "the authentication stays recent");
    }
    demo.restart();
    browser.open(&demo, "/confirm?next=/password?from=mail").await;
    let token = browser.token(&demo).await;
    browser.fill("password", "not the password").await;
    browser.press("Confirm").await;
    browser.until_says("This is not your password.").await;
    assert_eq!(browser.token(&demo).await, token);
    browser.fill("password", PASSWORD).await;
    browser.press("Confirm").await;
    browser.until_at("/password?from=mail").await;
    // Each reauthentication rotates the token.
    assert_ne!(browser.token(&demo).await, token);
    browser.close().await;
}

/// A form that was sent too late leads to `/confirm` and back to its page; it is not sent again.
#[tokio::test]
async fn confirmation_repeats_no_password_change() {
    let (mut demo, driver) = (Demo::start(), Driver::start());
    let browser = Browser::start(&driver).await;
    browser.sign_up(&demo, "ada").await;
    browser.open(&demo, "/password").await;
    demo.restart_with(&[("CONFIRM_WITHIN", "0")]);
    browser.fill("password", NEW_PASSWORD).await;
    browser.press("Change the password").await;
    browser.until_at("/confirm?next=%2Fpassword").await;
    demo.restart();
    // The old password is still the right one.
    browser.fill("password", PASSWORD).await;
    browser.press("Confirm").await;
    browser.until_at("/password").await;
    browser.sign_out().await;
    browser.until_at("/signed-out").await;
    browser.sign_in(&demo, "ada").await;
    browser.close().await;
}

/// The changing device gets a new token; the other device shows why it is signed out, and needs the new password.
#[tokio::test]
async fn password_change_signs_other_devices_out() {
    let (demo, driver) = (Demo::start(), Driver::start());
    let [laptop, phone] = Browser::start_two(&driver, &demo, "ada").await;

    laptop.open(&demo, "/password").await;
    let token = laptop.token(&demo).await;
    laptop.fill("password", NEW_PASSWORD).await;
    laptop.press("Change the password").await;
    laptop.until_says("Your password is changed, and 1 other device is signed out.").await;
    assert_ne!(laptop.token(&demo).await, token);

    phone.run("await check()").await;
    phone.until_dialog(Some("ended")).await;
    phone.until_says(CHANGED).await;
    phone.open(&demo, "/devices").await;
    phone.until_at("/sign-in?next=%2Fdevices").await;
    phone.until_says(&format!("Your session has ended. {CHANGED}")).await;
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

/// Twenty requests beside the change leave this browser signed in, and the list of devices has no other one.
#[tokio::test]
async fn requests_beside_a_password_change_sign_nobody_out() {
    let (demo, driver) = (Demo::start(), Driver::start());
    let [laptop, phone] = Browser::start_two(&driver, &demo, "ada").await;

    laptop.open(&demo, "/password").await;
    let change = format!(
        "const form = new FormData(document.querySelector('main form'));
        form.set('password', '{NEW_PASSWORD}');
        const change = fetch('/password', {{ method: 'POST', body: new URLSearchParams(form) }});
        const others = Array.from({{ length: 20 }}, () => fetch('/devices'));
        const answers = await Promise.all([change, ...others]);
        return answers.filter((answer) => new URL(answer.url).pathname !== '/devices').map((answer) => answer.url)"
    );
    assert_eq!(laptop.run(&change).await, serde_json::json!([]));
    laptop.open(&demo, "/devices").await;
    assert_eq!(laptop.path().await, "/devices");
    assert_eq!(laptop.run("return document.querySelectorAll('.devices li').length").await, 1);
    phone.open(&demo, "/").await;
    phone.until_says(&format!("Your session has ended. {CHANGED}")).await;
    phone.close().await;
    laptop.close().await;
}

/// A password that was changed in the database, beside the demo, ends a page that asks, and refuses a form.
#[tokio::test]
async fn password_changed_in_the_database_signs_its_user_out() {
    let (demo, driver) = (Demo::start(), Driver::start());
    let [laptop, phone] = Browser::start_two(&driver, &demo, "ada").await;
    phone.open(&demo, "/devices").await;
    demo.change("UPDATE users SET password = password || '.'").await;
    laptop.run("await check()").await;
    laptop.until_dialog(Some("ended")).await;
    phone.run("document.querySelector('form[action=\"/devices/name\"]').submit()").await;
    phone.until_at("/sign-in?next=%2Fdevices").await;
    for browser in [laptop, phone] {
        browser.open(&demo, "/devices").await;
        assert_eq!(browser.path().await, "/sign-in");
        browser.close().await;
    }
}
