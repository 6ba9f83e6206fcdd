//! The demo with `DATABASE_URL` on real servers.

use super::browser::Browser;
use super::demo::Demo;
use super::driver::Driver;
use super::servers::Server;

/// Cart, devices and sign-out survive restarts; without the server sessions are unavailable.
#[tokio::test]
async fn demo_works_on_postgres() {
    check_demo_on(Server::postgres()).await;
}

/// Cart, devices and sign-out survive restarts; without the server sessions are unavailable.
#[tokio::test]
async fn demo_works_on_mariadb() {
    check_demo_on(Server::mariadb()).await;
}

/// Cart, devices and sign-out survive restarts; without the server sessions are unavailable.
#[tokio::test]
async fn demo_works_on_redis() {
    check_demo_on(Server::redis()).await;
}

/// Fills a cart, signs up, adds a device, restarts the demo, signs out, and stops the database.
async fn check_demo_on(server: Server) {
    let (mut demo, driver) = (Demo::start_on(server.url()), Driver::start());
    let laptop = Browser::start(&driver).await;
    laptop.open(&demo, "/").await;
    laptop.press_named("Add Oolong to the cart").await;
    laptop.until_says("Oolong is in your cart.").await;
    laptop.press("Add one of each, all at once").await;
    laptop.until_says("your cart holds 13 packets").await;
    laptop.sign_up(&demo, "ada").await;
    assert_eq!(laptop.in_cart().await, 13);
    let phone = Browser::start_phone(&driver).await;
    phone.sign_in(&demo, "ada").await;

    let token = laptop.token(&demo).await;
    demo.restart();
    laptop.open(&demo, "/devices").await;
    laptop.until_says("Chrome on Android").await;
    assert_eq!((laptop.in_cart().await, laptop.token(&demo).await), (13, token));

    laptop.press("Sign out all other devices").await;
    laptop.until_says("All other devices are signed out.").await;
    phone.open(&demo, "/devices").await;
    assert_eq!(phone.path().await, "/sign-in");
    laptop.sign_out().await;
    laptop.until_at("/signed-out").await;
    demo.restart();
    laptop.open(&demo, "/devices").await;
    assert_eq!(laptop.path().await, "/sign-in");

    // Without the database, a session cannot be loaded, and a visitor without a session is served.
    drop(server);
    phone.open(&demo, "/devices").await;
    phone.until_says("One moment, please").await;
    let new_visitor = Browser::start(&driver).await;
    new_visitor.open(&demo, "/").await;
    new_visitor.until_says("Teas of the season").await;
    new_visitor.close().await;
    phone.close().await;
    laptop.close().await;
}
