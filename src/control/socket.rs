//! The socket file: who may open it, and which gateway it belongs to.
//!
//! - It has mode 0600 from the moment it exists: the mode is set on the socket before `bind`, which creates the
//!   file with it (no dependence on the umask, which belongs to the whole process). It is verified before
//!   `listen`, and until then nobody can connect.
//! - If a group may open it too, it becomes the group's first and gets mode 0660 then, both before `listen`: nobody else
//!   may at any time.
//! - A file that nobody listens on (its process died) is replaced. One that somebody listens on is an error, and so
//!   is anything that is not a socket. Look, remove and bind happen under an advisory lock on the directory, so that
//!   two gateways that start at once can not remove each other's file.
//! - On stop the file is removed if it still is the one that was created here.

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, lchown};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

/// Why the socket could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Another process listens on it.
    #[error(
        "another natgate{} is listening on {path}: stop it, or choose another `runtime.control`",
        .pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default(),
        path = .path.display()
    )]
    InUse {
        /// The socket.
        path: PathBuf,
        /// Process id of the listener, if the kernel tells.
        pid: Option<i32>,
    },
    /// Something else has that name.
    #[error("{} exists and is not a socket: remove it, or choose another `runtime.control`", .0.display())]
    NotASocket(PathBuf),
    /// UNIX socket addresses hold 107 bytes.
    #[error("the path of the control socket is longer than 107 bytes: {}", .0.display())]
    TooLong(PathBuf),
    /// The path has no directory part, or ends in `..`.
    #[error("the path of the control socket must name a file: {}", .0.display())]
    NoName(PathBuf),
    /// The group of `runtime.control_group` is not there.
    #[error(
        "there is no group {group:?}: create it with `groupadd --system {group}`, or change `runtime.control_group`"
    )]
    NoGroup {
        /// Its name.
        group: String,
    },
    /// The file can not be given to the group.
    #[error(
        "can not give the control socket {} to the group {group:?}: {error}. Run natgate as root or as a member of the \
         group, or change `runtime.control_group`",
        path.display()
    )]
    Group {
        /// The group.
        group: String,
        /// The socket.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// The operating system refused.
    #[error("can not {what} {}: {error}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
}

/// A listening control socket. Dropping it removes the file; close the listener first or after, as you like.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    directory: PathBuf,
    /// Device and inode of the file that `bind` created.
    identity: (u64, u64),
}

/// Attempts to lock the directory, and the pause between two: one second altogether. The lock is held for a few
/// system calls only.
const LOCK_ATTEMPTS: u32 = 50;
const LOCK_PAUSE: Duration = Duration::from_millis(20);
/// Connections that wait for `accept`.
const BACKLOG: i32 = 64;

impl SocketFile {
    /// Creates the socket at `path` and listens. The directory is created if only it is missing. The listener is
    /// non-blocking. Beside its owner, `group` may open it.
    ///
    /// # Errors
    /// Somebody listens there, something else is there, there is no such group, or the operating system refuses.
    pub fn listen(path: &Path, group: Option<&str>) -> Result<(UnixListener, SocketFile), SocketError> {
        let failed = |what, path: &Path| {
            let path = path.to_owned();
            move |error: Errno| SocketError::Io { what, path, error: error.into() }
        };
        let address = SocketAddrUnix::new(path).map_err(|_| SocketError::TooLong(path.to_owned()))?;
        if path.file_name().is_none() {
            return Err(SocketError::NoName(path.to_owned()));
        }
        let directory = match path.parent() {
            Some(parent) if parent != Path::new("") => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        let group = group.map(Group::find).transpose()?;
        make_directory(&directory)?;
        let lock = lock_directory(&directory)?;

        refuse_or_remove(path, &address)?;
        let socket = new_socket().map_err(failed("make a socket for", path))?;
        // Linux gives the file that bind creates the mode of the socket, less the umask.
        rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR).map_err(failed("protect", path))?;
        rustix::net::bind(&socket, &address).map_err(failed("create", path))?;
        let metadata = owner_only(path)?;
        if let Some(group) = group {
            // The file would be removed by `SocketFile`, but that waits for the lock that is held here.
            group.admit_to(path).inspect_err(|_| drop(fs::remove_file(path)))?;
        }
        let file =
            SocketFile { path: path.to_owned(), directory, identity: (metadata.dev(), metadata.ino()) };
        rustix::net::listen(&socket, BACKLOG).map_err(failed("listen on", path))?;
        drop(lock);
        Ok((UnixListener::from(socket), file))
    }

    /// Where the socket is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Without the lock the file could become another gateway's between the look and the removal.
        let Ok(_lock) = lock_directory(&self.directory) else { return };
        let ours = fs::symlink_metadata(&self.path).is_ok_and(|m| (m.dev(), m.ino()) == self.identity);
        if ours {
            // If this fails the file stays and the next gateway finds that nobody listens on it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn new_socket() -> Result<OwnedFd, Errno> {
    rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )
}

fn make_directory(directory: &Path) -> Result<(), SocketError> {
    match fs::create_dir(directory) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => {
            Err(SocketError::Io { what: "create the directory", path: directory.to_owned(), error })
        }
    }
}

fn lock_directory(directory: &Path) -> Result<OwnedFd, SocketError> {
    let failed =
        |what| move |error: Errno| SocketError::Io { what, path: directory.to_owned(), error: error.into() };
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
    let fd = rustix::fs::open(directory, flags, Mode::empty()).map_err(failed("open the directory"))?;
    let mut attempts = LOCK_ATTEMPTS;
    loop {
        match rustix::fs::flock(&fd, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(fd),
            Err(Errno::WOULDBLOCK | Errno::INTR) if attempts > 0 => {
                attempts -= 1;
                std::thread::sleep(LOCK_PAUSE);
            }
            Err(error) => return Err(failed("lock the directory")(error)),
        }
    }
}

/// Makes way for `bind`: removes a socket that nobody listens on, and refuses everything else that is there.
fn refuse_or_remove(path: &Path, address: &SocketAddrUnix) -> Result<(), SocketError> {
    let failed = |what| move |error: io::Error| SocketError::Io { what, path: path.to_owned(), error };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("look at")(error)),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(SocketError::NotASocket(path.to_owned()));
        }
        Ok(_) => {}
    }
    let probe = new_socket().map_err(|error| failed("make a socket for")(error.into()))?;
    match rustix::net::connect(&probe, address) {
        Err(Errno::CONNREFUSED) => fs::remove_file(path).map_err(failed("remove the stale socket")),
        Err(Errno::NOENT) => Ok(()),
        Ok(()) => {
            let peer = rustix::net::sockopt::socket_peercred(&probe).ok();
            let pid = peer.map(|peer| peer.pid.as_raw_nonzero().get());
            Err(SocketError::InUse { path: path.to_owned(), pid })
        }
        // A listener whose backlog is full.
        Err(Errno::AGAIN) => Err(SocketError::InUse { path: path.to_owned(), pid: None }),
        Err(error) => Err(failed("find out who listens on")(error.into())),
    }
}

/// A group that may open the socket.
struct Group<'a> {
    name: &'a str,
    id: u32,
}

impl Group<'_> {
    /// The group with this name, or this number.
    fn find(name: &str) -> Result<Group<'_>, SocketError> {
        let known = nix::unistd::Group::from_name(name).ok().flatten().map(|group| group.gid.as_raw());
        let id = known.or_else(|| name.parse().ok());
        let id = id.ok_or_else(|| SocketError::NoGroup { group: name.to_owned() })?;
        Ok(Group { name, id })
    }

    /// Makes the file the group's, and only then lets the group in.
    fn admit_to(&self, path: &Path) -> Result<(), SocketError> {
        lchown(path, None, Some(self.id))
            .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o660)))
            .map_err(|error| SocketError::Group { group: self.name.to_owned(), path: path.to_owned(), error })
    }
}

/// Makes sure, before anybody can connect, that only the owner may.
fn owner_only(path: &Path) -> Result<fs::Metadata, SocketError> {
    let failed = |what| move |error: io::Error| SocketError::Io { what, path: path.to_owned(), error };
    let mut metadata = fs::symlink_metadata(path).map_err(failed("look at"))?;
    if metadata.permissions().mode() & 0o777 != 0o600 {
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(failed("protect"))?;
        metadata = fs::symlink_metadata(path).map_err(failed("look at"))?;
    }
    Ok(metadata)
}
