//! chromedriver, and a command of its own: the browser's DevTools.

use std::process::Command;

use fantoccini::wd::WebDriverCompatibleCommand;
use serde_json::{Value, json};

use super::children::Running;

/// A running chromedriver, through which any number of browsers are driven.
pub struct Driver {
    pub url: String,
    _running: Running,
}

impl Driver {
    pub fn start() -> Self {
        let mut command = Command::new("chromedriver");
        command.arg("--port=0");
        let port_of = |line: &str| {
            line.strip_prefix("ChromeDriver was started successfully on port ")?.strip_suffix('.')?.parse::<u16>().ok()
        };
        let installed = command.get_program().to_owned();
        assert!(
            Command::new(&installed).arg("--version").output().is_ok(),
            "there is no chromedriver here: install the Debian packages chromium and chromium-driver (or run .ci/servers)"
        );
        let (running, port) = Running::start(&mut command, port_of);
        Self { url: format!("http://127.0.0.1:{port}"), _running: running }
    }
}

/// A command of the DevTools protocol.
#[derive(Debug)]
pub struct DevTools {
    pub command: &'static str,
    pub parameters: Value,
}

impl WebDriverCompatibleCommand for DevTools {
    fn endpoint(&self, base: &url::Url, session: Option<&str>) -> Result<url::Url, url::ParseError> {
        base.join(&format!("session/{}/goog/cdp/execute", session.unwrap_or_default()))
    }

    fn method_and_body(&self, _: &url::Url) -> (http::Method, Option<String>) {
        (http::Method::POST, Some(json!({ "cmd": self.command, "params": self.parameters }).to_string()))
    }
}
