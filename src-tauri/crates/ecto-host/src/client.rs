//! The way to a running host.

use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use crate::report::Report;
use crate::request::{Answer, Request};

/// How long a host may take to tell what is; it has that at hand.
const STATUS_LIMIT: Duration = Duration::from_secs(5);

/// Why a host could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientFault {
    /// No host runs.
    #[error("no host is running")]
    NoHost,
    /// The connection ended before the answer.
    #[error("the host went away before it answered")]
    Ended,
    /// The host is there and says nothing.
    #[error("the host does not answer")]
    Silent,
    /// Something else than an answer came.
    #[error("the host answered with something that is not understood: {detail}")]
    NotUnderstood {
        /// What is wrong with it; never what came.
        detail: String,
    },
}

impl From<std::io::Error> for ClientFault {
    fn from(_: std::io::Error) -> Self {
        Self::Ended
    }
}

/// A connection to a running host.
#[derive(Debug)]
pub struct Client {
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
}

impl Client {
    /// Connects to the host that listens at `socket`.
    pub async fn connect(socket: &Path) -> Result<Self, ClientFault> {
        let stream = UnixStream::connect(socket)
            .await
            .map_err(|_| ClientFault::NoHost)?;
        let (reader, writer) = stream.into_split();
        Ok(Self {
            reader: BufReader::new(reader),
            writer,
        })
    }

    /// Asks one thing. A status that does not come within five seconds is a fault; everything else takes its time.
    pub async fn ask(&mut self, request: &Request) -> Result<Answer, ClientFault> {
        if *request != Request::Status {
            return self.exchange(request).await;
        }
        tokio::time::timeout(STATUS_LIMIT, self.exchange(request))
            .await
            .unwrap_or(Err(ClientFault::Silent))
    }

    async fn exchange(&mut self, request: &Request) -> Result<Answer, ClientFault> {
        self.send(request).await?;
        self.answer().await?.ok_or(ClientFault::Ended)
    }

    /// Whether this host answers `GET /metrics`. Ends the connection.
    pub async fn has_metrics(mut self) -> Result<bool, ClientFault> {
        let ask = async {
            self.writer
                .write_all(b"GET /metrics HTTP/1.1\r\n\r\n")
                .await?;
            let mut status = String::new();
            self.reader.read_line(&mut status).await?;
            Ok(status.starts_with("HTTP/1.1 200"))
        };
        tokio::time::timeout(STATUS_LIMIT, ask)
            .await
            .unwrap_or(Err(ClientFault::Silent))
    }

    /// Begins to watch; [`Reports::next`] gives the reports.
    pub async fn watch(mut self) -> Result<Reports, ClientFault> {
        self.send(&Request::Watch).await?;
        Ok(Reports(self))
    }

    async fn send(&mut self, request: &Request) -> Result<(), ClientFault> {
        let mut line = serde_json::to_vec(request).map_err(|fault| ClientFault::NotUnderstood {
            detail: fault.to_string(),
        })?;
        line.push(b'\n');
        self.writer.write_all(&line).await?;
        Ok(())
    }

    async fn answer(&mut self) -> Result<Option<Answer>, ClientFault> {
        let mut line = Vec::new();
        if self.reader.read_until(b'\n', &mut line).await? == 0 {
            return Ok(None);
        }
        let answer = serde_json::from_slice(&line).map_err(|fault| ClientFault::NotUnderstood {
            detail: format!("{:?}", fault.classify()),
        })?;
        Ok(Some(answer))
    }
}

/// The reports of a host, as they come.
#[derive(Debug)]
pub struct Reports(Client);

impl Reports {
    /// The next report; `None` when the host ended.
    pub async fn next(&mut self) -> Result<Option<Report>, ClientFault> {
        match self.0.answer().await? {
            Some(Answer::Report(report)) => Ok(Some(*report)),
            Some(_) => Err(ClientFault::NotUnderstood {
                detail: "not a report".to_owned(),
            }),
            None => Ok(None),
        }
    }
}
