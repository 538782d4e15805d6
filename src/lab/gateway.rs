//! The gateway under test: natgate itself, or the Linux kernel's NAT as the reference that natgate is held against.
//!
//! With `NATGATE_LAB_REFERENCE=kernel` in the environment the demo and the namespace tests run with the kernel's
//! nftables in natgate's place. What fails then is the experiment's own fault.

use super::command::{Background, Output, QUICK, interrupted, retry, run};
use super::error::LabError;
use super::link::silence;
use super::namespace::Namespace;
use super::topology::{
    BACKEND, CLIENT, CLOSED, FORWARDED, FULL_NAT, GATEWAY_INSIDE, GATEWAY_OUTSIDE, INSIDE, OUTSIDE, ROUTER,
    Site,
};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

/// How natgate reaches the kernel's interfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceKind {
    /// AF_PACKET sockets.
    AfPacket,
    /// AF_XDP sockets.
    AfXdp,
}

impl DeviceKind {
    /// How many queues the gateway's kernel interfaces should have for this many workers.
    pub fn queues(self, workers: u8) -> u8 {
        match self {
            DeviceKind::AfPacket => workers,
            // DPDK's driver opens only one queue of an interface without "combined" channels, and a veth has none.
            // What arrives in another queue would go to the kernel.
            DeviceKind::AfXdp => 1,
        }
    }

    /// The word in a device specification.
    pub fn name(self) -> &'static str {
        match self {
            DeviceKind::AfPacket => "af_packet",
            DeviceKind::AfXdp => "af_xdp",
        }
    }
}

/// How to start the gateway.
#[derive(Clone, Debug)]
pub struct GatewayOptions {
    /// The natgate binary.
    pub binary: PathBuf,
    /// The kind of device.
    pub device: DeviceKind,
    /// Number of workers.
    pub workers: u8,
}

/// Whether the environment asks for the kernel in natgate's place.
pub fn kernel_is_asked_for() -> bool {
    std::env::var_os("NATGATE_LAB_REFERENCE").is_some_and(|value| value == "kernel")
}

/// The config that a [`Site`] needs: masquerade, a forwarded port, full NAT.
pub fn config_text(device: DeviceKind, workers: u8, control: &Path) -> String {
    let device = device.name();
    // Beside the socket, so that the lab leaves nothing behind.
    let state = control.with_file_name("state");
    let (control, state) = (control.display(), state.display());
    format!(
        r#"[interface.lan]
device = "{device}:{INSIDE}"
realm = "internal"
address = "{GATEWAY_INSIDE}/24"

[interface.wan]
device = "{device}:{OUTSIDE}"
realm = "external"
address = "{GATEWAY_OUTSIDE}/24"
gateway = "{ROUTER}"

[[snat]]
from = ["192.168.1.0/24"]
out = "wan"
source = "interface"

[[dnat]]
on = "wan"
protocol = ["tcp", "udp"]
port = {FORWARDED}
to = "{CLIENT}:80"

[[dnat]]
on = "wan"
protocol = "tcp"
port = {FULL_NAT}
to = "{BACKEND}:80"
source = "interface"

[[dnat]]
on = "wan"
protocol = "udp"
port = {CLOSED}
to = "{CLIENT}:9"

[runtime]
workers = {workers}
poll = "adaptive"
control = "{control}"
state = "{state}"
"#
    )
}

/// A running gateway.
#[derive(Debug)]
pub enum Gateway {
    /// natgate as a process.
    Natgate(Natgate),
    /// The kernel's NAT.
    Kernel {
        /// Where its session table is.
        proc_file: &'static str,
        /// The gateway's namespace.
        namespace: Namespace,
    },
}

/// natgate as a process of its own in the gateway's namespace.
#[derive(Debug)]
pub struct Natgate {
    process: Background,
    namespace: Namespace,
    binary: PathBuf,
    config: PathBuf,
    control: PathBuf,
}

impl Gateway {
    /// Starts the gateway of a site and waits until it serves.
    ///
    /// # Errors
    /// When it can not be started or is not ready within half a minute; the error says what it wrote.
    pub fn start(site: &Site, options: &GatewayOptions) -> Result<Gateway, LabError> {
        if kernel_is_asked_for() {
            return start_kernel(site);
        }
        let text = config_text(options.device, options.workers, &Natgate::control(site));
        Ok(Gateway::Natgate(Natgate::start(site, &options.binary, &text)?))
    }

    /// The session table in the format of `conntrack -L -o extended`.
    ///
    /// # Errors
    /// When the gateway does not answer.
    pub fn sessions(&self) -> Result<String, LabError> {
        match self {
            Gateway::Natgate(natgate) => natgate.ask(&["sessions", "-o", "extended"]),
            Gateway::Kernel { proc_file, namespace } => {
                Ok(namespace.check(&["cat", proc_file], QUICK)?.stdout)
            }
        }
    }

    /// The counters in words, as `natgate show status` prints them; nothing for the kernel.
    ///
    /// # Errors
    /// When the gateway does not answer.
    pub fn status(&self) -> Result<String, LabError> {
        match self {
            Gateway::Natgate(natgate) => natgate.ask(&["show", "status"]),
            Gateway::Kernel { .. } => Ok(String::new()),
        }
    }

    /// natgate, unless the kernel stands in for it.
    pub fn natgate(&mut self) -> Option<&mut Natgate> {
        match self {
            Gateway::Natgate(natgate) => Some(natgate),
            Gateway::Kernel { .. } => None,
        }
    }
}

impl Natgate {
    /// The control socket that natgate has in a site; it belongs into its config.
    pub fn control(site: &Site) -> PathBuf {
        site.lab.directory().join("control.sock")
    }

    /// Starts natgate with a config of this text and waits until it serves.
    ///
    /// # Errors
    /// When it can not be started or is not ready within half a minute; the error says what it wrote.
    pub fn start(site: &Site, binary: &Path, text: &str) -> Result<Natgate, LabError> {
        for interface in [INSIDE, OUTSIDE] {
            silence(&site.gateway, interface)?;
        }
        let config = site.lab.directory().join("natgate.toml");
        write(&config, text)?;
        let process = spawn(&site.gateway, binary, &config)?;
        let (namespace, binary, control) = (site.gateway.clone(), binary.to_owned(), Natgate::control(site));
        let mut natgate = Natgate { process, namespace, binary, config, control };
        natgate.wait_until_ready()?;
        Ok(natgate)
    }

    /// Starts natgate again, by the same command, after it was ended or killed. Its log begins anew.
    ///
    /// # Errors
    /// Those of [`Natgate::start`].
    pub fn start_again(&mut self) -> Result<(), LabError> {
        self.process = spawn(&self.namespace, &self.binary, &self.config)?;
        self.wait_until_ready()
    }

    /// Writes another text into the config file. The process does not learn of it.
    ///
    /// # Errors
    /// When the file can not be written.
    pub fn write_config(&self, text: &str) -> Result<(), LabError> {
        write(&self.config, text)
    }

    fn wait_until_ready(&mut self) -> Result<(), LabError> {
        const PATIENCE: Duration = Duration::from_secs(30);
        let begun = std::time::Instant::now();
        loop {
            self.process.still_running()?;
            match self.ask(&["show", "status", "--json"]) {
                Ok(_) => return Ok(()),
                Err(error) if interrupted() || begun.elapsed() > PATIENCE => {
                    return Err(LabError::unexpected(format!(
                        "natgate does not answer on its control socket: {error}; it wrote: {}",
                        self.process.log().trim()
                    )));
                }
                Err(_) => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    }

    /// Runs a natgate command against this gateway's control socket and returns what it printed.
    ///
    /// # Errors
    /// When it fails.
    pub fn ask(&self, words: &[&str]) -> Result<String, LabError> {
        Ok(self.command(words)?.success()?.stdout)
    }

    /// The same, whatever its exit code is.
    ///
    /// # Errors
    /// When it can not be started or takes longer than half a minute.
    pub fn command(&self, words: &[&str]) -> Result<Output, LabError> {
        const PATIENCE: Duration = Duration::from_secs(30);
        let (binary, control) = (self.binary.display().to_string(), self.control.display().to_string());
        run(&[&[binary.as_str()], words, &["-s", &control]].concat(), PATIENCE)
    }

    /// The counters at rest: waits until every received packet has its verdict.
    ///
    /// # Errors
    /// When the sums do not add up after some patience: then a packet was lost without a trace.
    pub fn totals(&self) -> Result<Totals, LabError> {
        retry(Duration::from_secs(3), Duration::from_millis(100), || {
            let status = self.ask(&["show", "status", "--json"])?;
            let totals = Totals::parse(&status, &self.ask(&["show", "drops", "--json"])?)?;
            totals.add_up()?;
            Ok(totals)
        })
    }

    /// What natgate wrote until now.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Fails if natgate is not running any more.
    ///
    /// # Errors
    /// With its exit code and what it wrote.
    pub fn still_running(&mut self) -> Result<(), LabError> {
        self.process.still_running()
    }

    /// Sends SIGHUP, which has natgate read its config file again.
    pub fn hang_up(&self) {
        self.process.signal("HUP");
    }

    /// Kills natgate (SIGKILL): it has no time for anything.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Sends SIGTERM and waits for the end.
    ///
    /// # Errors
    /// When natgate does not end within ten seconds.
    pub fn terminate(&mut self) -> Result<ExitStatus, LabError> {
        self.process.terminate(QUICK)
    }
}

fn write(config: &Path, text: &str) -> Result<(), LabError> {
    std::fs::write(config, text).map_err(|e| LabError::io(format!("writing {}", config.display()), e))
}

fn spawn(namespace: &Namespace, binary: &Path, config: &Path) -> Result<Background, LabError> {
    let (binary, config) = (binary.display().to_string(), config.display().to_string());
    namespace.spawn("natgate", &[&binary, "run", "-c", &config])
}

/// The packet counters of all workers together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Received.
    pub rx: u64,
    /// Forwarded.
    pub sent: u64,
    /// Dealt with by the gateway itself.
    pub consumed: u64,
    /// Without a verdict yet.
    pub held: u64,
    /// Dropped, by reason, without zeros.
    pub drops: Vec<(String, u64)>,
}

impl Totals {
    /// Reads the answers of `natgate show status --json` and `natgate show drops --json`.
    ///
    /// # Errors
    /// When one of them is not JSON or misses a field.
    pub fn parse(status: &str, drops: &str) -> Result<Totals, LabError> {
        let counters = json(status)?;
        let field = |name: &str| {
            let value = counters.pointer(&format!("/total/{name}")).and_then(Value::as_u64);
            value.ok_or_else(|| LabError::unexpected(format!("the status has no number `{name}`: {status}")))
        };
        let listed = json(drops)?;
        let rows = listed.get("reasons").and_then(Value::as_array);
        let rows = rows.ok_or_else(|| LabError::unexpected(format!("no list of drop reasons: {drops}")))?;
        let drops = rows
            .iter()
            .filter_map(|row| Some((row.get("reason")?.as_str()?.to_owned(), row.get("packets")?.as_u64()?)));
        Ok(Totals {
            rx: field("rx")?,
            sent: field("sent")?,
            consumed: field("consumed")?,
            held: field("held")?,
            drops: drops.filter(|(_, packets)| *packets > 0).collect(),
        })
    }

    /// Checks that every packet received has exactly one verdict, or is held.
    ///
    /// # Errors
    /// With the sum that is wrong.
    pub fn add_up(&self) -> Result<(), LabError> {
        let dropped = self.dropped_altogether();
        let accounted = self.sent + self.consumed + dropped + self.held;
        if accounted == self.rx {
            return Ok(());
        }
        Err(LabError::unexpected(format!(
            "the counters do not add up: rx {} but sent {} + consumed {} + dropped {dropped} + held {} = {accounted}",
            self.rx, self.sent, self.consumed, self.held
        )))
    }

    /// How many packets were dropped for this reason.
    pub fn dropped(&self, reason: &str) -> u64 {
        self.drops.iter().filter(|(name, _)| name == reason).map(|(_, packets)| packets).sum()
    }

    /// How many packets were dropped for any reason.
    pub fn dropped_altogether(&self) -> u64 {
        self.drops.iter().map(|(_, packets)| packets).sum()
    }
}

fn json(text: &str) -> Result<Value, LabError> {
    serde_json::from_str(text).map_err(|e| LabError::unexpected(format!("this is not JSON ({e}): {text}")))
}

/// The same services by the kernel: addresses, forwarding, and NAT rules with the meaning of [`config_text`].
fn start_kernel(site: &Site) -> Result<Gateway, LabError> {
    let namespace = &site.gateway;
    namespace.ip(&["address", "add", &format!("{GATEWAY_INSIDE}/24"), "dev", INSIDE])?;
    namespace.ip(&["address", "add", &format!("{GATEWAY_OUTSIDE}/24"), "dev", OUTSIDE])?;
    namespace.ip(&["route", "add", "default", "via", &ROUTER.to_string()])?;
    namespace.sysctl("ipv4/ip_forward", "1")?;
    namespace.sysctl("netfilter/nf_conntrack_acct", "1")?;
    let rules = format!(
        "table ip nat {{
            chain pre {{ type nat hook prerouting priority -100;
                iifname {OUTSIDE} tcp dport {FORWARDED} dnat to {CLIENT}:80
                iifname {OUTSIDE} udp dport {FORWARDED} dnat to {CLIENT}:80
                iifname {OUTSIDE} tcp dport {FULL_NAT} dnat to {BACKEND}:80
                iifname {OUTSIDE} udp dport {CLOSED} dnat to {CLIENT}:9
            }}
            chain post {{ type nat hook postrouting priority 100;
                oifname {OUTSIDE} ip saddr 192.168.1.0/24 masquerade
                oifname {INSIDE} ip daddr {BACKEND} ct status dnat masquerade
            }}
        }}"
    );
    namespace.check(&["nft", &rules], QUICK)?;
    Ok(Gateway::Kernel { proc_file: "/proc/net/nf_conntrack", namespace: namespace.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = r#"{"total":{"rx":10,"sent":6,"consumed":2,"held":1,"dropped":1}}"#;
    const DROPS: &str =
        r#"{"total":1,"reasons":[{"reason":"no_rule","packets":1},{"reason":"no_route","packets":0}]}"#;

    #[test]
    fn counters_that_add_up_are_accepted_and_zeros_left_out() {
        let totals = Totals::parse(STATUS, DROPS).unwrap();
        totals.add_up().unwrap();
        assert_eq!(totals.drops, [("no_rule".to_owned(), 1)]);
        assert_eq!((totals.dropped("no_rule"), totals.dropped("no_route")), (1, 0));
    }

    #[test]
    fn a_packet_without_a_verdict_is_found() {
        let totals = Totals { rx: 11, ..Totals::parse(STATUS, DROPS).unwrap() };
        let error = totals.add_up().unwrap_err().to_string();
        assert!(error.contains("rx 11 but sent 6"), "{error}");
    }

    #[test]
    fn a_missing_counter_is_named() {
        let error = Totals::parse(r#"{"total":{"rx":1}}"#, DROPS).unwrap_err().to_string();
        assert!(error.contains("no number `sent`"), "{error}");
    }
}
