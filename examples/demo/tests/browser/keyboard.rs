use fantoccini::key::Key;

use super::PASSWORD;
use super::browser::Browser;
use super::demo::Demo;
use super::driver::Driver;

/// Skip link, cart, sign-up with "Keep me signed in" and sign-out are reached with Tab and Enter.
#[tokio::test]
async fn cart_sign_up_and_sign_out_work_by_keyboard() {
    let (demo, driver) = (Demo::start(), Driver::start());
    let browser = Browser::start(&driver).await;
    browser.open(&demo, "/").await;
    // The first element in the Tab order is a visible skip link.
    browser.tab_to("To the content").await;
    assert_eq!(browser.run("return document.activeElement.getBoundingClientRect().top >= 0").await, true);
    browser.type_keys(&Key::Enter).await;
    browser.until("location.hash === '#content'").await;
    browser.type_keys(&Key::Tab).await;
    assert_eq!(browser.run("return document.activeElement.id").await, "one-of-each");
    browser.tab_to("Add Chamomile to the cart").await;
    browser.type_keys(&Key::Enter).await;
    browser.until_says("Chamomile is in your cart.").await;

    browser.open(&demo, "/").await;
    browser.tab_to("Sign up").await;
    browser.type_keys(&Key::Enter).await;
    browser.until_at("/sign-up").await;
    browser.tab_to("Name").await;
    browser.type_keys("ada").await;
    browser.tab_to("Password").await;
    browser.type_keys(PASSWORD).await;
    browser.tab_to("Keep me signed in").await;
    browser.type_keys(" ").await;
    browser.tab_to("Sign up").await;
    browser.type_keys(&Key::Enter).await;
    browser.until_says("Welcome, ada.").await;
    assert_eq!(
        browser.cookie(&demo).await.unwrap()["session"],
        false,
        "the cookie is persistent, since the box is ticked"
    );
    assert_eq!(browser.in_cart().await, 1);

    browser.tab_to("Sign out").await;
    browser.type_keys(&Key::Enter).await;
    browser.until_at("/signed-out").await;
    browser.close().await;
}
