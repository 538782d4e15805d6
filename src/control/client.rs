//! A blocking client of the control socket, for the command line and for tests.
//!
//! Each request opens a connection of its own. A small event loop on the caller's thread does the work, so nothing
//! runs between two calls. Every wait has a limit.

use super::api;
use super::sse::{KEEP_ALIVE, Messages};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::runtime::Runtime;

/// The longest wait for the gateway: for a connection, for an answer, for the next piece of it.
const PATIENCE: Duration = Duration::from_secs(10);
/// The same for an answer for which the gateway reads all of its tables, or has sessions removed.
const LONG_PATIENCE: Duration = Duration::from_secs(300);
/// The longest silence of a stream, which breaks it itself every [`KEEP_ALIVE`].
const SILENCE: Duration = KEEP_ALIVE.saturating_mul(3);
/// The longest answer that is read as a whole, in bytes.
const ANSWER_BYTES: usize = 64 << 20;
/// The longest line of a list, in bytes.
const LINE_BYTES: usize = 1 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No socket, or nobody behind it.
    #[error("no gateway is listening on {}: is `natgate run` running? (`-s PATH` if its socket is elsewhere)", .0.display())]
    NotRunning(PathBuf),
    /// The socket belongs to another user.
    #[error("no permission to talk to the gateway on {}: only the user that runs it may (try sudo)", .0.display())]
    Forbidden(PathBuf),
    /// No answer in time: 10 seconds, five minutes where all sessions are read or removed.
    #[error("the gateway on {} does not answer", .0.display())]
    Timeout(PathBuf),
    /// The gateway refused the request.
    #[error("the gateway refused the request: {message} ({status})")]
    Refused {
        /// HTTP status.
        status: u16,
        /// What it said.
        message: String,
        /// The whole answer: it may say more than the message.
        body: String,
    },
    /// The answer does not have the form that this version of natgate knows.
    #[error(
        "the gateway's answer could not be read ({0}): are `natgate` and the running gateway the same version?"
    )]
    Answer(String),
    /// The connection broke.
    #[error("the connection to the gateway on {} broke: {error}", path.display())]
    Broken {
        /// The socket.
        path: PathBuf,
        /// What happened.
        error: String,
    },
    /// No event loop.
    #[error("can not start an event loop: {0}")]
    EventLoop(#[source] io::Error),
}

/// Talks to the gateway behind one socket.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
}

impl Client {
    /// A client for this socket. Nothing is opened yet.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Client { socket: socket.into() }
    }

    /// The whole answer to a GET of `path` (such as `/v1/status`), as JSON.
    pub fn get_json<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.json((Method::GET, path), Vec::new(), PATIENCE)
    }

    /// The same for an answer that may take minutes: the gateway reads all of its sessions for it.
    pub fn get_json_slowly<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.json((Method::GET, path), Vec::new(), LONG_PATIENCE)
    }

    /// The answer to a DELETE of `path`, which may take minutes.
    pub fn delete_json<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.json((Method::DELETE, path), Vec::new(), LONG_PATIENCE)
    }

    /// The answer to a POST of JSON to `path`, which may take minutes.
    pub fn post_json<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).map_err(|error| ClientError::Answer(error.to_string()))?;
        self.json((Method::POST, path), body, LONG_PATIENCE)
    }

    fn json<T: DeserializeOwned>(
        &self,
        request: (Method, &str),
        body: Vec<u8>,
        patience: Duration,
    ) -> Result<T, ClientError> {
        let runtime = event_loop()?;
        let body = runtime.block_on(async {
            let body = send(&self.socket, request, body, patience).await?;
            whole(&self.socket, body).await
        })?;
        serde_json::from_slice(&body).map_err(|error| ClientError::Answer(error.to_string()))
    }

    /// The answer to a GET of `path` line by line, as they come.
    pub fn get_lines(&self, path: &str) -> Result<Lines, ClientError> {
        let runtime = event_loop()?;
        let body = runtime.block_on(send(&self.socket, (Method::GET, path), Vec::new(), PATIENCE))?;
        Ok(Lines::new(self.socket.clone(), runtime, body, PATIENCE))
    }

    /// The messages of the stream that a GET of `path` opens, as they come.
    pub fn follow(&self, path: &str) -> Result<Messages, ClientError> {
        let runtime = event_loop()?;
        let body = runtime.block_on(send(&self.socket, (Method::GET, path), Vec::new(), PATIENCE))?;
        Ok(Messages::new(Lines::new(self.socket.clone(), runtime, body, SILENCE)))
    }

    /// The whole answer to a GET of `path`, as bytes.
    pub fn get_bytes(&self, path: &str) -> Result<Vec<u8>, ClientError> {
        let runtime = event_loop()?;
        let body = runtime.block_on(async {
            let body = send(&self.socket, (Method::GET, path), Vec::new(), PATIENCE).await?;
            whole(&self.socket, body).await
        })?;
        Ok(body.to_vec())
    }
}

/// The lines of a list, without their line ends.
pub struct Lines {
    socket: PathBuf,
    runtime: Runtime,
    /// `None` after the end or an error.
    body: Option<Incoming>,
    buffer: Vec<u8>,
    /// Bytes at the start of `buffer` that were handed out.
    read: usize,
    /// The longest wait for the next piece.
    patience: Duration,
}

impl Lines {
    fn new(socket: PathBuf, runtime: Runtime, body: Incoming, patience: Duration) -> Lines {
        Lines { socket, runtime, body: Some(body), buffer: Vec::new(), read: 0, patience }
    }

    /// What is here and was not handed out.
    pub(super) fn unread(&self) -> &[u8] {
        self.buffer.get(self.read..).unwrap_or_default()
    }

    /// Reads the next piece of the body into the buffer; `false` at its end.
    fn fill(&mut self) -> Result<bool, ClientError> {
        let Some(body) = &mut self.body else { return Ok(false) };
        let patience = self.patience;
        let frame = self.runtime.block_on(async { tokio::time::timeout(patience, body.frame()).await });
        match frame {
            Err(_) => Err(ClientError::Timeout(self.socket.clone())),
            Ok(None) => Ok(false),
            Ok(Some(Err(error))) => Err(broken(&self.socket, error)),
            Ok(Some(Ok(frame))) => {
                self.buffer.drain(..self.read);
                self.read = 0;
                if let Some(data) = frame.data_ref() {
                    self.buffer.extend_from_slice(data);
                }
                Ok(true)
            }
        }
    }

    fn next_line(&mut self) -> Result<Option<String>, ClientError> {
        let mut searched = self.read;
        loop {
            let unread = self.buffer.get(searched..).unwrap_or_default();
            if let Some(length) = unread.iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.get(self.read..searched + length).unwrap_or_default();
                let line = String::from_utf8_lossy(line).into_owned();
                self.read = searched + length + 1;
                return Ok(Some(line));
            }
            if self.buffer.len() - self.read > LINE_BYTES {
                return Err(ClientError::Answer("a line without an end".into()));
            }
            searched = self.buffer.len() - self.read;
            if !self.fill()? {
                return if self.buffer.len() == self.read {
                    Ok(None)
                } else {
                    Err(ClientError::Answer("the last line has no end".into()))
                };
            }
        }
    }
}

impl Iterator for Lines {
    type Item = Result<String, ClientError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.body.as_ref()?;
        let next = self.next_line().transpose();
        if !matches!(next, Some(Ok(_))) {
            self.body = None;
        }
        next
    }
}

fn event_loop() -> Result<Runtime, ClientError> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(ClientError::EventLoop)
}

fn broken(socket: &Path, error: hyper::Error) -> ClientError {
    ClientError::Broken { path: socket.to_owned(), error: error.to_string() }
}

/// Sends the request and waits for a 200; the body is still to come.
async fn send(
    socket: &Path,
    (method, path): (Method, &str),
    body: Vec<u8>,
    patience: Duration,
) -> Result<Incoming, ClientError> {
    let timeout = |_| ClientError::Timeout(socket.to_owned());
    let stream = tokio::time::timeout(PATIENCE, UnixStream::connect(socket)).await.map_err(timeout)?;
    let stream = stream.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused | io::ErrorKind::NotADirectory => {
            ClientError::NotRunning(socket.to_owned())
        }
        io::ErrorKind::PermissionDenied => ClientError::Forbidden(socket.to_owned()),
        _ => ClientError::Broken { path: socket.to_owned(), error: error.to_string() },
    })?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| broken(socket, error))?;
    // Its errors also reach the request or the body.
    tokio::spawn(connection);
    let request = Request::builder().method(method).uri(path).header("host", "natgate");
    let request = request.body(Full::new(Bytes::from(body)));
    let request = request.map_err(|error| ClientError::Answer(error.to_string()))?;
    let answer = tokio::time::timeout(patience, sender.send_request(request)).await.map_err(timeout)?;
    let answer = answer.map_err(|error| broken(socket, error))?;
    let status = answer.status();
    if status == StatusCode::OK {
        return Ok(answer.into_body());
    }
    let body = whole(socket, answer.into_body()).await.unwrap_or_default();
    let body = String::from_utf8_lossy(&body).into_owned();
    let message =
        serde_json::from_str::<api::Failure>(&body).map_or_else(|_| body.clone(), |failure| failure.error);
    Err(ClientError::Refused { status: status.as_u16(), message, body })
}

async fn whole(socket: &Path, body: Incoming) -> Result<Bytes, ClientError> {
    let collect = Limited::new(body, ANSWER_BYTES).collect();
    match tokio::time::timeout(PATIENCE, collect).await {
        Err(_) => Err(ClientError::Timeout(socket.to_owned())),
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) => Err(ClientError::Broken { path: socket.to_owned(), error: error.to_string() }),
    }
}
