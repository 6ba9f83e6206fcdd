use super::browser::Browser;
use super::demo::Demo;
use super::driver::Driver;

#[tokio::test]
async fn two_profiles_are_two_devices_and_one_ends_the_other() {
    let (demo, driver) = (Demo::start(), Driver::start());
    let laptop = Browser::start(&driver).await;
    laptop.sign_up(&demo, "ada").await;
    let phone = Browser::start_phone(&driver).await;
    phone.sign_in(&demo, "ada").await;

    laptop.open(&demo, "/devices").await;
    let names = "return [...document.querySelectorAll('.devices h2')].map((name) => name.innerText)";
    let both = ["Chrome on Linux This device", "Chrome on Android"];
    assert_eq!(laptop.run(names).await, serde_json::json!(both));
    assert!(laptop.text().await.contains("Last seen just now"));

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

#[tokio::test]
async fn all_others_end_at_once_and_nobody_ends_a_strangers() {
    let (demo, driver) = (Demo::start(), Driver::start());
    let laptop = Browser::start(&driver).await;
    laptop.sign_up(&demo, "ada").await;
    let phone = Browser::start_phone(&driver).await;
    phone.sign_in(&demo, "ada").await;
    let stranger = Browser::start(&driver).await;
    stranger.sign_up(&demo, "eve").await;

    // An id is no secret: eve knows the one of ada's telephone, and puts it into her own form.
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
