use super::browser::Browser;
use super::demo::Demo;
use super::driver::Driver;

/// Going back twice after a sign-out leads to the sign-in page without the user's name.
#[tokio::test]
async fn back_button_after_sign_out_shows_no_private_page() {
    let (demo, driver) = (Demo::start(), Driver::start());
    let browser = Browser::start(&driver).await;
    browser.sign_up(&demo, "ada").await;
    browser.open(&demo, "/devices").await;
    browser.until_says("Your devices").await;
    browser.open(&demo, "/password").await;
    browser.until_says("Change your password").await;
    browser.sign_out().await;
    browser.until_at("/signed-out").await;

    browser.back().await;
    browser.until_at("/sign-in?next=%2Fpassword").await;
    assert!(!browser.text().await.contains("ada"));
    browser.back().await;
    browser.until_at("/sign-in?next=%2Fdevices").await;
    assert!(!browser.text().await.contains("ada"));
    browser.close().await;
}
