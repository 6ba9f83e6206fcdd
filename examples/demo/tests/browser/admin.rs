use super::PASSWORD;
use super::browser::Browser;
use super::demo::Demo;
use super::driver::Driver;

const REFUSED: &str = "This page is for administrators";

/// The list of users asks a visitor to sign in, refuses a member with 403, and opens for an administrator while that is one.
#[tokio::test]
async fn list_of_users_is_for_administrators() {
    let (mut demo, driver) = (Demo::start(), Driver::start());
    let browser = Browser::start(&driver).await;
    let status = "return performance.getEntriesByType('navigation')[0].responseStatus";
    for name in ["ada", "eve"] {
        browser.sign_up(&demo, name).await;
        browser.sign_out().await;
        browser.until_at("/signed-out").await;
    }
    browser.open(&demo, "/admin").await;
    browser.until_at("/sign-in?next=%2Fadmin").await;
    browser.until_says("Please sign in as an administrator.").await;
    browser.fill("name", "ada").await;
    browser.fill("password", PASSWORD).await;
    browser.press("Sign in").await;
    browser.until_says(REFUSED).await;
    assert_eq!((browser.path().await.as_str(), browser.run(status).await.as_u64()), ("/admin", Some(403)));
    browser.open(&demo, "/").await;
    assert!(!browser.text().await.contains("Users"));

    // Names are without case. The role outlasts the start that gave it, and the user need not sign in again.
    demo.restart_with(&[("ADMIN", "Ada")]);
    demo.restart();
    browser.open(&demo, "/").await;
    browser.follow("Users").await;
    browser.until_at("/admin").await;
    let names = "return [...document.querySelectorAll('.devices h2')].map((name) => name.innerText)";
    assert_eq!(browser.run(names).await, serde_json::json!(["ada Administrator", "eve"]));

    demo.change("DELETE FROM administrators").await;
    browser.open(&demo, "/admin").await;
    browser.until_says(REFUSED).await;
    browser.close().await;
}
