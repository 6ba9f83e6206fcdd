//! Accessibility of every page in two widths and both color schemes, with a screenshot of each.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::browser::Browser;
use super::demo::Demo;
use super::driver::Driver;

/// Script that returns a list of the page's accessibility problems.
const CHECK_SCRIPT: &str = include_str!("accessibility.js");

/// A name of maximum length without a space, so that no line can break in it.
const NAME: &str = "Wilhelmina-Philippina-Antoinette";

/// A WCAG 2.2 AA script checks 32 page states at 360 and 1280 pixels, light and dark, and finds no problem.
#[tokio::test]
async fn every_page_is_accessible_at_each_width_and_color_scheme() {
    let (mut demo, driver) = (Demo::start(), Driver::start());
    let browser = Browser::start(&driver).await;
    let mut checks = PageChecks { browser: &browser, problems: Vec::new() };

    for (name, path) in [("teas", "/"), ("empty-cart", "/cart"), ("sign-in", "/sign-in"), ("sign-up", "/sign-up")] {
        browser.open(&demo, path).await;
        checks.check(name).await;
    }
    browser.open(&demo, "/sign-in").await;
    browser.fill("name", "ada").await;
    browser.fill("password", "wrong").await;
    browser.press("Sign in").await;
    browser.until_says("do not match").await;
    checks.check("sign-in-refused").await;
    browser.open(&demo, "/sign-up").await;
    browser.fill("name", NAME).await;
    browser.fill("password", "password").await;
    browser.press("Sign up").await;
    browser.until_says("first that others would try").await;
    checks.check("sign-up-refused").await;

    browser.open(&demo, "/").await;
    for tea in ["Assam", "Sencha", "Sencha", "Lapsang Souchong"] {
        browser.press_named(&format!("Add {tea} to the cart")).await;
        browser.until_says(&format!("{tea} is in your cart.")).await;
    }
    checks.check("teas-added").await;
    browser.open(&demo, "/cart").await;
    checks.check("cart").await;
    browser.sign_up(&demo, NAME).await;
    checks.check("teas-signed-in").await;
    browser.open(&demo, "/cart").await;
    checks.check("cart-signed-in").await;

    let phone = Browser::start_phone(&driver).await;
    phone.sign_in(&demo, NAME).await;
    browser.open(&demo, "/devices").await;
    checks.check("devices").await;
    browser.press("Sign out all other devices").await;
    browser.until_says("All other devices are signed out.").await;
    checks.check("devices-alone").await;
    phone.run("await check()").await;
    phone.until_dialog(Some("ended")).await;
    let mut on_phone = PageChecks { browser: &phone, problems: Vec::new() };
    on_phone.check("ended").await;
    checks.problems.append(&mut on_phone.problems);
    browser.open(&demo, "/password").await;
    checks.check("password").await;
    browser.fill("password", "short").await;
    browser.press("Change the password").await;
    browser.until_says("at least 8 characters.").await;
    checks.check("password-refused").await;
    browser.open(&demo, "/cart").await;
    browser.press("Order").await;
    browser.until_says("4 packets are on their way.").await;
    checks.check("ordered").await;
    demo.stop();
    browser.press_named("Add Assam to the cart").await;
    browser.until_says("That did not work.").await;
    checks.check("teas-failed").await;
    demo.restart_with(&[("WARN_BEFORE", "3600")]);
    browser.open(&demo, "/devices").await;
    browser.until_dialog(Some("ending")).await;
    checks.check("ending").await;
    demo.restart_with(&[("IDLE_TIMEOUT", "3600"), ("ABSOLUTE_TIMEOUT", "3600"), ("WARN_BEFORE", "3600")]);
    browser.open(&demo, "/devices").await;
    browser.until_dialog(Some("final")).await;
    checks.check("final").await;
    demo.restart_with(&[("CONFIRM_WITHIN", "0")]);
    browser.open(&demo, "/password").await;
    checks.check("confirm").await;
    browser.fill("password", "wrong").await;
    browser.press("Confirm").await;
    browser.until_says("This is not your password.").await;
    checks.check("confirm-refused").await;
    browser.open(&demo, "/admin").await;
    browser.until_says("This page is for administrators").await;
    checks.check("not-administrator").await;
    demo.restart_with(&[("ADMIN", NAME)]);
    browser.open(&demo, "/admin").await;
    browser.until_says("Administrator").await;
    phone.sign_up(&demo, "Bo").await;
    browser.open(&demo, "/admin").await;
    checks.check("admin").await;
    browser.press_named("Act as this user, Bo").await;
    browser.until_says("acts as Bo").await;
    checks.check("acting").await;
    browser.open(&demo, "/devices").await;
    checks.check("acting-devices").await;
    browser.open(&demo, "/password").await;
    browser.until_says("This is not possible while acting").await;
    checks.check("acting-refused").await;
    browser.open(&demo, "/").await;
    browser.run("document.querySelector('#changed').showModal()").await;
    checks.check("changed").await;
    browser.run("document.querySelector('#changed').close()").await;
    browser.press("Stop acting").await;
    browser.until_at("/admin").await;
    browser.sign_out().await;
    browser.until_at("/signed-out").await;
    checks.check("signed-out").await;
    browser.open(&demo, "/nowhere").await;
    checks.check("not-found").await;
    browser.open(&demo, "/sign-in").await;
    browser.run("document.querySelector('[name=csrf_token]').remove()").await;
    browser.fill("name", NAME).await;
    browser.fill("password", "wrong").await;
    browser.press("Sign in").await;
    browser.until_says("This page was open for too long").await;
    checks.check("sign-in-outdated").await;
    browser.open(&demo, "/sign-in?ended=true&next=/devices").await;
    browser.until_says("Your session has ended.").await;
    checks.check("sign-in-ended").await;
    browser.sign_in(&demo, NAME).await;
    browser.open(&demo, "/devices").await;
    demo.delete_sessions().await;
    browser.run("document.querySelector('.devices form').submit()").await;
    browser.until_says("This form is out of date").await;
    checks.check("forbidden").await;

    assert!(checks.problems.is_empty(), "{:#?}", checks.problems);
    phone.close().await;
    browser.close().await;
}

struct PageChecks<'a> {
    browser: &'a Browser,
    problems: Vec<String>,
}

impl PageChecks<'_> {
    async fn check(&mut self, name: &str) {
        for width in [360, 1280] {
            for scheme in ["light", "dark"] {
                self.set_display(width, scheme).await;
                let problems = self.browser.run(CHECK_SCRIPT).await;
                for problem in problems.as_array().unwrap() {
                    self.problems.push(format!("{name}, {width} pixels, {scheme}: {problem}"));
                }
                self.save_screenshot(&format!("{name}-{width}-{scheme}.png"), width).await;
            }
        }
    }

    async fn set_display(&self, width: u32, scheme: &str) {
        let metrics = json!({
            "width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600,
            "screenWidth": width, "screenHeight": 800,
        });
        self.browser.devtools("Emulation.setDeviceMetricsOverride", metrics).await;
        let media = json!({ "features": [
            { "name": "prefers-color-scheme", "value": scheme },
            { "name": "prefers-reduced-motion", "value": "reduce" },
        ] });
        self.browser.devtools("Emulation.setEmulatedMedia", media).await;
        self.browser
            .until(&format!("screen.width === {width} && matchMedia('(prefers-color-scheme: {scheme})').matches"))
            .await;
    }

    async fn save_screenshot(&self, file: &str, width: u32) {
        let height = self.browser.run("scrollTo(0, 0); return document.documentElement.scrollHeight").await;
        let clip = json!({ "x": 0, "y": 0, "width": width, "height": height, "scale": 1 });
        let screenshot = json!({ "format": "png", "captureBeyondViewport": true, "clip": clip });
        let screenshot = self.browser.devtools("Page.captureScreenshot", screenshot).await;
        let Value::String(data) = &screenshot["data"] else { panic!("no screenshot: {screenshot}") };
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("demo");
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join(file), base64::Engine::decode(&base64::prelude::BASE64_STANDARD, data).unwrap())
            .unwrap();
    }
}
