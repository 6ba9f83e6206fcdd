//! Pages that are open when their session ends.

use super::PASSWORD;
use super::browser::Browser;
use super::demo::Demo;
use super::driver::Driver;

const ELSEWHERE: &str = "You were signed out on another device.";

/// Sends the form of the first tea as a browser without scripts does.
const ADD_WITHOUT_SCRIPT: &str = "HTMLFormElement.prototype.submit.call(document.querySelector('form.add'))";

/// Signs a user in on a laptop and on a phone; the phone's page is the list of teas.
async fn laptop_and_phone(demo: &Demo, driver: &Driver) -> [Browser; 2] {
    let laptop = Browser::start(driver).await;
    laptop.sign_up(demo, "ada").await;
    let phone = Browser::start_phone(driver).await;
    phone.sign_in(demo, "ada").await;
    laptop.open(demo, "/devices").await;
    [laptop, phone]
}

/// After each way to sign the phone out on the laptop, its script, its forms and its next page say so.
#[tokio::test]
async fn page_says_that_another_device_signed_it_out() {
    let (demo, driver) = (Demo::start(), Driver::start());
    let [laptop, phone] = laptop_and_phone(&demo, &driver).await;
    for all in [false, true] {
        phone.open(&demo, "/").await;
        phone.until_dialog(None).await;
        laptop.open(&demo, "/devices").await;
        if all {
            laptop.press("Sign out all other devices").await;
            laptop.until_says("All other devices are signed out.").await;
        } else {
            laptop.press_named("Sign out Chrome on Android").await;
            laptop.until_says("The device is signed out.").await;
        }
        phone.press_named("Add Assam to the cart").await;
        phone.until_dialog(Some("ended")).await;
        phone.until_says(ELSEWHERE).await;
        assert!(!phone.text().await.contains("is in your cart"));
        phone.run(ADD_WITHOUT_SCRIPT).await;
        phone.until_at("/sign-in?ended=true&next=%2F").await;
        for path in ["/sign-in", "/", "/cart", "/devices"] {
            phone.open(&demo, path).await;
            phone.until_says(&format!("Your session has ended. {ELSEWHERE}")).await;
            assert!(!phone.text().await.contains("ada"), "{path}");
        }
        phone.sign_in(&demo, "ada").await;
        assert_eq!(phone.in_cart().await, 0);
        assert!(!phone.text().await.contains(ELSEWHERE));
    }
    phone.close().await;
    laptop.close().await;
}

/// Forms of a cart, of the list of devices and of the frame lead to the sign-in page with the reason.
#[tokio::test]
async fn each_form_says_that_another_device_signed_it_out() {
    let (demo, driver) = (Demo::start(), Driver::start());
    let [laptop, phone] = laptop_and_phone(&demo, &driver).await;
    for (path, form, next) in [
        ("/cart", "/more", "/cart"),
        ("/cart", "/order", "/cart"),
        ("/devices", "/devices/end-others", "/devices"),
        ("/devices", "/devices/name", "/devices"),
        ("/password", "/password", "/password"),
    ] {
        phone.open(&demo, "/").await;
        phone.press_named("Add Assam to the cart").await;
        phone.until_says("Assam is in your cart.").await;
        phone.open(&demo, path).await;
        laptop.open(&demo, "/devices").await;
        laptop.press_named("Sign out Chrome on Android").await;
        laptop.until_says("The device is signed out.").await;
        phone.run(&format!("document.querySelector('main form[action$=\"{form}\"]').submit()")).await;
        phone.until("location.pathname === '/sign-in'").await;
        phone.until(&format!("document.querySelector('[name=next]')?.value === '{next}'")).await;
        phone.until_says(&format!("Your session has ended. {ELSEWHERE}")).await;
        phone.sign_in(&demo, "ada").await;
    }
    phone.close().await;
    laptop.close().await;
}

/// Long after the session ended no reason is known, and no page fills a new cart under the old name.
#[tokio::test]
async fn page_of_a_forgotten_session_says_that_it_ended() {
    let (demo, driver) = (Demo::start(), Driver::start());
    let browser = Browser::start(&driver).await;
    browser.sign_up(&demo, "ada").await;
    demo.delete_sessions().await;
    browser.press_named("Add Assam to the cart").await;
    browser.until_dialog(Some("ended")).await;
    assert!(!browser.text().await.contains("is in your cart"));
    browser.run(ADD_WITHOUT_SCRIPT).await;
    browser.until_at("/sign-in?ended=true&next=%2F").await;
    browser.until_says("Your session has ended.").await;
    browser.open(&demo, "/").await;
    assert_eq!(browser.in_cart().await, 0);
    browser.close().await;
}

/// A page of one user does not act for another who has signed in with the same browser.
#[tokio::test]
async fn page_of_another_user_says_which_user_is_signed_in() {
    let (demo, driver) = (Demo::start(), Driver::start());
    let browser = Browser::start(&driver).await;
    browser.sign_up(&demo, "ada").await;
    let [first, _] = browser.open_tab().await;
    browser.open(&demo, "/").await;
    browser.sign_out().await;
    browser.until_at("/signed-out").await;
    browser.sign_up(&demo, "eve").await;
    browser.switch_to(&first).await;
    browser.until_dialog(Some("changed")).await;
    browser.run(ADD_WITHOUT_SCRIPT).await;
    browser.until_at("/").await;
    browser.until_says("nothing was done.").await;
    browser.until_says("You are signed in as eve.").await;
    assert_eq!(browser.in_cart().await, 0);
    browser.close().await;
}

/// Every form with an outdated CSRF token gets a page with a reason and a way on.
#[tokio::test]
async fn outdated_form_says_how_to_go_on() {
    let (demo, driver) = (Demo::start(), Driver::start());
    let browser = Browser::start(&driver).await;
    browser.sign_up(&demo, "ada").await;
    for (path, form, to) in [
        ("/cart", "/less", "/cart"),
        ("/devices", "/devices/name", "/sign-in?next=%2Fdevices"),
        ("/password", "/password", "/sign-in?next=%2Fpassword"),
        ("/confirm?next=/cart", "/confirm", "/cart"),
    ] {
        browser.open(&demo, "/").await;
        browser.press_named("Add Assam to the cart").await;
        browser.until_says("Assam is in your cart.").await;
        browser.open(&demo, path).await;
        demo.delete_sessions().await;
        browser.run(&format!("document.querySelector('main form[action$=\"{form}\"]').submit()")).await;
        browser.until_says("This form is out of date").await;
        browser.until_says("Your session has ended or changed since this page was opened, so nothing was done.").await;
        browser.follow("Open the page again").await;
        browser.until_at(to).await;
        browser.sign_in(&demo, "ada").await;
    }
    browser.close().await;
}

/// An old sign-in or sign-up form becomes a fresh one that keeps the name, and works.
#[tokio::test]
async fn old_sign_in_and_sign_up_forms_become_fresh_ones() {
    let (demo, driver) = (Demo::start(), Driver::start());
    let browser = Browser::start(&driver).await;
    for (path, button, greeting) in [
        ("/sign-up?next=/devices", "Sign up", "Welcome, ada."),
        ("/sign-in?next=/devices", "Sign in", "Welcome back, ada."),
    ] {
        browser.open(&demo, path).await;
        browser.fill("name", "ada").await;
        browser.fill("password", PASSWORD).await;
        demo.delete_sessions().await;
        browser.press(button).await;
        browser.until_says("This page was open for too long. Please enter your password again.").await;
        assert_eq!(browser.run("return document.querySelector('#name').value").await, "ada");
        assert_eq!(browser.run("return document.querySelector('#password').value").await, "");
        browser.fill("password", PASSWORD).await;
        browser.press(button).await;
        browser.until_says(greeting).await;
        browser.until_at("/devices").await;
        browser.sign_out().await;
        browser.until_at("/signed-out").await;
    }
    browser.close().await;
}

/// A sign-in form that stays open while another tab signs in leads to the page, and says which user is signed in.
#[tokio::test]
async fn sign_in_form_of_a_second_tab_says_who_is_signed_in() {
    let (demo, driver) = (Demo::start(), Driver::start());
    let browser = Browser::start(&driver).await;
    for path in ["/sign-in?next=/cart", "/sign-up?next=/cart"] {
        browser.open(&demo, path).await;
        let user = if path.starts_with("/sign-in") { "ada" } else { "eve" };
        let [first, _] = browser.open_tab().await;
        browser.sign_up(&demo, user).await;
        browser.switch_to(&first).await;
        browser.fill("name", "bob").await;
        browser.fill("password", PASSWORD).await;
        browser.run("document.querySelector('main form').submit()").await;
        browser.until_at("/cart").await;
        browser.until_says(&format!("You are signed in as {user}.")).await;
        browser.sign_out().await;
        browser.until_at("/signed-out").await;
    }
    browser.close().await;
}
