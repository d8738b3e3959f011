//! A program on this machine that a claim leads to: it tells what reached it.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use anyhow::Result;
use axum::{
    Json, Router,
    body::Body,
    extract::{Request, State},
    response::{IntoResponse, Response},
    routing::get,
};
use futures_util::stream;
use serde::{Deserialize, Serialize};
use tokio::{net::TcpListener, sync::Notify, task::JoinHandle};

/// What reached the program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Method of the request.
    pub method: String,
    /// Path and query, as they came.
    pub target: String,
    /// Headers, by name in lower case; several of one name are joined by a comma.
    pub headers: BTreeMap<String, String>,
}

/// Answers every request with what it saw, as JSON; at `/stream` it writes `one`, and `two` when it is told to.
pub struct Upstream {
    address: SocketAddr,
    go_on: Arc<Notify>,
    server: JoinHandle<()>,
}

impl Upstream {
    /// Starts it on a free port.
    ///
    /// # Errors
    ///
    /// Where it cannot listen.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let go_on = Arc::new(Notify::new());
        let router = Router::new()
            .route("/stream", get(write_slowly))
            .fallback(tell)
            .with_state(Arc::clone(&go_on));
        let server = tokio::spawn(async move {
            // It serves until the task is aborted.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self {
            address,
            go_on,
            server,
        })
    }

    /// Base URL, without a trailing slash.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Lets one stream at `/stream` come to its end.
    pub fn go_on(&self) {
        self.go_on.notify_one();
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn tell(request: Request) -> Json<Seen> {
    let mut headers: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in request.headers() {
        let value = String::from_utf8_lossy(value.as_bytes());
        headers
            .entry(name.to_string())
            .and_modify(|held| {
                held.push(',');
                held.push_str(&value);
            })
            .or_insert_with(|| value.clone().into_owned());
    }
    Json(Seen {
        method: request.method().to_string(),
        target: request.uri().to_string(),
        headers,
    })
}

async fn write_slowly(State(go_on): State<Arc<Notify>>) -> Response {
    let parts = stream::unfold((0, go_on), |(turn, go_on)| async move {
        let part = match turn {
            0 => "one",
            1 => {
                go_on.notified().await;
                "two"
            }
            _ => return None,
        };
        Some((Ok::<_, Infallible>(part), (turn + 1, go_on)))
    });
    Body::from_stream(parts).into_response()
}
