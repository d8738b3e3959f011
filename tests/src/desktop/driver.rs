//! Drives the page in the app's window, by the W3C's WebDriver protocol and WebKit's own driver.

use std::ffi::OsString;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use reqwest::Method;
use serde_json::{Value, json};

use super::process::{Child, Output};
use super::{App, Display, LIMIT, LOOK_EVERY};

/// The name under which the protocol gives an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// WebKit's driver, which starts the program that it drives.
pub struct Driver {
    url: String,
    client: reqwest::Client,
    child: Child,
}

impl Driver {
    /// Starts the driver for this app.
    ///
    /// # Errors
    ///
    /// Where it does not start.
    pub async fn start(display: &Display, app: &App) -> Result<Self> {
        let mut environment = app.environment(display);
        // Tauri's windows let themselves be driven only then.
        environment.push(("TAURI_WEBVIEW_AUTOMATION".into(), "true".into()));
        Self::start_with(display, environment).await
    }

    /// Starts the driver with an environment for what it will start.
    ///
    /// # Errors
    ///
    /// Where it does not start.
    pub async fn start_with(
        display: &Display,
        environment: Vec<(OsString, OsString)>,
    ) -> Result<Self> {
        // The driver takes no listener from outside and cannot choose by itself.
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
            .local_addr()?
            .port();
        let mut child = Child::start(
            &which::which("WebKitWebDriver")?,
            [format!("--port={port}")],
            environment,
            &display.folder().join("WebKitWebDriver.txt"),
            Output::Logged,
        )?;
        // There is no TLS on the way, but the client is not made without it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .tls_certs_only([])
            .no_proxy()
            .timeout(LIMIT)
            .build()?;
        let url = format!("http://127.0.0.1:{port}");
        let begin = Instant::now();
        while client.get(format!("{url}/status")).send().await.is_err() {
            if begin.elapsed() > LIMIT {
                bail!("the driver does not answer:\n{}", child.log());
            }
            if let Ok(status) = child.ended(LOOK_EVERY).await {
                bail!("the driver ended: {status}\n{}", child.log());
            }
        }
        Ok(Self { url, client, child })
    }

    /// The driver's own process; what it started is among its children.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// Starts the app. This waits until its first page exists: where that needs a click, do it at the same time.
    ///
    /// # Errors
    ///
    /// Where the app has no page.
    pub async fn open(&self, app: &App) -> Result<Session> {
        self.open_program(app.program(), app.arguments()).await
    }

    /// Starts any program with a page of WebKit's.
    ///
    /// # Errors
    ///
    /// Where it has no page.
    pub async fn open_program(&self, program: &Path, arguments: &[OsString]) -> Result<Session> {
        // The driver's children do not end with it by themselves.
        let mut given = vec![json!("--pdeathsig"), json!("KILL"), json!("--")];
        given.push(json!(program.to_str().context("a path without UTF-8")?));
        for argument in arguments {
            given.push(json!(
                argument.to_str().context("an argument without UTF-8")?
            ));
        }
        let wanted = json!({ "capabilities": { "alwaysMatch": { "webkitgtk:browserOptions": {
            "binary": which::which("setpriv")?.to_str().context("a path without UTF-8")?,
            "args": given,
        } } } });
        let answer = ask(
            &self.client,
            Method::POST,
            format!("{}/session", self.url),
            Some(wanted),
        )
        .await
        .with_context(|| self.child.log())?;
        let id = answer["sessionId"].as_str().context("no session")?;
        Ok(Session {
            url: format!("{}/session/{id}", self.url),
            client: self.client.clone(),
        })
    }
}

/// A program that is being driven. It ends with the driver.
pub struct Session {
    url: String,
    client: reqwest::Client,
}

/// An element of the page.
pub struct Element<'a> {
    session: &'a Session,
    path: String,
}

impl Session {
    /// Finds the first element that a CSS selector fits.
    ///
    /// # Errors
    ///
    /// Where there is none.
    pub async fn find(&self, selector: &str) -> Result<Element<'_>> {
        let wanted = json!({ "using": "css selector", "value": selector });
        let found = self
            .post("/element", wanted)
            .await
            .with_context(|| format!("looking for {selector}"))?;
        let id = found[ELEMENT].as_str().context("no element")?;
        Ok(Element {
            session: self,
            path: format!("/element/{id}"),
        })
    }

    /// Waits until there is such an element and it can be seen.
    ///
    /// # Errors
    ///
    /// Where there is none.
    pub async fn wait_for(&self, selector: &str) -> Result<Element<'_>> {
        let begin = Instant::now();
        loop {
            if let Ok(element) = self.find(selector).await
                && element.is_shown().await.unwrap_or(false)
            {
                return Ok(element);
            }
            if begin.elapsed() > LIMIT {
                bail!(
                    "{selector} is not shown; the page is {}",
                    self.source().await?
                );
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until an element's text is as wanted, and gives it.
    ///
    /// # Errors
    ///
    /// Where it does not become so, with the last one.
    pub async fn wait_for_text(
        &self,
        selector: &str,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<String> {
        let begin = Instant::now();
        loop {
            let text = match self.find(selector).await {
                Ok(element) => element.text().await.unwrap_or_default(),
                Err(_) => String::new(),
            };
            if wanted(&text) {
                return Ok(text);
            }
            if begin.elapsed() > LIMIT {
                bail!("{selector} stays {text:?}");
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Runs a script in the page and gives what it returns.
    ///
    /// # Errors
    ///
    /// What the script threw.
    pub async fn execute(&self, script: &str, arguments: &[Value]) -> Result<Value> {
        self.post(
            "/execute/sync",
            json!({ "script": script, "args": arguments }),
        )
        .await
    }

    /// Presses a key, wherever the focus is. The protocol gives keys without a letter a private character, such as
    /// `\u{e004}` for Tab and `\u{e00c}` for Escape.
    ///
    /// # Errors
    ///
    /// Where no window is shown.
    pub async fn press(&self, key: char) -> Result<()> {
        self.post(
            "/actions",
            json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": [
                { "type": "keyDown", "value": key.to_string() },
                { "type": "keyUp", "value": key.to_string() },
            ] }] }),
        )
        .await?;
        Ok(())
    }

    /// The windows that there are.
    ///
    /// # Errors
    ///
    /// Where the program has ended.
    pub async fn windows(&self) -> Result<Vec<String>> {
        let handles = self.get("/window/handles").await?;
        Ok(serde_json::from_value(handles)?)
    }

    /// Goes on with another window.
    ///
    /// # Errors
    ///
    /// Where it has gone.
    pub async fn switch_to(&self, window: &str) -> Result<()> {
        self.post("/window", json!({ "handle": window })).await?;
        Ok(())
    }

    /// The page as it is now.
    ///
    /// # Errors
    ///
    /// Where the program has ended.
    pub async fn source(&self) -> Result<String> {
        let source = self.get("/source").await?;
        Ok(source.as_str().unwrap_or_default().to_owned())
    }

    /// Ends the program that is driven.
    ///
    /// # Errors
    ///
    /// Where it has ended already.
    pub async fn close(self) -> Result<()> {
        ask(&self.client, Method::DELETE, self.url, None).await?;
        Ok(())
    }

    async fn get(&self, path: &str) -> Result<Value> {
        let url = format!("{}{path}", self.url);
        ask(&self.client, Method::GET, url, None).await
    }

    async fn post(&self, path: &str, body: Value) -> Result<Value> {
        let url = format!("{}{path}", self.url);
        ask(&self.client, Method::POST, url, Some(body)).await
    }
}

impl Element<'_> {
    /// What a person reads in it.
    ///
    /// # Errors
    ///
    /// Where it has gone.
    pub async fn text(&self) -> Result<String> {
        let text = self.get("/text").await?;
        Ok(text.as_str().unwrap_or_default().to_owned())
    }

    /// Whether it can be seen.
    ///
    /// # Errors
    ///
    /// Where it has gone.
    pub async fn is_shown(&self) -> Result<bool> {
        Ok(self.get("/displayed").await? == true)
    }

    /// One of its attributes.
    ///
    /// # Errors
    ///
    /// Where it has gone.
    pub async fn attribute(&self, name: &str) -> Result<Option<String>> {
        let value = self.get(&format!("/attribute/{name}")).await?;
        Ok(value.as_str().map(str::to_owned))
    }

    /// Clicks it, as a person would: it fails where something is in front of it.
    ///
    /// # Errors
    ///
    /// Where it cannot be clicked.
    pub async fn click(&self) -> Result<()> {
        self.post("/click", json!({})).await
    }

    /// Types into it.
    ///
    /// # Errors
    ///
    /// Where it takes no text.
    pub async fn type_text(&self, text: &str) -> Result<()> {
        self.post("/value", json!({ "text": text })).await
    }

    async fn get(&self, path: &str) -> Result<Value> {
        self.session.get(&format!("{}{path}", self.path)).await
    }

    async fn post(&self, path: &str, body: Value) -> Result<()> {
        self.session
            .post(&format!("{}{path}", self.path), body)
            .await?;
        Ok(())
    }
}

async fn ask(
    client: &reqwest::Client,
    method: Method,
    url: String,
    body: Option<Value>,
) -> Result<Value> {
    let mut request = client
        .request(method, url)
        .timeout(Duration::from_secs(120));
    if let Some(body) = body {
        request = request.json(&body);
    }
    let mut answer: Value = request.send().await?.json().await?;
    let value = answer["value"].take();
    if let Some(error) = value["error"].as_str() {
        bail!("{error}: {}", value["message"].as_str().unwrap_or_default());
    }
    Ok(value)
}
