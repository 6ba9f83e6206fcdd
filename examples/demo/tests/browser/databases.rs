//! The demo with its `DATABASE_URL`, on real servers.

use super::browser::Browser;
use super::demo::Demo;
use super::driver::Driver;
use super::servers::Server;

#[tokio::test]
async fn on_postgres() {
    sessions_live_here(Server::postgres()).await;
}

#[tokio::test]
async fn on_mariadb() {
    sessions_live_here(Server::mariadb()).await;
}

#[tokio::test]
async fn on_redis() {
    sessions_live_here(Server::redis()).await;
}

/// A cart, an account, a second device, a restart, and the way out.
async fn sessions_live_here(server: Server) {
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
    laptop.press_out().await;
    laptop.until_at("/signed-out").await;
    demo.restart();
    laptop.open(&demo, "/devices").await;
    assert_eq!(laptop.path().await, "/sign-in");

    // They are there and nowhere else: without the server nobody's session can be read, and who has none goes on.
    drop(server);
    phone.open(&demo, "/devices").await;
    phone.until_says("One moment, please").await;
    let newcomer = Browser::start(&driver).await;
    newcomer.open(&demo, "/").await;
    newcomer.until_says("Teas of the season").await;
    newcomer.close().await;
    phone.close().await;
    laptop.close().await;
}
