//! Network namespaces that are taken down again, whatever happens.
//!
//! A [`Lab`] owns everything that an experiment makes: its namespaces (named `natgate-PID-NUMBER-NAME`) and a
//! directory for logs and sockets. Dropping it ends the processes inside the namespaces and removes both. What a
//! killed process left behind is removed by the next [`Lab::new`] on the machine, which recognises it by the
//! dead process's id in the name.

use super::command::{Background, Output, QUICK, catch_signals, check, clean, is_root, run};
use super::error::LabError;
use std::cell::{Cell, RefCell};
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

const PREFIX: &str = "natgate-";

/// An experiment: namespaces, files and their end.
#[derive(Debug)]
pub struct Lab {
    prefix: String,
    directory: PathBuf,
    namespaces: RefCell<Vec<String>>,
    keep: Cell<bool>,
}

impl Lab {
    /// A new, empty laboratory. Catches signals from here on (see [`catch_signals`]) and removes what dead
    /// processes left behind.
    ///
    /// # Errors
    /// Without root, or when the directory can not be made.
    pub fn new() -> Result<Lab, LabError> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        if !is_root().map_err(|e| LabError::io("reading /proc/self", e))? {
            return Err(LabError::NotRoot);
        }
        catch_signals()?;
        remove_stale()?;
        let prefix = format!("{PREFIX}{}-{}", std::process::id(), NUMBER.fetch_add(1, Relaxed));
        let directory = std::env::temp_dir().join(&prefix);
        DirBuilder::new()
            .mode(0o700)
            .create(&directory)
            .map_err(|e| LabError::io(format!("making the directory {}", directory.display()), e))?;
        Ok(Lab { prefix, directory, namespaces: RefCell::default(), keep: Cell::new(false) })
    }

    /// A directory for logs, sockets and files, removed at the end. Only root can read it.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Leaves everything in place at the end, for looking at it.
    pub fn keep(&self) {
        self.keep.set(true);
    }

    /// The names of the namespaces made so far.
    pub fn namespace_names(&self) -> Vec<String> {
        self.namespaces.borrow().clone()
    }

    /// Makes a namespace. IPv6 is off in it, loopback is up, and ICMP errors are not rate-limited (the kernel
    /// would otherwise hide some hops of a traceroute).
    ///
    /// # Errors
    /// When one of the commands fails.
    pub fn namespace(&self, name: &str) -> Result<Namespace, LabError> {
        let full = format!("{}-{name}", self.prefix);
        check(&["ip", "netns", "add", &full], QUICK)?;
        self.namespaces.borrow_mut().push(full.clone());
        let namespace = Namespace { name: full, short: name.to_owned(), directory: self.directory.clone() };
        namespace.ip(&["link", "set", "lo", "up"])?;
        namespace.sysctl("ipv6/conf/all/disable_ipv6", "1")?;
        namespace.sysctl("ipv6/conf/default/disable_ipv6", "1")?;
        namespace.sysctl("ipv4/icmp_ratelimit", "0")?;
        Ok(namespace)
    }

    fn remove(&self) {
        for name in self.namespaces.borrow().iter() {
            remove_namespace(name);
        }
        let _ = fs::remove_dir_all(&self.directory);
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if !self.keep.get() {
            self.remove();
        }
    }
}

/// Ends whatever runs in a namespace of ours, and removes it.
fn remove_namespace(name: &str) {
    if let Ok(pids) = clean(&["ip", "netns", "pids", name]) {
        for pid in pids.stdout.split_whitespace() {
            // Every process in there was started by the laboratory.
            let _ = clean(&["sh", "-c", &format!("kill -s KILL {pid} 2>/dev/null || true")]);
        }
    }
    let _ = clean(&["ip", "netns", "del", name]);
}

fn remove_stale() -> Result<(), LabError> {
    let listed = check(&["ip", "netns", "list"], QUICK)?;
    for name in listed.stdout.lines().filter_map(|line| line.split_whitespace().next()) {
        if owner(name).is_some_and(is_dead) {
            remove_namespace(name);
        }
    }
    let Ok(entries) = fs::read_dir(std::env::temp_dir()) else { return Ok(()) };
    for entry in entries.flatten() {
        let ours = entry.file_name().to_str().and_then(owner).is_some_and(is_dead);
        if ours && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    Ok(())
}

/// The process that a laboratory's name belongs to.
fn owner(name: &str) -> Option<u32> {
    let mut parts = name.strip_prefix(PREFIX)?.split('-');
    let pid = parts.next()?.parse().ok()?;
    parts.next()?.parse::<u32>().ok()?;
    Some(pid)
}

fn is_dead(pid: u32) -> bool {
    !Path::new("/proc").join(pid.to_string()).exists()
}

/// A network namespace: a host of the experiment. The [`Lab`] removes it.
#[derive(Clone, Debug)]
pub struct Namespace {
    name: String,
    short: String,
    directory: PathBuf,
}

impl Namespace {
    /// The name for `ip netns`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name for people: what was given to [`Lab::namespace`].
    pub fn short(&self) -> &str {
        &self.short
    }

    /// Runs `ip ARGS` in the namespace.
    ///
    /// # Errors
    /// Those of [`check`].
    pub fn ip(&self, args: &[&str]) -> Result<Output, LabError> {
        check(&[&["ip", "-n", &self.name], args].concat(), QUICK)
    }

    /// Runs a program in the namespace to its end, whatever its exit code is.
    ///
    /// # Errors
    /// Those of [`run`].
    pub fn exec(&self, argv: &[&str], limit: Duration) -> Result<Output, LabError> {
        run(&self.inside(argv), limit)
    }

    /// Runs a program in the namespace to its end; an exit code other than 0 is an error.
    ///
    /// # Errors
    /// Those of [`check`].
    pub fn check(&self, argv: &[&str], limit: Duration) -> Result<Output, LabError> {
        self.exec(argv, limit)?.success()
    }

    /// Starts a program in the namespace; what it writes goes to `NAMESPACE-NAME.log` in the laboratory's directory.
    ///
    /// # Errors
    /// When it can not be started.
    pub fn spawn(&self, name: &str, argv: &[&str]) -> Result<Background, LabError> {
        let log = self.directory.join(format!("{}-{name}.log", self.short));
        let bound = [&["setpriv", "--pdeathsig", "KILL", "--"], argv].concat();
        Background::start(&self.inside(&bound), &log)
    }

    /// Writes a setting below `/proc/sys/net` of the namespace.
    ///
    /// # Errors
    /// When there is no such setting.
    pub fn sysctl(&self, path: &str, value: &str) -> Result<(), LabError> {
        let script = format!("echo {value} > /proc/sys/net/{path}");
        self.check(&["sh", "-c", &script], QUICK).map(|_| ())
    }

    fn inside<'a>(&'a self, argv: &[&'a str]) -> Vec<&'a str> {
        [&["ip", "netns", "exec", &self.name], argv].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_laboratories_have_an_owner() {
        assert_eq!(owner("natgate-4711-0-client"), Some(4711));
        assert_eq!(owner("natgate-4711-0"), Some(4711));
        assert_eq!(owner("natgate-production"), None);
        assert_eq!(owner("natgate-4711-backup"), None);
        assert_eq!(owner("client"), None);
    }

    #[test]
    fn the_running_process_is_not_stale() {
        assert!(!is_dead(std::process::id()));
    }
}
