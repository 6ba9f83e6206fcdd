//! Every page, at the width of a telephone and of a desk, by day and by night: looked at by a script, and kept as a picture.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::browser::Browser;
use super::demo::Demo;
use super::driver::Driver;

/// Answers what is wrong with the page, as a list of sentences.
const LOOK: &str = include_str!("accessibility.js");

/// As long as a name may be, and without a space to break at.
const NAME: &str = "Wilhelmina-Philippina-Antoinette";

#[tokio::test]
async fn every_page_can_be_read_and_used_at_every_width_by_day_and_by_night() {
    let (mut demo, driver) = (Demo::start(), Driver::start());
    let browser = Browser::start(&driver).await;
    let mut gallery = Gallery { browser: &browser, wrong: Vec::new() };

    for (name, path) in [("teas", "/"), ("empty-cart", "/cart"), ("sign-in", "/sign-in"), ("sign-up", "/sign-up")] {
        browser.open(&demo, path).await;
        gallery.add(name).await;
    }
    browser.open(&demo, "/sign-in").await;
    browser.fill("name", "ada").await;
    browser.fill("password", "wrong").await;
    browser.press("Sign in").await;
    browser.until_says("do not match").await;
    gallery.add("sign-in-refused").await;
    browser.open(&demo, "/sign-up").await;
    browser.fill("name", NAME).await;
    browser.fill("password", "password").await;
    browser.press("Sign up").await;
    browser.until_says("first that others would try").await;
    gallery.add("sign-up-refused").await;

    browser.open(&demo, "/").await;
    for tea in ["Assam", "Sencha", "Sencha", "Lapsang Souchong"] {
        browser.press_named(&format!("Add {tea} to the cart")).await;
        browser.until_says(&format!("{tea} is in your cart.")).await;
    }
    gallery.add("teas-added").await;
    browser.open(&demo, "/cart").await;
    gallery.add("cart").await;
    browser.sign_up(&demo, NAME).await;
    gallery.add("teas-signed-in").await;
    browser.open(&demo, "/cart").await;
    gallery.add("cart-signed-in").await;

    let phone = Browser::start_phone(&driver).await;
    phone.sign_in(&demo, NAME).await;
    browser.open(&demo, "/devices").await;
    gallery.add("devices").await;
    browser.press("Sign out all other devices").await;
    browser.until_says("All other devices are signed out.").await;
    gallery.add("devices-alone").await;
    browser.open(&demo, "/password").await;
    gallery.add("password").await;
    browser.fill("password", "short").await;
    browser.press("Change the password").await;
    browser.until_says("at least 8 characters.").await;
    gallery.add("password-refused").await;
    browser.open(&demo, "/cart").await;
    browser.press("Order").await;
    browser.until_says("4 packets are on their way.").await;
    gallery.add("ordered").await;
    demo.stop();
    browser.press_named("Add Assam to the cart").await;
    browser.until_says("That did not work.").await;
    gallery.add("teas-failed").await;
    demo.restart_with(&[("CONFIRM_WITHIN", "0")]);
    browser.open(&demo, "/password").await;
    gallery.add("confirm").await;
    browser.fill("password", "wrong").await;
    browser.press("Confirm").await;
    browser.until_says("This is not your password.").await;
    gallery.add("confirm-refused").await;
    browser.press_out().await;
    browser.until_at("/signed-out").await;
    gallery.add("signed-out").await;
    browser.open(&demo, "/nowhere").await;
    gallery.add("not-found").await;
    browser.open(&demo, "/sign-in").await;
    browser.run("document.querySelector('[name=csrf_token]').remove()").await;
    browser.fill("name", NAME).await;
    browser.fill("password", "wrong").await;
    browser.press("Sign in").await;
    browser.until_says("This form is out of date").await;
    gallery.add("forbidden").await;

    assert!(gallery.wrong.is_empty(), "{:#?}", gallery.wrong);
    phone.close().await;
    browser.close().await;
}

struct Gallery<'a> {
    browser: &'a Browser,
    wrong: Vec<String>,
}

impl Gallery<'_> {
    async fn add(&mut self, name: &str) {
        for width in [360, 1280] {
            for scheme in ["light", "dark"] {
                self.show(width, scheme).await;
                let wrong = self.browser.run(LOOK).await;
                for what in wrong.as_array().unwrap() {
                    self.wrong.push(format!("{name}, {width} pixels, {scheme}: {what}"));
                }
                self.keep(&format!("{name}-{width}-{scheme}.png"), width).await;
            }
        }
    }

    async fn show(&self, width: u32, scheme: &str) {
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

    async fn keep(&self, file: &str, width: u32) {
        let height = self.browser.run("scrollTo(0, 0); return document.documentElement.scrollHeight").await;
        let clip = json!({ "x": 0, "y": 0, "width": width, "height": height, "scale": 1 });
        let picture = json!({ "format": "png", "captureBeyondViewport": true, "clip": clip });
        let picture = self.browser.devtools("Page.captureScreenshot", picture).await;
        let Value::String(data) = &picture["data"] else { panic!("no picture: {picture}") };
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("demo");
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join(file), base64::Engine::decode(&base64::prelude::BASE64_STANDARD, data).unwrap())
            .unwrap();
    }
}
