use super::browser::Browser;
use super::demo::Demo;
use super::driver::Driver;

/// Two browser profiles are listed by name; one signs the other out and stays signed in itself.
#[tokio::test]
async fn device_list_shows_and_ends_another_device() {
    let (demo, driver) = (Demo::start(), Driver::start());
    let [laptop, phone] = Browser::start_two(&driver, &demo, "ada").await;

    laptop.open(&demo, "/devices").await;
    let names = "return [...document.querySelectorAll('.devices h2')].map((name) => name.innerText)";
    let both = ["Chrome on Linux This device", "Chrome on Android"];
    assert_eq!(laptop.run(names).await, serde_json::json!(both));
    assert!(laptop.text().await.contains("Last used just now"));

    laptop.press_named("Sign out Chrome on Android").await;
    laptop.until_says("The device is signed out.").await;
    assert_eq!(laptop.run(names).await, serde_json::json!(both[..1]));

    phone.open(&demo, "/devices").await;
    assert_eq!(phone.path().await, "/sign-in");
    assert!(!phone.text().await.contains("ada"));
    laptop.open(&demo, "/devices").await;
    assert_eq!(laptop.path().await, "/devices");
    phone.close().await;
    laptop.close().await;
}

/// Another user's form with the phone's session id ends nothing; ending all others ends the owner's phone only.
#[tokio::test]
async fn ending_devices_affects_only_the_owners_sessions() {
    let (demo, driver) = (Demo::start(), Driver::start());
    let [laptop, phone] = Browser::start_two(&driver, &demo, "ada").await;
    let stranger = Browser::start(&driver).await;
    stranger.sign_up(&demo, "eve").await;

    // Session ids are not secret: Eve submits the id of Ada's phone in a form of her session.
    laptop.open(&demo, "/devices").await;
    let action =
        laptop.run("return [...document.querySelectorAll('.devices form')].at(-1).getAttribute('action')").await;
    stranger.open(&demo, "/devices").await;
    stranger.run(&format!("document.querySelector('.devices form').action = {action}")).await;
    stranger.press_named("Sign out Chrome on Linux (this device)").await;
    stranger.until_says("That device was signed out already.").await;
    phone.open(&demo, "/devices").await;
    assert_eq!(phone.path().await, "/devices");

    laptop.press("Sign out all other devices").await;
    laptop.until_says("All other devices are signed out.").await;
    for (browser, path) in [(&phone, "/sign-in"), (&laptop, "/devices"), (&stranger, "/devices")] {
        browser.open(&demo, "/devices").await;
        assert_eq!(browser.path().await, path);
    }
    for browser in [stranger, phone, laptop] {
        browser.close().await;
    }
}

/// Without a sign-in the list of devices leads to the sign-in page, which says why, and back.
#[tokio::test]
async fn sign_in_page_says_why_it_asks() {
    let (demo, driver) = (Demo::start(), Driver::start());
    let browser = Browser::start(&driver).await;
    browser.sign_up(&demo, "ada").await;
    for (path, purpose) in [
        ("/devices", "Please sign in to see your devices."),
        ("/password", "Please sign in to change your password."),
        ("/sign-in?next=/cart", "Please sign in to order."),
    ] {
        browser.open(&demo, "/").await;
        browser.sign_out().await;
        browser.until_at("/signed-out").await;
        browser.open(&demo, path).await;
        browser.until_says(purpose).await;
        browser.fill("name", "ada").await;
        browser.fill("password", super::PASSWORD).await;
        browser.press("Sign in").await;
        browser.until_at(if path == "/sign-in?next=/cart" { "/cart" } else { path }).await;
    }
    browser.close().await;
}

/// Two alike devices show when their sessions began and were last used, and a name that one of them was given.
#[tokio::test]
async fn alike_devices_are_told_apart() {
    let (demo, driver) = (Demo::start(), Driver::start());
    let laptop = Browser::start(&driver).await;
    laptop.sign_up(&demo, "ada").await;
    let other = Browser::start(&driver).await;
    other.sign_in(&demo, "ada").await;
    other.open(&demo, "/devices").await;
    let names = "return [...document.querySelectorAll('.devices h2')].map((name) => name.firstChild.data.trim())";
    assert_eq!(other.run(names).await, serde_json::json!(["Chrome on Linux", "Chrome on Linux"]));
    other.fill("device", "  <Kitchen> laptop ").await;
    other.press("Save the name").await;
    other.until_says("The name is saved.").await;

    laptop.open(&demo, "/devices").await;
    assert_eq!(laptop.run(names).await, serde_json::json!(["Chrome on Linux", "<Kitchen> laptop"]));
    let cards =
        laptop.run("return [...document.querySelectorAll('.devices .what')].map((card) => card.innerText)").await;
    for card in cards.as_array().unwrap() {
        let card = card.as_str().unwrap();
        assert!(card.contains("Chrome on Linux") && card.contains("Last used ") && card.contains("Began "), "{card}");
        assert!(card.contains(" UTC"), "{card}");
    }

    // Without a name, the device has its kind again.
    other.fill("device", "").await;
    other.press("Save the name").await;
    other.until_says("The name is saved.").await;
    assert_eq!(other.run(names).await, serde_json::json!(["Chrome on Linux", "Chrome on Linux"]));

    laptop.press_named("Sign out <Kitchen> laptop").await;
    laptop.until_says("The device is signed out.").await;
    other.close().await;
    laptop.close().await;
}
