//! The control server: one thread, many connections, none of which can hold up another or a worker.
//!
//! It listens on the UNIX socket, where everything may be asked, and, if the config says so, on a TCP address, where only
//! reading is answered. Both have connections of their own, so that those who scrape metrics can not take the places of
//! the operator.
//!
//! | a client that … | costs |
//! |---|---|
//! | connects and sends nothing, or half a request | its own connection, for [`Limits::request`] |
//! | asks for a long list and stops reading | its own connection, for [`Limits::stall`] |
//! | sends more than [`REQUEST_BYTES`] of request line and headers | an answer 431 |
//! | sends a body | nothing: handlers that read one stop at a size and a time; else the connection is closed after the answer |
//! | comes when [`Limits::connections`] are open | an answer 503 at once |
//!
//! Once a second the thread looks whether every part still turns ([`super::watch`]).
//!
//! Life: [`Server::start`] makes the socket (errors come back to the caller), then the thread serves until
//! [`Server::stop`] or drop. Stopping removes the socket file first, so that nobody new comes, lets answers in
//! work finish within [`GRACE`], and joins the thread.

use super::reload::Reloader;
use super::routes;
use super::session_routes::Tables;
use super::socket::{SocketError, SocketFile};
use super::state::ControlState;
use super::watch;
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, Sleep};

/// The most bytes of request line and headers.
pub const REQUEST_BYTES: usize = 16 * 1024;
/// How long answers in work may take when the server stops.
pub const GRACE: Duration = Duration::from_secs(1);
/// Pause after `accept` failed, which it does when the process has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\n\
    content-length: 62\r\nconnection: close\r\n\r\n\
    {\"error\":\"too many connections to the control socket at once\"}";

/// Where a server listens.
#[derive(Clone, Copy, Debug)]
pub struct Places<'a> {
    /// The UNIX socket, for everything.
    pub socket: &'a Path,
    /// The group that may open it, by name or number; `None`: only its owner may.
    pub group: Option<&'a str>,
    /// The TCP address for reading only; `None`: there is none.
    pub read_only: Option<SocketAddr>,
}

impl<'a> Places<'a> {
    /// Only this UNIX socket, only for its owner.
    pub fn private(socket: &'a Path) -> Places<'a> {
        Places { socket, group: None, read_only: None }
    }
}

/// What clients may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once, to the UNIX socket and to the TCP address each.
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
    /// The TCP address can not be had.
    #[error("can not listen on {address} for metrics: {error}. {}, or leave `runtime.metrics` out", cure(.error))]
    Address {
        /// The address.
        address: SocketAddr,
        /// Why not.
        error: io::Error,
    },
    /// No thread or no event loop.
    #[error("can not start the control thread: {0}")]
    Thread(#[source] io::Error),
}

fn cure(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "Another process listens there: choose another port",
        io::ErrorKind::AddrNotAvailable => {
            "Choose an address that the kernel has: those of interfaces that natgate took over are not the kernel's"
        }
        io::ErrorKind::PermissionDenied => "Choose a port from 1024 on",
        _ => "Choose another address",
    }
}

/// Sockets that listen and are not served yet: clients that come now wait.
///
/// Taken before the devices are, so that a second gateway with the same config ends before it touches them.
#[derive(Debug)]
pub struct Claim {
    path: PathBuf,
    listener: std::os::unix::net::UnixListener,
    file: SocketFile,
    read_only: Option<std::net::TcpListener>,
}

impl Claim {
    /// Makes the sockets.
    ///
    /// # Errors
    /// Another process listens there, or a socket can not be made.
    pub fn new(places: Places<'_>) -> Result<Claim, ServerError> {
        let (listener, file) = SocketFile::listen(places.socket, places.group)?;
        let read_only = places.read_only.map(|address| {
            let listen = || {
                let listener = std::net::TcpListener::bind(address)?;
                listener.set_nonblocking(true)?;
                Ok(listener)
            };
            listen().map_err(|error| ServerError::Address { address, error })
        });
        Ok(Claim { path: places.socket.to_owned(), listener, file, read_only: read_only.transpose()? })
    }
}

/// A running control server. Dropping it stops it.
#[derive(Debug)]
pub struct Server {
    path: PathBuf,
    read_only: Option<SocketAddr>,
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
        Server::serve(Claim::new(Places::private(path))?, state, None, limits)
    }

    /// Serves `state` on sockets that were made before; with a reloader it can be changed.
    pub fn serve(
        claim: Claim,
        state: Arc<ControlState>,
        reloader: Option<Arc<Reloader>>,
        limits: Limits,
    ) -> Result<Server, ServerError> {
        let Claim { path, listener, file, read_only } = claim;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(ServerError::Thread)?;
        let address = read_only.as_ref().and_then(|listener| listener.local_addr().ok());
        let (listener, read_only) = {
            let _context = runtime.enter();
            let listener = UnixListener::from_std(listener).map_err(ServerError::Thread)?;
            let read_only = read_only.map(TcpListener::from_std).transpose().map_err(ServerError::Thread)?;
            (listener, read_only)
        };
        let sockets = Sockets { file, listener, read_only };
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("control".into())
            .spawn(move || {
                let tables = Tables::new(state, Instant::now()).with_reloader(reloader);
                runtime.block_on(serve(sockets, tables, limits, stopped))
            })
            .map_err(ServerError::Thread)?;
        Ok(Server { path, read_only: address, stop: Some(stop), thread: Some(thread) })
    }

    /// Where the UNIX socket is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The TCP address that is for reading only.
    pub fn read_only(&self) -> Option<SocketAddr> {
        self.read_only
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

struct Sockets {
    file: SocketFile,
    listener: UnixListener,
    read_only: Option<TcpListener>,
}

/// Serves until `stopped` resolves, by a message or because its sender is gone.
async fn serve(sockets: Sockets, tables: Tables, limits: Limits, stopped: oneshot::Receiver<()>) {
    let connections = Arc::new(GracefulShutdown::new());
    let mut tasks = JoinSet::new();
    if let Some(reloader) = tables.reloader() {
        tasks.spawn(Arc::clone(reloader).run());
    }
    if let Some(listener) = sockets.read_only {
        let router = routes::read_only(tables.for_others());
        tasks.spawn(accept(listener, router, limits, Arc::clone(&connections)));
    }
    tasks.spawn(accept(sockets.listener, routes::router(tables.clone()), limits, Arc::clone(&connections)));
    tasks.spawn(keep_watch(tables));
    let _ = stopped.await;
    drop(sockets.file);
    // The listeners are closed when the tasks are gone.
    tasks.shutdown().await;
    // The tasks had the only other references. What is not finished in time is cut off when the event loop goes.
    if let Some(connections) = Arc::into_inner(connections) {
        let _ = tokio::time::timeout(GRACE, connections.shutdown()).await;
    }
}

/// Looks once a second whether every part still turns.
async fn keep_watch(tables: Tables) {
    let mut turns = tokio::time::interval(watch::PERIOD);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        turns.tick().await;
        tables.watch().look(tables.state(), Instant::now());
    }
}

/// What the server has to know of a kind of socket.
trait Listener: Send + Sync + 'static {
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    fn next(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;

    /// Best effort: an empty socket buffer takes these few bytes at once.
    fn try_write(stream: &Self::Stream, bytes: &[u8]);
}

impl Listener for UnixListener {
    type Stream = UnixStream;

    async fn next(&self) -> io::Result<UnixStream> {
        self.accept().await.map(|(stream, _)| stream)
    }

    fn try_write(stream: &UnixStream, bytes: &[u8]) {
        let _ = stream.try_write(bytes);
    }
}

impl Listener for TcpListener {
    type Stream = TcpStream;

    async fn next(&self) -> io::Result<TcpStream> {
        self.accept().await.map(|(stream, _)| stream)
    }

    fn try_write(stream: &TcpStream, bytes: &[u8]) {
        let _ = stream.try_write(bytes);
    }
}

async fn accept<L: Listener>(
    listener: L,
    router: Router,
    limits: Limits,
    connections: Arc<GracefulShutdown>,
) {
    let slots = Arc::new(Semaphore::new(limits.connections));
    loop {
        let stream = match listener.next().await {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(%error, "the control server could not accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        match Arc::clone(&slots).try_acquire_owned() {
            Ok(slot) => {
                tokio::spawn(connection(stream, router.clone(), limits, connections.watcher(), slot));
            }
            Err(_) => L::try_write(&stream, BUSY),
        }
    }
}

async fn connection<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
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
