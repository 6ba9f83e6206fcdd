use super::PASSWORD;
use super::browser::Browser;
use super::demo::Demo;
use super::driver::Driver;

/// A wrong password, an unknown name, and both give identical page texts and an empty password field.
#[tokio::test]
async fn unknown_name_and_wrong_password_show_the_same_page() {
    let (demo, driver) = (Demo::start(), Driver::start());
    let browser = Browser::start(&driver).await;
    browser.sign_up(&demo, "ada").await;
    browser.sign_out().await;
    browser.until_at("/signed-out").await;

    let mut texts = Vec::new();
    for (name, password) in [("ada", "not the password"), ("bob", PASSWORD), ("bob", "not the password")] {
        browser.open(&demo, "/sign-in").await;
        browser.fill("name", name).await;
        browser.fill("password", password).await;
        browser.press("Sign in").await;
        browser.until_says("Name and password do not match.").await;
        assert_eq!(browser.run("return document.querySelector('#password').value").await, "");
        texts.push(browser.text().await);
    }
    assert!(texts.iter().all(|text| *text == texts[0]), "{texts:?}");
    browser.close().await;
}

/// After ten concurrent guesses the correct password is refused; a session that was signed in before stays.
#[tokio::test]
async fn ten_wrong_passwords_block_further_sign_ins() {
    let (demo, driver) = (Demo::start(), Driver::start());
    let browser = Browser::start(&driver).await;
    browser.sign_up(&demo, "ada").await;
    let other = Browser::start(&driver).await;
    other.open(&demo, "/sign-in").await;
    // Concurrent guesses are all counted.
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
    // The limit does not affect a session that is signed in already.
    browser.open(&demo, "/devices").await;
    assert_eq!(browser.path().await, "/devices");
    other.close().await;
    browser.close().await;
}

/// Short and common passwords and a taken name show their reason, and the name field keeps its value.
#[tokio::test]
async fn refused_sign_up_shows_the_reason_and_keeps_the_name() {
    let (demo, driver) = (Demo::start(), Driver::start());
    let browser = Browser::start(&driver).await;
    browser.sign_up(&demo, "ada").await;
    let other = Browser::start(&driver).await;
    for (name, password, error) in [
        ("bob", "short", "at least 8 characters"),
        ("bob", "password", "first that others would try"),
        ("wilhelmina", "Wilhelmina", "first that others would try"),
        ("Ada", PASSWORD, "This name is taken."),
    ] {
        other.open(&demo, "/sign-up").await;
        other.fill("name", name).await;
        other.fill("password", password).await;
        other.press("Sign up").await;
        other.until_says(error).await;
        assert_eq!(other.run("return document.querySelector('#name').value").await, name);
    }
    other.close().await;
    browser.close().await;
}

/// After the sign-in the requested page opens; targets on other sites lead to the start page.
#[tokio::test]
async fn sign_in_redirects_to_pages_of_this_site_only() {
    let (demo, driver) = (Demo::start(), Driver::start());
    let browser = Browser::start(&driver).await;
    browser.sign_up(&demo, "ada").await;
    for (asked, target) in [
        ("/devices?view=all&of=a%26b", "/devices?view=all&of=a%26b"),
        ("/sign-in?next=/cart", "/cart"),
        ("/sign-in?next=https://example.org/", "/"),
        ("/sign-in?next=//example.org", "/"),
        ("/sign-in?next=%2F%5Cexample.org", "/"),
        ("/sign-in?next=javascript:alert(1)", "/"),
    ] {
        browser.open(&demo, "/").await;
        browser.sign_out().await;
        browser.until_at("/signed-out").await;
        browser.open(&demo, asked).await;
        assert_eq!(browser.path().await, "/sign-in");
        browser.fill("name", "ada").await;
        browser.fill("password", PASSWORD).await;
        browser.press("Sign in").await;
        browser.until_at(target).await;
        browser.until_says("Welcome back, ada.").await;
        // A flash message is shown once.
        browser.open(&demo, "/").await;
        assert!(!browser.text().await.contains("Welcome"));
    }
    browser.close().await;
}

/// A request that is not a page's is refused without a sign-in; the sign-in leads to its page, and does not repeat it.
#[tokio::test]
async fn sign_in_repeats_no_order() {
    let (demo, driver) = (Demo::start(), Driver::start());
    let browser = Browser::start(&driver).await;
    browser.sign_up(&demo, "ada").await;
    browser.sign_out().await;
    browser.until_at("/signed-out").await;
    browser.open(&demo, "/").await;
    browser.press_named("Add Assam to the cart").await;
    browser.until_says("Assam is in your cart.").await;
    browser.open(&demo, "/cart?from=mail").await;
    browser.run("document.querySelector('form[action=\"/cart/assam/more\"]').action = '/cart/order'").await;
    browser.press_named("One Assam more").await;
    browser.until_says("Please sign in to order.").await;
    browser.until_at("/sign-in?next=%2Fcart%3Ffrom%3Dmail").await;
    // A form that was changed leads to this site all the same.
    browser.run("document.querySelector('[name=next]').value = 'https://example.org/cart'").await;
    browser.fill("name", "ada").await;
    browser.fill("password", "not the password").await;
    browser.press("Sign in").await;
    browser.until_says("Name and password do not match.").await;
    assert_eq!(browser.run("return document.querySelector('[name=next]').value").await, "/");
    browser.open(&demo, "/sign-in?next=%2Fcart%3Ffrom%3Dmail").await;
    browser.fill("name", "ada").await;
    browser.fill("password", PASSWORD).await;
    browser.press("Sign in").await;
    browser.until_at("/cart?from=mail").await;
    browser.until_says("Welcome back, ada.").await;
    assert_eq!(browser.in_cart().await, 1);
    browser.close().await;
}

/// The sign-in page says how long a session lasts with and without the tick, from the settings.
#[tokio::test]
async fn sign_in_page_says_how_long_a_session_lasts() {
    let (mut demo, driver) = (Demo::start(), Driver::start());
    let browser = Browser::start(&driver).await;
    let remembered = "Your session ends after 14 days without a visit, and after 90 days at the latest.";
    let usual = "Without the tick it ends after an hour without a visit, and after a day at the latest";
    let short = "Without the tick it ends after 5 minutes without a visit, and after 2 hours at the latest";
    for (environment, other) in [(&[][..], usual), (&[("IDLE_TIMEOUT", "300"), ("ABSOLUTE_TIMEOUT", "7200")], short)] {
        demo.restart_with(environment);
        for path in ["/sign-in", "/sign-up"] {
            browser.open(&demo, path).await;
            browser.until_says(remembered).await;
            browser.until_says(other).await;
        }
    }
    browser.close().await;
}
