//! The virtual machine: `scripts/vm-lab boot`, and commands to its shell.
//!
//! The machine ends with [`Guest`], whatever ends that: the script watches the pipe to its standard input.

use crate::wire::Wire;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::Ipv4Addr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Longest time until QEMU runs, with what there is to download.
const START: Duration = Duration::from_secs(300);
/// Longest time from there to natgate's first answer: ten seconds, or several times as long on a busy machine.
const BOOT: Duration = Duration::from_secs(60);
/// How often a guest is booted that falls silent before natgate starts: once in some dozens of times an emulated CPU loses its
/// timer, and Linux waits for it for ever.
const BOOTS: usize = 3;
/// Longest time for a command.
const ANSWER: Duration = Duration::from_secs(60);

/// The running machine.
pub(crate) struct Guest {
    /// The inner side's wire.
    pub(crate) lan: Wire,
    /// The outer side's wire.
    pub(crate) wan: Wire,
    /// natgate's workers.
    pub(crate) workers: usize,
    script: Child,
    commands: BufReader<UnixStream>,
    directory: TempDir,
}

impl Guest {
    /// Boots and waits until natgate forwards. `runtime` is a further line for `[runtime]` in its config, or empty.
    pub(crate) fn boot(workers: usize, runtime: &str) -> Guest {
        for attempt in 1.. {
            let mut guest = Guest::start(workers, runtime);
            match guest.try_answer(BOOT) {
                Ok((_, word)) if word == "#ready" => return guest,
                Ok((said, word)) => {
                    panic!("the guest did not get ready ({word}):\n{said}\n{}", guest.console())
                }
                Err(silence) if attempt == BOOTS => panic!("{silence}"),
                Err(silence) => eprintln!("{silence}\nbooting again"),
            }
        }
        unreachable!("the last attempt returns or panics")
    }

    fn start(workers: usize, runtime: &str) -> Guest {
        let directory = tempfile::Builder::new().prefix("natgate-lab.").tempdir().unwrap();
        let wire = |name: &str, gateway| Wire::new(directory.path(), name, gateway);
        let lan = wire("lan", Ipv4Addr::new(192, 168, 1, 1));
        let wan = wire("wan", Ipv4Addr::new(203, 0, 113, 2));
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/vm-lab");
        let mut script = Command::new(script)
            .arg("boot")
            .arg(directory.path())
            .args(["--workers", &workers.to_string(), "--runtime", runtime])
            .args(["--natgate", env!("CARGO_BIN_EXE_natgate")])
            .stdin(Stdio::piped())
            .spawn()
            .expect("scripts/vm-lab can be run");
        let commands = connect(&directory.path().join("commands"), &mut script);
        Guest { lan, wan, workers, script, commands, directory }
    }

    /// Runs a line of shell in the guest: what it wrote. Panics if it failed.
    pub(crate) fn run(&mut self, command: &str) -> String {
        writeln!(self.commands.get_mut(), "{command}").expect("the guest listens");
        let (said, word) = self.answer(ANSWER);
        assert_eq!(word, "#status 0", "`{command}` failed in the guest:\n{said}");
        said
    }

    /// A view of natgate as JSON.
    pub(crate) fn show(&mut self, what: &str) -> serde_json::Value {
        let text = self.run(&format!("natgate show {what} --json"));
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("show {what}: {error}: {text}"))
    }

    /// What kernel, init and natgate wrote.
    pub(crate) fn console(&self) -> String {
        fs::read_to_string(self.directory.path().join("console.log")).unwrap_or_default()
    }

    /// Lines up to one that begins with `#`, and that one.
    fn answer(&mut self, within: Duration) -> (String, String) {
        self.try_answer(within).unwrap_or_else(|silence| panic!("{silence}"))
    }

    /// As [`Guest::answer`]; if none comes, what there was before and on the console.
    fn try_answer(&mut self, within: Duration) -> Result<(String, String), String> {
        self.commands.get_ref().set_read_timeout(Some(within)).unwrap();
        let mut said = String::new();
        loop {
            let mut line = String::new();
            match self.commands.read_line(&mut line) {
                Ok(1..) if line.starts_with('#') => return Ok((said, line.trim_end().to_owned())),
                Ok(1..) => said += &line,
                end => return Err(format!("the guest fell silent ({end:?}):\n{said}\n{}", self.console())),
            }
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("the guest's console:\n{}", self.console());
        }
        // The script takes the machine down and removes what it made.
        drop(self.script.stdin.take());
        let _ = self.script.wait();
    }
}

/// The command socket, once QEMU listens on it; before that the script may have much to build.
fn connect(path: &PathBuf, script: &mut Child) -> BufReader<UnixStream> {
    let deadline = Instant::now() + START;
    loop {
        if let Ok(stream) = UnixStream::connect(path) {
            return BufReader::new(stream);
        }
        if let Ok(Some(status)) = script.try_wait() {
            panic!("scripts/vm-lab ended early: {status}");
        }
        if Instant::now() > deadline {
            drop(script.stdin.take());
            panic!("scripts/vm-lab did not start QEMU within {START:?}");
        }
        thread::sleep(Duration::from_millis(50));
    }
}
