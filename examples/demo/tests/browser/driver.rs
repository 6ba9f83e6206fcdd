//! The chromedriver process and the DevTools command.

use std::process::Command;

use fantoccini::wd::WebDriverCompatibleCommand;
use serde_json::{Value, json};

use super::children::ChildProcess;

/// A chromedriver process, which controls any number of browsers.
pub struct Driver {
    pub url: String,
    _process: ChildProcess,
}

impl Driver {
    pub fn start() -> Self {
        let mut command = Command::new("chromedriver");
        command.arg("--port=0");
        let port_of = |line: &str| {
            line.strip_prefix("ChromeDriver was started successfully on port ")?.strip_suffix('.')?.parse::<u16>().ok()
        };
        let program = command.get_program().to_owned();
        assert!(
            Command::new(&program).arg("--version").output().is_ok(),
            "chromedriver is not installed: install the Debian packages chromium and chromium-driver (or run .ci/servers)"
        );
        let (process, port) = ChildProcess::start(&mut command, port_of);
        Self { url: format!("http://127.0.0.1:{port}"), _process: process }
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
