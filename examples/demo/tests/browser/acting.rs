use std::time::Duration;

use super::browser::Browser;
use super::demo::Demo;
use super::driver::Driver;

const MINUTE: Duration = Duration::from_secs(60);
const ACTS: &str = "ada acts as eve";

/// Has `eve` signed up, and `ada` signed up as an administrator in the returned browsers.
async fn admin_and_member(demo: &mut Demo, driver: &Driver) -> [Browser; 2] {
    let [admin, member] = [Browser::start(driver).await, Browser::start(driver).await];
    admin.sign_up(demo, "ada").await;
    member.sign_up(demo, "eve").await;
    demo.restart_with(&[("ADMIN", "ada")]);
    [admin, member]
}

async fn act_as_eve(admin: &Browser, demo: &Demo) {
    admin.open(demo, "/admin").await;
    admin.press_named("Act as this user, eve").await;
    admin.until_at("/").await;
    admin.until_says(ACTS).await;
}

async fn status(browser: &Browser) -> Option<u64> {
    browser.run("return performance.getEntriesByType('navigation')[0].responseStatus").await.as_u64()
}

/// An administrator sees the shop as a member, under a second cookie, without the cart and the rights to the password.
#[tokio::test]
async fn administrator_acts_as_a_member_and_returns() {
    let (mut demo, driver) = (Demo::start(), Driver::start());
    let [admin, member] = admin_and_member(&mut demo, &driver).await;
    admin.open(&demo, "/").await;
    admin.press_named("Add Assam to the cart").await;
    admin.until_says("Assam is in your cart.").await;
    let own = admin.token(&demo).await;
    admin.open(&demo, "/admin").await;
    assert_eq!(admin.run("return document.querySelectorAll('main form').length").await, 1, "none to act as ada");
    act_as_eve(&admin, &demo).await;

    let cookies = admin.cookies(&demo).await;
    let [first, acting] = cookies.as_slice() else { panic!("two cookies are expected in {cookies:?}") };
    assert_eq!(first["value"], own);
    assert_eq!(acting["name"], "__Host-id-acting");
    for (attribute, value) in [("httpOnly", true), ("secure", true), ("session", true)] {
        assert_eq!(acting[attribute], value, "{attribute}");
    }
    assert_eq!((&acting["sameSite"], &acting["path"]), (&"Lax".into(), &"/".into()));

    assert_eq!(admin.in_cart().await, 0);
    assert!(!admin.text().await.contains("Password"));
    for path in ["/password", "/confirm"] {
        admin.open(&demo, path).await;
        admin.until_says("This is not possible while acting").await;
        assert_eq!(status(&admin).await, Some(403), "{path}");
    }
    for page in ["/cart", "/devices"] {
        admin.open(&demo, page).await;
        admin.until_says(ACTS).await;
    }
    admin.press("Stop acting").await;
    admin.until_at("/admin").await;
    admin.until_says("You no longer act as eve.").await;
    assert_eq!(admin.token(&demo).await, own);
    assert_eq!(admin.in_cart().await, 1);

    // The sign-out button, and that of this device, end the acting session alone.
    act_as_eve(&admin, &demo).await;
    admin.sign_out().await;
    admin.until_says("You no longer act as eve.").await;
    act_as_eve(&admin, &demo).await;
    // A form that the page does not have ends no other device of the member.
    member.open(&demo, "/devices").await;
    let devices = "return [...document.querySelectorAll('.devices form')].map((form) => form.getAttribute('action'))";
    let of_member = member.run(devices).await[0].clone();
    for action in ["/devices/end-others", "/devices/name", of_member.as_str().expect("the member's own device")] {
        admin.open(&demo, "/devices").await;
        assert_eq!(admin.run("return document.querySelectorAll('main form').length").await, 1);
        admin.run(&format!("document.querySelector('.devices form').action = {action:?}")).await;
        admin.press_named("Sign out ada acts as eve (this device)").await;
        admin.until_says("This is not possible while acting").await;
    }
    member.open(&demo, "/devices").await;
    assert_eq!(member.path().await, "/devices");
    admin.open(&demo, "/devices").await;
    admin.press_named("Sign out ada acts as eve (this device)").await;
    admin.until_at("/admin").await;
    assert_eq!(admin.token(&demo).await, own);
    member.close().await;
    admin.close().await;
}

/// The member sees both names on the page of devices and ends the acting session; a form that is still open does nothing.
#[tokio::test]
async fn member_ends_the_session_of_an_administrator() {
    let (mut demo, driver) = (Demo::start(), Driver::start());
    let [admin, member] = admin_and_member(&mut demo, &driver).await;
    for button in ["Sign out ada acts as eve", "Sign out all other devices"] {
        act_as_eve(&admin, &demo).await;
        admin.open(&demo, "/devices").await;
        member.open(&demo, "/devices").await;
        let names = "return [...document.querySelectorAll('.devices h2')].map((name) => name.innerText)";
        assert_eq!(member.run(names).await, serde_json::json!(["Chrome on Linux This device", ACTS]));
        if button.ends_with("devices") {
            member.press(button).await;
        } else {
            member.press_named(button).await;
        }
        member.until_says("signed out.").await;
        assert!(!member.text().await.contains(ACTS));
        // The script of the page that is open says so.
        admin.run("await check()").await;
        admin.until_dialog(Some("changed")).await;
        admin.until_says("You no longer act as eve.").await;
        act_as_eve(&admin, &demo).await;
        member.open(&demo, "/devices").await;
        admin.open(&demo, "/devices").await;
        member.press("Sign out all other devices").await;
        member.until_says("All other devices are signed out.").await;
        admin.run("document.querySelector('.devices form').submit()").await;
        admin.until_at("/devices").await;
        admin.until_says("The page before was of a session that has ended, so nothing was done.").await;
        admin.until_says("You are signed in as ada.").await;
        assert!(!admin.text().await.contains(ACTS));
    }
    member.open(&demo, "/devices").await;
    assert_eq!(member.path().await, "/devices");
    member.close().await;
    admin.close().await;
}

/// After the administrator has signed this browser out from another, the page is over, and its cookie removed.
#[tokio::test]
async fn acting_ends_with_the_session_of_the_administrator() {
    let (mut demo, driver) = (Demo::start(), Driver::start());
    let [admin, other] = admin_and_member(&mut demo, &driver).await;
    other.sign_out().await;
    other.until_at("/signed-out").await;
    other.sign_in(&demo, "ada").await;
    act_as_eve(&admin, &demo).await;
    other.open(&demo, "/devices").await;
    other.press("Sign out all other devices").await;
    other.until_says("All other devices are signed out.").await;
    admin.run("await check()").await;
    admin.until_dialog(Some("ended")).await;
    admin.open(&demo, "/").await;
    admin.until_says("Your session has ended.").await;
    assert!(!admin.text().await.contains("acts as"));
    // The administrator's own cookie stays for a minute, for the reason.
    assert!(admin.cookies(&demo).await.iter().all(|cookie| cookie["name"] == "__Host-id"));
    other.close().await;
    admin.close().await;
}

/// "Stay signed in" counts as a use of the acting session and of the administrator's own.
#[tokio::test]
async fn staying_counts_for_both_sessions() {
    let (mut demo, driver) = (Demo::start(), Driver::start());
    let [admin, member] = admin_and_member(&mut demo, &driver).await;
    demo.restart_with(&[("ADMIN", "ada"), ("IDLE_TIMEOUT", "3600"), ("WARN_BEFORE", "1800")]);
    demo.delete_sessions().await;
    admin.sign_in(&demo, "ada").await;
    act_as_eve(&admin, &demo).await;
    demo.age_sessions(45 * MINUTE).await;
    let aged = demo.last_use().await;
    admin.run("await check()").await;
    admin.until_dialog(Some("ending")).await;
    assert_eq!(demo.last_use().await, aged, "a question is no use");
    admin.press("Stay signed in").await;
    admin.until_dialog(None).await;
    assert!(demo.last_use().await >= aged + i64::try_from(44 * MINUTE.as_millis()).unwrap());
    admin.until_says(ACTS).await;
    member.close().await;
    admin.close().await;
}

/// Before the absolute timeout of the administrator's own session, the page says so and offers to stop acting.
#[tokio::test]
async fn acting_warns_before_the_end_of_the_own_session() {
    let (mut demo, driver) = (Demo::start(), Driver::start());
    let [admin, member] = admin_and_member(&mut demo, &driver).await;
    let settings = [("ADMIN", "ada"), ("IDLE_TIMEOUT", "1200"), ("ABSOLUTE_TIMEOUT", "1200"), ("WARN_BEFORE", "1800")];
    demo.restart_with(&settings);
    admin.open(&demo, "/admin").await;
    admin.until_dialog(Some("final")).await;
    admin.run("document.querySelector('dialog[open]').close()").await;
    admin.press_named("Act as this user, eve").await;
    admin.until_at("/").await;
    admin.until_dialog(Some("final")).await;
    admin.until_says("please sign in again as yourself").await;
    assert!(!admin.text().await.contains("Sign in again"));
    admin.run("[...document.querySelectorAll('dialog[open] button')].at(-1).click()").await;
    admin.until_at("/admin").await;
    admin.until_says("You no longer act as eve.").await;
    member.close().await;
    admin.close().await;
}

/// An administrator who has lost the permission stops acting, learns why, and is still signed in.
#[tokio::test]
async fn acting_ends_without_the_permission() {
    let (mut demo, driver) = (Demo::start(), Driver::start());
    let [admin, member] = admin_and_member(&mut demo, &driver).await;
    for asks_by_script in [false, true] {
        act_as_eve(&admin, &demo).await;
        demo.change("DELETE FROM administrators").await;
        if asks_by_script {
            admin.run("await check()").await;
            admin.until_dialog(Some("ended")).await;
            admin.until_says("You can no longer act as this user.").await;
        }
        admin.open(&demo, "/devices").await;
        admin.until_at("/devices").await;
        admin.until_says("Signed in as\nada").await;
        assert!(!admin.text().await.contains(ACTS));
        assert_eq!(admin.cookies(&demo).await.len(), 1);
        demo.restart_with(&[("ADMIN", "ada")]);
    }
    member.close().await;
    admin.close().await;
}
