use super::browser::Browser;
use super::demo::Demo;
use super::driver::Driver;

#[tokio::test]
async fn after_a_sign_out_the_back_button_shows_nothing_private() {
    let (demo, driver) = (Demo::start(), Driver::start());
    let browser = Browser::start(&driver).await;
    browser.sign_up(&demo, "ada").await;
    browser.open(&demo, "/devices").await;
    browser.until_says("Your devices").await;
    browser.open(&demo, "/password").await;
    browser.until_says("Change your password").await;
    browser.press_out().await;
    browser.until_at("/signed-out").await;

    browser.back().await;
    browser.until_at("/sign-in?to=password").await;
    assert!(!browser.text().await.contains("ada"));
    browser.back().await;
    browser.until_at("/sign-in?to=devices").await;
    assert!(!browser.text().await.contains("ada"));
    browser.close().await;
}
