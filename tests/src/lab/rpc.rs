//! Bare requests to the gateway's WebSocket RPC, with nothing of Ecto in between.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async, tungstenite::Message};

/// How long an answer may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);

/// A WebSocket to the gateway.
pub struct Rpc {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    calls: u32,
    /// What the gateway said first, before anybody connected.
    pub challenge: Value,
}

impl Rpc {
    /// Opens the socket of the gateway at this port and waits for its challenge.
    ///
    /// # Errors
    ///
    /// Where the gateway does not answer.
    pub async fn open(port: u16) -> Result<Self> {
        let (socket, _) = connect_async(format!("ws://127.0.0.1:{port}/")).await?;
        let mut rpc = Self {
            socket,
            calls: 0,
            challenge: Value::Null,
        };
        rpc.challenge = rpc.read().await?;
        Ok(rpc)
    }

    /// Opens the socket and connects as a local operator with this token.
    ///
    /// # Errors
    ///
    /// Where the gateway does not answer or refuses.
    pub async fn connect(port: u16, token: &str) -> Result<Self> {
        let mut rpc = Self::open(port).await?;
        let answer = rpc.call("connect", connect_params(token)).await?;
        if answer["ok"] != true {
            bail!("connect: {answer}");
        }
        Ok(rpc)
    }

    /// Sends a request and waits for its answer, whole with `ok`, `payload` or `error`; events are passed over.
    ///
    /// # Errors
    ///
    /// Where the socket ends before the answer.
    pub async fn call(&mut self, method: &str, params: Value) -> Result<Value> {
        self.calls += 1;
        let id = self.calls.to_string();
        let frame = json!({ "type": "req", "id": id, "method": method, "params": params });
        self.socket.send(Message::text(frame.to_string())).await?;
        loop {
            let frame = self.read().await?;
            if frame["type"] == "res" && frame["id"] == id.as_str() {
                return Ok(frame);
            }
        }
    }

    /// Waits until the gateway closes the socket, and returns its code and reason.
    ///
    /// # Errors
    ///
    /// Where it breaks off without a farewell, or stays open.
    pub async fn closed(&mut self) -> Result<(u16, String)> {
        loop {
            match self.next().await? {
                Message::Close(Some(frame)) => {
                    return Ok((frame.code.into(), frame.reason.to_string()));
                }
                Message::Close(None) => return Ok((1005, String::new())),
                Message::Text(_)
                | Message::Binary(_)
                | Message::Ping(_)
                | Message::Pong(_)
                | Message::Frame(_) => {}
            }
        }
    }

    async fn read(&mut self) -> Result<Value> {
        loop {
            match self.next().await? {
                Message::Text(text) => return Ok(serde_json::from_str(&text)?),
                Message::Close(frame) => bail!("the gateway closed the socket: {frame:?}"),
                Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            }
        }
    }

    async fn next(&mut self) -> Result<Message> {
        let message = tokio::time::timeout(ANSWER_LIMIT, self.socket.next())
            .await
            .context("the gateway is silent")?;
        Ok(message.context("the socket broke off")??)
    }
}

/// What a local command-line client says to connect.
#[must_use]
pub fn connect_params(token: &str) -> Value {
    json!({
        "minProtocol": 3, "maxProtocol": 9,
        "client": { "id": "cli", "mode": "cli", "version": "0.1.0", "platform": std::env::consts::OS },
        "role": "operator",
        "scopes": ["operator.read", "operator.write", "operator.admin"],
        "caps": [],
        "auth": { "token": token },
    })
}
