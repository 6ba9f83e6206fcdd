use super::browser::Browser;
use super::demo::Demo;
use super::driver::Driver;

const REFUSED: &str = "This form is out of date";

/// A form without a CSRF token or with another session's is refused, signed in or not.
#[tokio::test]
async fn form_without_the_sessions_csrf_token_answers_403() {
    let (demo, driver) = (Demo::start(), Driver::start());
    let browser = Browser::start(&driver).await;
    browser.sign_up(&demo, "ada").await;
    let other = Browser::start(&driver).await;
    other.open(&demo, "/sign-in").await;
    let other_token = other.run("return document.querySelector('[name=csrf_token]').value").await;

    let change = "for (const field of document.querySelectorAll('[name=csrf_token]'))";
    for change in [format!("{change} field.remove()"), format!("{change} field.value = {other_token}")] {
        browser.open(&demo, "/devices").await;
        browser.run(&change).await;
        browser.sign_out().await;
        browser.until_says(REFUSED).await;
        let status = browser.run("return performance.getEntriesByType('navigation')[0].responseStatus").await;
        assert_eq!(status, 403);
        browser.open(&demo, "/devices").await;
        assert_eq!(browser.path().await, "/devices");
    }
    // The form of a visitor who is not signed in is checked as well.
    other.run("document.querySelector('[name=csrf_token]').remove()").await;
    other.fill("name", "ada").await;
    other.fill("password", super::PASSWORD).await;
    other.press("Sign in").await;
    other.until_says("This page was open for too long.").await;
    other.close().await;
    browser.close().await;
}

/// Six forms posted from another origin are refused and change nothing; a link from there works.
#[tokio::test]
async fn form_on_another_site_is_refused() {
    let (demo, driver) = (Demo::start(), Driver::start());
    let browser = Browser::start(&driver).await;
    browser.sign_up(&demo, "ada").await;
    let token = browser.token(&demo).await;
    let (elsewhere, refused) = ("This form is not ours", REFUSED);
    for (path, refusal) in [
        ("/add", elsewhere),
        ("/sign-in", elsewhere),
        ("/sign-up", elsewhere),
        ("/session", elsewhere),
        ("/sign-out", refused),
        ("/devices/end-others", refused),
    ] {
        let url = demo.url(path);
        let page = format!("<form method=post action='{url}'><input name=tea value=assam><button>Win</button></form>");
        browser.open_url(&format!("data:text/html,{page}")).await;
        browser.press("Win").await;
        browser.until_says(refusal).await;
        assert_eq!(browser.token(&demo).await, token);
    }
    // A link from another site sends the `SameSite=Lax` cookie.
    browser.open_url(&format!("data:text/html,<a href='{}'>Look</a>", demo.url("/devices"))).await;
    browser.follow("Look").await;
    browser.until_at("/devices").await;
    assert_eq!(browser.in_cart().await, 0);
    browser.close().await;
}
