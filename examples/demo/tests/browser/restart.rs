use super::browser::Browser;
use super::demo::Demo;
use super::driver::Driver;

#[tokio::test]
async fn sessions_outlive_the_server() {
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
    // A form from before the restart would do as well: its token is the session's, not the process's.
    browser.press_out().await;
    browser.until_at("/signed-out").await;
    browser.close().await;
}
