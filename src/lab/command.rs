//! Running other programs with a bound on their time.
//!
//! Nothing here waits without a limit: [`run`] kills what is not done in time, [`Background`] kills what it
//! started when it is dropped. Each program leads a process group of its own, so that a kill reaches what it
//! started itself, and Ctrl-C at the terminal reaches only natgate, which then stops the others in order.

use super::error::LabError;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How often a waiting thread looks whether the program has ended.
const LOOK: Duration = Duration::from_millis(5);

/// The time that commands get which only change the kernel's configuration.
pub const QUICK: Duration = Duration::from_secs(10);

/// What a program that ended left behind.
#[derive(Clone, Debug)]
pub struct Output {
    /// The command line, for messages.
    pub command: String,
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output, with invalid UTF-8 replaced.
    pub stdout: String,
    /// Its standard error, with invalid UTF-8 replaced.
    pub stderr: String,
    /// How long it took.
    pub elapsed: Duration,
}

impl Output {
    /// Turns an exit code other than 0 into an error.
    ///
    /// # Errors
    /// [`LabError::Failed`] with the command and what it said.
    pub fn success(self) -> Result<Output, LabError> {
        if self.status.success() {
            return Ok(self);
        }
        let output = if self.stderr.trim().is_empty() { self.stdout } else { self.stderr };
        Err(LabError::Failed { command: self.command, status: describe(self.status), output })
    }
}

/// An exit status in words.
pub fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "an unknown status".to_owned(),
    }
}

static SIGNALLED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// From here on SIGINT, SIGTERM and SIGHUP do not end the process but make every [`run`] fail with
/// [`LabError::Interrupted`], so that the caller returns and everything is taken down by `Drop`.
///
/// # Errors
/// When the handlers can not be installed.
pub fn catch_signals() -> Result<(), LabError> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    if SIGNALLED.get().is_some() {
        return Ok(());
    }
    let flag = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&flag))
            .map_err(|e| LabError::io("installing the signal handlers", e))?;
    }
    // A second caller that came in between has installed handlers of its own; both flags are set by a signal.
    let _ = SIGNALLED.set(flag);
    Ok(())
}

/// Whether a signal came since [`catch_signals`].
pub fn interrupted() -> bool {
    SIGNALLED.get().is_some_and(|flag| flag.load(Relaxed))
}

/// Runs a program to its end and returns what it wrote, whatever its exit code is.
///
/// # Errors
/// When it can not be started, takes longer than `limit` (it is killed then), or a signal came.
pub fn run(argv: &[&str], limit: Duration) -> Result<Output, LabError> {
    run_bounded(argv, limit, true)
}

/// Like [`run`], and an exit code other than 0 is an error.
///
/// # Errors
/// Those of [`run`], and [`LabError::Failed`].
pub fn check(argv: &[&str], limit: Duration) -> Result<Output, LabError> {
    run(argv, limit)?.success()
}

/// Like [`check`], for taking things down: goes on although a signal came.
///
/// # Errors
/// Those of [`check`].
pub fn clean(argv: &[&str]) -> Result<Output, LabError> {
    run_bounded(argv, QUICK, false)?.success()
}

fn run_bounded(argv: &[&str], limit: Duration, interruptible: bool) -> Result<Output, LabError> {
    let name = argv.join(" ");
    let begun = Instant::now();
    let mut child = command(argv)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|cause| LabError::Start { command: name.clone(), cause })?;
    let stdout = drain(child.stdout.take())?;
    let stderr = drain(child.stderr.take())?;
    let ended = wait(&mut child, limit, interruptible);
    if !matches!(ended, Ok(Some(_))) {
        kill_group(&mut child);
    }
    let (stdout, stderr) = (collect(stdout), collect(stderr));
    match ended? {
        Some(status) => Ok(Output { command: name, status, stdout, stderr, elapsed: begun.elapsed() }),
        None => Err(LabError::TimedOut { command: name, limit, output: format!("{stdout}{stderr}") }),
    }
}

fn command(argv: &[&str]) -> Command {
    let mut words = argv.iter();
    let mut command = Command::new(words.next().copied().unwrap_or("false"));
    command.args(words).process_group(0);
    // The output is read by programs.
    command.env("LC_ALL", "C");
    command
}

/// `Ok(None)`: the time is over.
fn wait(child: &mut Child, limit: Duration, interruptible: bool) -> Result<Option<ExitStatus>, LabError> {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait().map_err(|e| LabError::io("waiting for a program", e))? {
            return Ok(Some(status));
        }
        if interruptible && interrupted() {
            return Err(LabError::Interrupted);
        }
        if begun.elapsed() >= limit {
            return Ok(None);
        }
        thread::sleep(LOOK);
    }
}

/// Kills the program and whatever it started, and collects it. The group is the child's own (`process_group`).
fn kill_group(child: &mut Child) {
    signal(&format!("-{}", child.id()), "KILL");
    let _ = child.kill();
    let _ = child.wait();
}

/// The shell's own `kill`: there is none in std, and `unsafe` is not worth it here.
fn signal(target: &str, name: &str) {
    let _ = Command::new("sh")
        .args(["-c", &format!("kill -s {name} -- {target}")])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
}

type Drained = JoinHandle<Vec<u8>>;

/// Reads a pipe in a thread, so that a program never waits for us to read.
fn drain(pipe: Option<impl Read + Send + 'static>) -> Result<Option<Drained>, LabError> {
    let Some(mut pipe) = pipe else { return Ok(None) };
    let reader = move || {
        let mut bytes = Vec::new();
        let _ = pipe.read_to_end(&mut bytes);
        bytes
    };
    thread::Builder::new().spawn(reader).map(Some).map_err(|e| LabError::io("starting a reader thread", e))
}

fn collect(reader: Option<Drained>) -> String {
    let bytes = reader.and_then(|thread| thread.join().ok()).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A program that runs in the background until it is stopped or dropped.
#[derive(Debug)]
pub struct Background {
    command: String,
    child: Child,
    log: PathBuf,
}

impl Background {
    /// Starts a program whose standard output and error both go to the file `log`.
    ///
    /// It also dies with the thread that started it (`setpriv --pdeathsig`), so that not even a killed test leaves
    /// it running.
    ///
    /// # Errors
    /// When the log can not be written or the program not be started.
    pub fn start(argv: &[&str], log: &Path) -> Result<Background, LabError> {
        let name = argv.join(" ");
        let what = || format!("the log file {}", log.display());
        let stdout = File::create(log).map_err(|e| LabError::io(what(), e))?;
        let stderr = stdout.try_clone().map_err(|e| LabError::io(what(), e))?;
        let child = command(argv)
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(stderr)
            .spawn()
            .map_err(|cause| LabError::Start { command: name.clone(), cause })?;
        Ok(Background { command: name, child, log: log.to_owned() })
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote until now.
    pub fn log(&self) -> String {
        std::fs::read(&self.log).map_or_else(|_| String::new(), |b| String::from_utf8_lossy(&b).into_owned())
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// When the operating system does not say.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>, LabError> {
        self.child.try_wait().map_err(|e| LabError::io("asking for a program's state", e))
    }

    /// Fails, with what the program said, if it is not running any more.
    ///
    /// # Errors
    /// [`LabError::Failed`].
    pub fn still_running(&mut self) -> Result<(), LabError> {
        match self.ended()? {
            None => Ok(()),
            Some(status) => Err(LabError::Failed {
                command: self.command.clone(),
                status: describe(status),
                output: self.log(),
            }),
        }
    }

    /// Asks the program to end (SIGTERM) and waits for it.
    ///
    /// # Errors
    /// [`LabError::TimedOut`] when it does not end within `limit`; it is killed then.
    pub fn terminate(&mut self, limit: Duration) -> Result<ExitStatus, LabError> {
        if let Some(status) = self.ended()? {
            return Ok(status);
        }
        signal(&self.child.id().to_string(), "TERM");
        match wait(&mut self.child, limit, false)? {
            Some(status) => Ok(status),
            None => {
                kill_group(&mut self.child);
                Err(LabError::TimedOut { command: self.command.clone(), limit, output: self.log() })
            }
        }
    }

    /// Sends the program a signal by its name, such as `HUP`.
    pub fn signal(&self, name: &str) {
        signal(&self.child.id().to_string(), name);
    }

    /// Kills the program and whatever it started, without asking (SIGKILL), and waits for its end.
    pub fn kill(&mut self) {
        kill_group(&mut self.child);
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            kill_group(&mut self.child);
        }
    }
}

/// Tries `attempt` until it succeeds, at most for `limit`; the last failure is the result then.
///
/// # Errors
/// The last error of `attempt`, or [`LabError::Interrupted`].
pub fn retry<T>(
    limit: Duration,
    pause: Duration,
    mut attempt: impl FnMut() -> Result<T, LabError>,
) -> Result<T, LabError> {
    let begun = Instant::now();
    loop {
        match attempt() {
            Ok(value) => return Ok(value),
            Err(LabError::Interrupted) => return Err(LabError::Interrupted),
            Err(error) if begun.elapsed() >= limit => return Err(error),
            Err(_) if interrupted() => return Err(LabError::Interrupted),
            Err(_) => thread::sleep(pause),
        }
    }
}

/// Whether this process may make network namespaces.
pub fn is_root() -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    // The owner of /proc/self is the effective user.
    Ok(std::fs::metadata("/proc/self")?.uid() == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_command_is_named_with_what_it_said() {
        let error = check(&["sh", "-c", "echo no such thing >&2; exit 3"], QUICK).unwrap_err();
        assert!(error.to_string().ends_with("ended with exit code 3: no such thing"), "{error}");
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = check(&["natgate-has-no-such-program"], QUICK).unwrap_err();
        assert!(
            error.to_string().starts_with("`natgate-has-no-such-program` could not be started"),
            "{error}"
        );
    }

    #[test]
    fn a_command_that_hangs_is_killed_with_everything_it_started() {
        // The inner `sleep` holds the pipe open: without killing the group this would not return.
        let error = run(&["sh", "-c", "echo begun; sleep 60 & wait"], Duration::from_millis(50)).unwrap_err();
        assert!(matches!(&error, LabError::TimedOut { output, .. } if output == "begun\n"), "{error}");
    }

    #[test]
    fn a_background_program_ends_on_sigterm_and_its_log_stays() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        let script = "trap 'echo bye; exit 0' TERM; echo hello; while :; do sleep 0.01; done";
        let mut program = Background::start(&["sh", "-c", script], &log).unwrap();
        retry(QUICK, LOOK, || match program.log().contains("hello") {
            true => Ok(()),
            false => Err(LabError::unexpected("not yet")),
        })
        .unwrap();
        assert!(program.terminate(QUICK).unwrap().success());
        assert_eq!(program.log(), "hello\nbye\n");
    }
}
