//! The gateway's own WebSocket RPC, as a local operator uses it (protocol 4; OpenClaw 2026.9.6).

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_util::sync::{CancellationToken, DropGuard};

/// The oldest and the newest protocol that this client understands.
const PROTOCOLS: (u32, u32) = (3, 9);

/// The most bytes of one message: an answer to `config.get` holds a configuration several times over.
const MESSAGE_LIMIT: usize = 64 * 1024 * 1024;

/// How long connecting may take, a busy gateway considered.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// Why the RPC could not be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RpcFault {
    /// Nobody answers, or the connection ended.
    #[error("the gateway's RPC is not reachable")]
    Away,
    /// No answer in time.
    #[error("the gateway's RPC does not answer in time")]
    TimedOut,
    /// The gateway refused the connection, which is what it does with a wrong token.
    #[error("the gateway refused the connection: {message}")]
    Refused {
        /// Its code.
        code: String,
        /// Its words.
        message: String,
    },
    /// The gateway refused the call.
    #[error("the gateway refused the call: {message}")]
    Failed {
        /// Its code.
        code: String,
        /// Its words.
        message: String,
    },
    /// What came is not the protocol.
    #[error("the gateway's RPC speaks in another way than Ecto knows")]
    Unexpected,
}

struct Call {
    method: &'static str,
    parameters: Value,
    answer: oneshot::Sender<Result<Value, RpcFault>>,
}

/// A connection to the gateway. It ends when the gateway's process (or its in-process restart) does, and when it is dropped.
#[derive(Debug)]
pub struct Session {
    calls: mpsc::Sender<Call>,
    ended: CancellationToken,
    _stop: DropGuard,
    /// Names this start of the gateway; a restart inside the same process has another (`server.bootId`).
    pub boot: Option<String>,
    /// The version of OpenClaw that runs.
    pub version: Option<String>,
}

impl Session {
    /// Connects with the gateway's token and asks for the rights to read and change the configuration.
    pub async fn connect(address: SocketAddr, token: &SecretString) -> Result<Self, RpcFault> {
        timeout(CONNECT_LIMIT, Self::dial(address, token))
            .await
            .map_err(|_| RpcFault::TimedOut)?
    }

    async fn dial(address: SocketAddr, token: &SecretString) -> Result<Self, RpcFault> {
        let stream = TcpStream::connect(address)
            .await
            .map_err(|_| RpcFault::Away)?;
        let _ = stream.set_nodelay(true);
        let limits = WebSocketConfig::default()
            .max_message_size(Some(MESSAGE_LIMIT))
            .max_frame_size(Some(MESSAGE_LIMIT));
        let (mut socket, _) = tokio_tungstenite::client_async_with_config(
            format!("ws://{address}/"),
            stream,
            Some(limits),
        )
        .await
        .map_err(|_| RpcFault::Unexpected)?;

        loop {
            let frame = next(&mut socket).await?;
            if frame["event"] == "connect.challenge" {
                break;
            }
        }
        let hello = json!({
            "type": "req", "id": "connect", "method": "connect",
            "params": {
                "minProtocol": PROTOCOLS.0, "maxProtocol": PROTOCOLS.1,
                "client": {
                    "id": "cli", "mode": "cli",
                    "version": env!("CARGO_PKG_VERSION"), "platform": std::env::consts::OS,
                },
                "role": "operator",
                "scopes": ["operator.read", "operator.write", "operator.admin"],
                "caps": [],
                "auth": {"token": token.expose_secret()},
            },
        });
        socket
            .send(Message::text(hello.to_string()))
            .await
            .map_err(|_| RpcFault::Away)?;
        let answer = loop {
            let frame = next(&mut socket).await?;
            if frame["type"] == "res" && frame["id"] == "connect" {
                break frame;
            }
        };
        if answer["ok"] != true {
            let (code, message) = error_of(&answer);
            let reason = answer["error"]["details"]["code"].as_str();
            let is_token = reason.is_some_and(|reason| reason.starts_with("AUTH_"))
                || message.contains("unauthorized");
            return Err(if is_token {
                RpcFault::Refused { code, message }
            } else {
                RpcFault::Failed { code, message }
            });
        }
        let server = &answer["payload"]["server"];
        let text = |name: &str| server[name].as_str().map(str::to_owned);
        let boot = text("bootId").or_else(|| text("startedAt"));
        let version = text("version");
        let (calls, receiver) = mpsc::channel(8);
        let ended = CancellationToken::new();
        let stop = CancellationToken::new();
        tokio::spawn(serve(socket, receiver, stop.clone(), ended.clone()));
        Ok(Self {
            calls,
            ended,
            _stop: stop.drop_guard(),
            boot,
            version,
        })
    }

    /// Calls a method.
    pub async fn call(
        &self,
        method: &'static str,
        parameters: Value,
        limit: Duration,
    ) -> Result<Value, RpcFault> {
        let (answer, receiver) = oneshot::channel();
        let call = Call {
            method,
            parameters,
            answer,
        };
        let exchange = async {
            self.calls.send(call).await.map_err(|_| RpcFault::Away)?;
            receiver.await.map_err(|_| RpcFault::Away)?
        };
        timeout(limit, exchange)
            .await
            .map_err(|_| RpcFault::TimedOut)?
    }

    /// Whether the connection has ended.
    pub fn is_over(&self) -> bool {
        self.ended.is_cancelled()
    }

    /// Is cancelled when the connection ends.
    pub fn ended(&self) -> CancellationToken {
        self.ended.clone()
    }
}

async fn serve(
    mut socket: WebSocketStream<TcpStream>,
    mut calls: mpsc::Receiver<Call>,
    stop: CancellationToken,
    ended: CancellationToken,
) {
    let _ended = ended.drop_guard();
    let mut waiting: HashMap<String, oneshot::Sender<Result<Value, RpcFault>>> = HashMap::new();
    let mut count = 0u64;
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            call = calls.recv() => {
                let Some(call) = call else { break };
                count += 1;
                let id = format!("e{count}");
                let frame = json!({
                    "type": "req", "id": &id, "method": call.method, "params": call.parameters,
                });
                waiting.retain(|_, answer| !answer.is_closed());
                waiting.insert(id, call.answer);
                if socket.send(Message::text(frame.to_string())).await.is_err() {
                    break;
                }
            }
            frame = next(&mut socket) => {
                let Ok(frame) = frame else { break };
                if frame["type"] != "res" {
                    continue;
                }
                let Some(answer) = frame["id"].as_str().and_then(|id| waiting.remove(id)) else {
                    continue;
                };
                let result = if frame["ok"] == true {
                    Ok(frame["payload"].clone())
                } else {
                    let (code, message) = error_of(&frame);
                    Err(RpcFault::Failed { code, message })
                };
                let _ = answer.send(result);
            }
        }
    }
    let _ = socket.close(None).await;
}

async fn next(socket: &mut WebSocketStream<TcpStream>) -> Result<Value, RpcFault> {
    loop {
        match socket.next().await {
            Some(Ok(Message::Text(text))) => {
                return serde_json::from_str(&text).map_err(|_| RpcFault::Unexpected);
            }
            Some(Ok(Message::Close(Some(close)))) => {
                // The gateway says 1008 (policy) to a client that it does not let in.
                let code = u16::from(close.code);
                return Err(if code == 1008 {
                    RpcFault::Refused {
                        code: code.to_string(),
                        message: close.reason.to_string(),
                    }
                } else {
                    RpcFault::Away
                });
            }
            Some(Ok(Message::Close(None)) | Err(_)) | None => return Err(RpcFault::Away),
            Some(Ok(
                Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_),
            )) => {}
        }
    }
}

fn error_of(frame: &Value) -> (String, String) {
    let text = |name: &str| frame["error"][name].as_str().unwrap_or_default().to_owned();
    (text("code"), text("message"))
}
