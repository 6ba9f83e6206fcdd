use std::collections::BTreeSet;

use super::browser::Browser;
use super::demo::Demo;
use super::driver::Driver;

/// Thirty concurrent requests of one page return thirty different counts, and the cart holds all packets.
#[tokio::test]
async fn thirty_concurrent_cart_requests_are_all_counted() {
    let (demo, driver) = (Demo::start(), Driver::start());
    let browser = Browser::start(&driver).await;
    browser.sign_up(&demo, "ada").await;
    browser.press_named("Add Sencha to the cart").await;
    browser.until_says("Sencha is in your cart.").await;

    let thirty_requests = "const add = () => fetch('/add', {
            method: 'POST', headers: { Accept: 'application/json' }, body: new URLSearchParams({ tea: 'sencha' }) });
        const answers = await Promise.all(Array.from({ length: 30 }, add));
        return Promise.all(answers.map(async (answer) => (await answer.json()).count))";
    let counts: BTreeSet<u64> = serde_json::from_value(browser.run(thirty_requests).await).unwrap();
    // Each response has a different count.
    assert_eq!(counts, (2..=31).collect());
    browser.open(&demo, "/cart").await;
    assert_eq!(browser.in_cart().await, 31);
    browser.close().await;
}

/// The button that adds twelve teas concurrently leaves one packet of each in the cart.
#[tokio::test]
async fn concurrent_requests_for_each_tea_add_each_once() {
    let (demo, driver) = (Demo::start(), Driver::start());
    let browser = Browser::start(&driver).await;
    browser.open(&demo, "/").await;
    browser.press("Add one of each, all at once").await;
    browser.until_says("12 requests, all at once: your cart holds 12 packets.").await;
    browser.open(&demo, "/cart").await;
    let packets =
        "return [...document.querySelectorAll('.packets')].map((count) => parseInt(count.innerText.match(/\\d+/)))";
    assert_eq!(browser.run(packets).await, serde_json::json!(vec![1; 12]));
    browser.close().await;
}
