use super::PASSWORD;
use super::browser::Browser;
use super::demo::Demo;
use super::driver::Driver;

#[tokio::test]
async fn an_unknown_name_and_a_wrong_password_are_told_the_same() {
    let (demo, driver) = (Demo::start(), Driver::start());
    let browser = Browser::start(&driver).await;
    browser.sign_up(&demo, "ada").await;
    browser.press_out().await;
    browser.until_at("/signed-out").await;

    let mut told = Vec::new();
    for (name, password) in [("ada", "not the password"), ("bob", PASSWORD), ("bob", "nobody")] {
        browser.open(&demo, "/sign-in").await;
        browser.fill("name", name).await;
        browser.fill("password", password).await;
        browser.press("Sign in").await;
        browser.until_says("Name and password do not match.").await;
        assert_eq!(browser.run("return document.querySelector('#password').value").await, "");
        told.push(browser.text().await);
    }
    assert!(told.iter().all(|text| *text == told[0]), "{told:?}");
    browser.close().await;
}

#[tokio::test]
async fn after_ten_wrong_passwords_the_right_one_is_not_taken_either() {
    let (demo, driver) = (Demo::start(), Driver::start());
    let browser = Browser::start(&driver).await;
    browser.sign_up(&demo, "ada").await;
    let other = Browser::start(&driver).await;
    other.open(&demo, "/sign-in").await;
    // All at once: each counts.
    let guess = "const form = new FormData(document.querySelector('main form'));
        const guess = (n) => fetch('/sign-in', { method: 'POST', body: new URLSearchParams({
            csrf_token: form.get('csrf_token'), name: 'ada', password: `guess ${n}` }) });
        const answers = await Promise.all(Array.from({ length: 10 }, (_, n) => guess(n)));
        return answers.map((answer) => answer.status)";
    assert_eq!(other.run(guess).await, serde_json::json!(vec![422; 10]));
    other.fill("name", "Ada").await;
    other.fill("password", PASSWORD).await;
    other.press("Sign in").await;
    other.until_says("Too many wrong passwords for this name.").await;
    // Whoever is signed in stays so.
    browser.open(&demo, "/devices").await;
    assert_eq!(browser.path().await, "/devices");
    other.close().await;
    browser.close().await;
}

#[tokio::test]
async fn a_form_that_cannot_be_taken_says_why_and_keeps_the_name() {
    let (demo, driver) = (Demo::start(), Driver::start());
    let browser = Browser::start(&driver).await;
    browser.sign_up(&demo, "ada").await;
    let other = Browser::start(&driver).await;
    for (name, password, why) in [
        ("bob", "short", "at least 8 characters"),
        ("bob", "password", "first that others would try"),
        ("wilhelmina", "Wilhelmina", "first that others would try"),
        ("Ada", PASSWORD, "This name is taken."),
    ] {
        other.open(&demo, "/sign-up").await;
        other.fill("name", name).await;
        other.fill("password", password).await;
        other.press("Sign up").await;
        other.until_says(why).await;
        assert_eq!(other.run("return document.querySelector('#name').value").await, name);
    }
    other.close().await;
    browser.close().await;
}

#[tokio::test]
async fn a_sign_in_leads_back_to_the_page_that_asked_for_it_and_to_no_other_site() {
    let (demo, driver) = (Demo::start(), Driver::start());
    let browser = Browser::start(&driver).await;
    browser.sign_up(&demo, "ada").await;
    for (asked, landed) in [
        ("/devices", "/devices"),
        ("/sign-in?to=cart", "/cart"),
        ("/sign-in?to=https://example.org/", "/"),
        ("/sign-in?to=//example.org", "/"),
    ] {
        browser.open(&demo, "/").await;
        browser.press_out().await;
        browser.until_at("/signed-out").await;
        browser.open(&demo, asked).await;
        assert_eq!(browser.path().await, "/sign-in");
        browser.fill("name", "ada").await;
        browser.fill("password", PASSWORD).await;
        browser.press("Sign in").await;
        browser.until_at(landed).await;
        browser.until_says("Welcome back, ada.").await;
        // It is said once.
        browser.open(&demo, "/").await;
        assert!(!browser.text().await.contains("Welcome"));
    }
    browser.close().await;
}
