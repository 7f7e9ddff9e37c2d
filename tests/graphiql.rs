//! GraphiQL in a real browser: the page loads from this server alone, a query is typed and run, the answer is seen.
//!
//! Needs chromium and chromedriver (Debian: `chromium` and `chromium-driver`); where they are missing the test says so.
//! `SCREENSHOT=docs/graphiql.png` keeps the picture that the README shows.

use std::{
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::support::{
    cluster::TestFolder,
    program::{self, Server},
};

/// A session of a browser, spoken to as the WebDriver recommendation says.
struct Browser {
    driver: Child,
    client: reqwest::Client,
    base: String,
}

impl Browser {
    async fn start() -> Option<Browser> {
        let port = program::free_port();
        let driver = Command::new("chromedriver")
            .arg(format!("--port={port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let client = program::client();
        let mut browser = Browser { driver, client, base: format!("http://127.0.0.1:{port}") };
        let deadline = Instant::now() + Duration::from_secs(60);
        while browser.client.get(format!("{}/status", browser.base)).send().await.is_err() {
            assert!(Instant::now() < deadline, "chromedriver never answered");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let arguments = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--window-size=1400,900",
        ];
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "goog:chromeOptions": { "args": arguments }, "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" } } } });
        let session = browser.call("/session", Some(wanted)).await;
        browser.base = format!("{}/session/{}", browser.base, session["sessionId"].as_str().unwrap());
        Some(browser)
    }

    /// A command with a body is a POST, one without a GET.
    async fn call(&self, path: &str, body: Option<Value>) -> Value {
        let address = format!("{}{path}", self.base);
        let request = match &body {
            Some(body) => self.client.post(&address).body(body.to_string()).header("content-type", "application/json"),
            None => self.client.get(&address),
        };
        let text = request.send().await.unwrap().text().await.unwrap();
        let mut answer: Value = serde_json::from_str(&text).unwrap();
        assert!(answer["value"]["error"].is_null(), "{path}: {answer}");
        answer["value"].take()
    }

    async fn script(&self, script: &str) -> Value {
        self.call("/execute/sync", Some(json!({ "script": script, "args": [] }))).await
    }

    async fn wait_for(&self, script: &str) -> Value {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let found = self.script(script).await;
            if !found.is_null() && found != json!(false) {
                return found;
            }
            assert!(Instant::now() < deadline, "never true: {script}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn press(&self, keys: &str) {
        let element = self.call("/element/active", None).await;
        let id = element.as_object().unwrap().values().next().unwrap().as_str().unwrap().to_owned();
        self.call(&format!("/element/{id}/value"), Some(json!({ "text": keys }))).await;
    }

    /// Hosts that the page asked, and errors of its console.
    async fn report(&self) -> (Vec<String>, Vec<String>) {
        let log = self.call("/se/log", Some(json!({ "type": "performance" }))).await;
        let hosts = log.as_array().unwrap().iter().filter_map(|entry| {
            let message: Value = serde_json::from_str(entry["message"].as_str()?).ok()?;
            let url = message["message"]["params"]["request"]["url"].as_str()?.to_owned();
            url.starts_with("http").then(|| url.split('/').nth(2).unwrap().to_owned())
        });
        let mut hosts: Vec<String> = hosts.collect();
        hosts.sort();
        hosts.dedup();
        let console = self.call("/se/log", Some(json!({ "type": "browser" }))).await;
        let errors = console.as_array().unwrap().iter().filter(|entry| entry["level"] == "SEVERE");
        (hosts, errors.map(|entry| entry["message"].to_string()).collect())
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let base = self.base.clone();
        // Ends the browser; the driver ends it too when it goes.
        let _ = Command::new("curl").args(["-s", "-X", "DELETE", &base]).stdout(Stdio::null()).status();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_is_typed_and_answered() {
    let Some(browser) = Browser::start().await else {
        eprintln!("SKIPPED graphiql: no chromedriver found; install chromium and chromium-driver");
        return;
    };
    let folder = TestFolder::new("graphiql");
    let data = folder.path().join("data");
    let server = Server::start(&data, &[]).await;
    let token = program::result(&data, &["token", "demo@ragboard.example"]);

    browser.call("/url", Some(json!({ "url": server.url(&format!("/graphiql#token={}", token.trim())) }))).await;
    browser.wait_for("return document.querySelector('.graphiql-query-editor .CodeMirror') !== null").await;
    assert_eq!(browser.script("return location.hash").await, "", "the token leaves the address");
    browser.script("document.querySelector('.graphiql-query-editor .CodeMirror').CodeMirror.focus()").await;
    // Control and A, then what is typed; Control and Enter runs it.
    browser.press("\u{e009}a\u{e000}\u{e003}").await;
    browser.press("{ viewer { email } boards(first: 3) { nodes { name roots(first: 5) { nodes { __typename ... on ResourceNode { title } ... on FolderNode { name childCount } } } } } }").await;
    browser.press("\u{e009}\u{e007}\u{e000}").await;
    let shown = browser
        .wait_for("const t = document.querySelector('.result-window')?.innerText ?? ''; return t.includes('email') ? t : null")
        .await;
    let shown = shown.as_str().unwrap();
    assert!(shown.contains("demo@ragboard.example") && shown.contains("ResourceNode"), "{shown}");
    if let Some(path) = std::env::var_os("SCREENSHOT") {
        use base64::{Engine, engine::general_purpose::STANDARD};
        let picture = browser.call("/screenshot", None).await;
        std::fs::write(path, STANDARD.decode(picture.as_str().unwrap()).unwrap()).unwrap();
    }
    let (hosts, errors) = browser.report().await;
    assert_eq!(hosts, [format!("127.0.0.1:{}", server.port)], "no other host is asked");
    assert!(errors.is_empty(), "{errors:?}");
}
