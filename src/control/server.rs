//! The control server: one thread, many connections, none of which can hold up another or a worker.
//!
//! | a client that … | costs |
//! |---|---|
//! | connects and sends nothing, or half a request | its own connection, for [`Limits::request`] |
//! | asks for a long list and stops reading | its own connection, for [`Limits::stall`] |
//! | sends more than [`REQUEST_BYTES`] of request line and headers | an answer 431 |
//! | sends a body | nothing: no handler reads one, and the connection is closed after the answer |
//! | comes when [`Limits::connections`] are open | an answer 503 at once |
//!
//! Life: [`Server::start`] makes the socket (errors come back to the caller), then the thread serves until
//! [`Server::stop`] or drop. Stopping removes the socket file first, so that nobody new comes, lets answers in
//! work finish within [`GRACE`], and joins the thread.

use super::routes;
use super::socket::{SocketError, SocketFile};
use super::state::ControlState;
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::Sleep;

/// The most bytes of request line and headers.
pub const REQUEST_BYTES: usize = 16 * 1024;
/// How long answers in work may take when the server stops.
pub const GRACE: Duration = Duration::from_secs(1);
/// Pause after `accept` failed, which it does when the process has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\n\
    content-length: 62\r\nconnection: close\r\n\r\n\
    {\"error\":\"too many connections to the control socket at once\"}";

/// What one client may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once.
    pub connections: usize,
    /// Time for a whole request line with headers to arrive; also how long an idle connection stays open.
    pub request: Duration,
    /// How long a client may read nothing of an answer.
    pub stall: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { connections: 64, request: Duration::from_secs(10), stall: Duration::from_secs(30) }
    }
}

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The socket could not be made.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// No thread or no event loop.
    #[error("can not start the control thread: {0}")]
    Thread(#[source] io::Error),
}

/// A control socket that listens and is not served yet: clients that come now wait.
///
/// Taken before the devices are, so that a second gateway with the same config ends before it touches them.
#[derive(Debug)]
pub struct Claim {
    path: PathBuf,
    listener: std::os::unix::net::UnixListener,
    file: SocketFile,
}

impl Claim {
    /// Makes the socket at `path`.
    ///
    /// # Errors
    /// Another gateway listens there, or the socket can not be made.
    pub fn new(path: &Path) -> Result<Claim, ServerError> {
        let (listener, file) = SocketFile::listen(path)?;
        Ok(Claim { path: path.to_owned(), listener, file })
    }
}

/// A running control server. Dropping it stops it.
#[derive(Debug)]
pub struct Server {
    path: PathBuf,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Makes the socket at `path` and serves `state` on it, with the default [`Limits`].
    pub fn start(path: &Path, state: Arc<ControlState>) -> Result<Server, ServerError> {
        Server::start_with(path, state, Limits::default())
    }

    /// The same with other limits.
    pub fn start_with(path: &Path, state: Arc<ControlState>, limits: Limits) -> Result<Server, ServerError> {
        Server::serve(Claim::new(path)?, state, limits)
    }

    /// Serves `state` on a socket that was made before.
    pub fn serve(claim: Claim, state: Arc<ControlState>, limits: Limits) -> Result<Server, ServerError> {
        let Claim { path, listener, file } = claim;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(ServerError::Thread)?;
        let listener = {
            let _context = runtime.enter();
            UnixListener::from_std(listener).map_err(ServerError::Thread)?
        };
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("control".into())
            .spawn(move || runtime.block_on(serve(listener, file, routes::router(state), limits, stopped)))
            .map_err(ServerError::Thread)?;
        Ok(Server { path, stop: Some(stop), thread: Some(thread) })
    }

    /// Where the server listens.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Stops the server: the socket file is gone when this returns. Takes [`GRACE`] at most when clients are slow.
    pub fn stop(self) {}
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the control thread had panicked");
        }
    }
}

/// Serves until `stopped` resolves, by a message or because its sender is gone.
async fn serve(
    listener: UnixListener,
    file: SocketFile,
    router: Router,
    limits: Limits,
    stopped: oneshot::Receiver<()>,
) {
    let connections = Arc::new(GracefulShutdown::new());
    let accepting = tokio::spawn(accept(listener, router, limits, Arc::clone(&connections)));
    let _ = stopped.await;
    drop(file);
    accepting.abort();
    // The listener is closed when the task is gone; its error only says that it was aborted.
    let _ = accepting.await;
    // The task had the only other reference. What is not finished in time is cut off when the event loop goes.
    if let Some(connections) = Arc::into_inner(connections) {
        let _ = tokio::time::timeout(GRACE, connections.shutdown()).await;
    }
}

async fn accept(listener: UnixListener, router: Router, limits: Limits, connections: Arc<GracefulShutdown>) {
    let slots = Arc::new(Semaphore::new(limits.connections));
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "the control socket could not accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        match Arc::clone(&slots).try_acquire_owned() {
            Ok(slot) => {
                tokio::spawn(connection(stream, router.clone(), limits, connections.watcher(), slot));
            }
            Err(_) => {
                // Best effort: an empty socket buffer takes this many bytes at once.
                let _ = stream.try_write(BUSY);
            }
        }
    }
}

async fn connection(
    stream: UnixStream,
    router: Router,
    limits: Limits,
    watcher: Watcher,
    _slot: OwnedSemaphorePermit,
) {
    let io = TokioIo::new(StallGuard::new(stream, limits.stall));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.request)
        .max_buf_size(REQUEST_BYTES)
        .serve_connection(io, TowerToHyperService::new(router));
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(%error, "a control connection ended early");
    }
}

/// A stream whose writes fail when the other side took nothing for a while.
struct StallGuard<S> {
    inner: S,
    limit: Duration,
    /// Runs since the first write that had to wait.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> StallGuard<S> {
    fn new(inner: S, limit: Duration) -> Self {
        StallGuard { inner, limit, stalled: None }
    }

    fn check<T>(&mut self, cx: &mut Context<'_>, write: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if write.is_ready() {
            self.stalled = None;
            return write;
        }
        let limit = self.limit;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        ready!(stalled.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for StallGuard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for StallGuard<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let write = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.check(cx, write)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let write = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.check(cx, write)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    fn block_on<F: Future>(future: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
    }

    #[test]
    fn a_write_that_nobody_reads_fails_when_its_time_is_up() {
        block_on(async {
            let (near, _far) = tokio::io::duplex(4);
            let mut guarded = StallGuard::new(near, Duration::ZERO);
            let error = guarded.write_all(b"more than four").await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        });
    }

    #[test]
    fn a_client_that_reads_starts_the_time_anew() {
        block_on(async {
            let (near, mut far) = tokio::io::duplex(4);
            let mut guarded = StallGuard::new(near, Duration::from_secs(3600));
            let writing = tokio::spawn(async move {
                guarded.write_all(b"more than four").await.unwrap();
                guarded.stalled.is_none()
            });
            let mut read = [0; 14];
            far.read_exact(&mut read).await.unwrap();
            assert_eq!(&read, b"more than four");
            assert!(writing.await.unwrap());
        });
    }

    #[test]
    fn the_busy_answer_announces_its_true_length() {
        let text = std::str::from_utf8(BUSY).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{}", body.len());
    }
}
