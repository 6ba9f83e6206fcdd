use super::browser::Browser;
use super::demo::Demo;
use super::driver::Driver;

/// After the demo is killed and restarted, the user is signed in with the same token and cart.
#[tokio::test]
async fn sessions_survive_a_server_restart() {
    let (mut demo, driver) = (Demo::start(), Driver::start());
    let browser = Browser::start(&driver).await;
    browser.sign_up(&demo, "ada").await;
    browser.press_named("Add Oolong to the cart").await;
    browser.until_says("Oolong is in your cart.").await;
    let token = browser.token(&demo).await;

    demo.restart();
    browser.open(&demo, "/devices").await;
    assert_eq!(browser.path().await, "/devices");
    assert_eq!(browser.in_cart().await, 1);
    assert_eq!(browser.token(&demo).await, token);
    // CSRF tokens belong to the session, so forms from before the restart stay valid.
    browser.sign_out().await;
    browser.until_at("/signed-out").await;
    browser.close().await;
}
