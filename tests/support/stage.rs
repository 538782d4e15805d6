//! A site with natgate in it and traffic through it, for tests that change the configuration meanwhile.

use super::{Steps, binary, skipped_without_root};
use natgate::control::api;
use natgate::control::reload::answer::{Reload, RunningConfig};
use natgate::lab::command::{QUICK, retry};
use natgate::lab::gateway::{Natgate, Totals, config_text, kernel_is_asked_for};
use natgate::lab::topology::{GATEWAY_INSIDE, GATEWAY_OUTSIDE, SERVER, Site};
use natgate::lab::traffic;
use natgate::lab::{Background, DeviceKind, LabError};
use serde::de::DeserializeOwned;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

const WORKERS: u8 = 2;
/// As many as AF_PACKET needs.
const QUEUES: u8 = WORKERS;
/// Less than a busy machine forwards in a debug build, so that what is lost is not for lack of time.
const RATE: &str = "50M";

/// A site with natgate in it, and a web server on either side. Fields are dropped in this order.
pub(crate) struct Stage {
    pub(crate) natgate: Natgate,
    pub(crate) servers: Vec<Background>,
    pub(crate) site: Site,
}

impl Stage {
    /// The small network; `text` makes the config of the lab's.
    pub(crate) fn new(text: impl FnOnce(&str) -> String) -> Stage {
        Stage::at(Site::small(QUEUES), text)
    }

    /// The full network.
    pub(crate) fn full(text: impl FnOnce(&str) -> String) -> Stage {
        Stage::at(Site::full(QUEUES), text)
    }

    fn at(site: Result<Site, LabError>, text: impl FnOnce(&str) -> String) -> Stage {
        let binary = binary();
        let site = site.expect("the network can be built");
        let web = |at| traffic::serve(&binary, at, "http", &["http-server", "0.0.0.0:80"]);
        let servers = [web(&site.client), web(&site.server), traffic::serve_iperf(&site.server)];
        let servers = servers.into_iter().collect::<Result<_, _>>().expect("the servers start");
        let base = config_text(DeviceKind::AfPacket, WORKERS, &Natgate::control(&site));
        let natgate = Natgate::start(&site, &binary, &text(&base)).expect("the gateway starts");
        Stage { natgate, servers, site }
    }

    pub(crate) fn forward_works(&self, port: u16) -> Result<String, LabError> {
        traffic::page(&self.site.server, at(GATEWAY_OUTSIDE, port), SERVER)
    }

    pub(crate) fn forward_is_gone(&self, port: u16) -> Result<String, LabError> {
        let url = format!("http://{GATEWAY_OUTSIDE}:{port}/");
        let curl = ["curl", "-sS", "--fail", "--connect-timeout", "1", &url];
        let output = self.site.server.exec(&curl, QUICK)?;
        is(!output.status.success(), || format!("{url} still gives {}", output.stdout))?;
        Ok(format!("{url}: {}", output.stderr.trim()))
    }

    pub(crate) fn runs(&self, text: &str) -> Result<String, LabError> {
        let running: RunningConfig = json(&self.natgate, &["config", "show", "--json"])?;
        is(running.config == text, || format!("another text runs, revision {}", running.revision))?;
        Ok(format!("revision {}", running.revision))
    }

    /// Ends the test: what natgate wrote belongs to a failure.
    pub(crate) fn finish(self, steps: Steps) {
        if !steps.all_passed() {
            let log = self.natgate.log();
            let last: Vec<&str> = log.lines().rev().take(40).collect();
            eprintln!("what natgate wrote last:");
            last.iter().rev().for_each(|line| eprintln!("{line}"));
        }
        steps.finish();
        drop(self.servers);
    }
}

pub(crate) fn cannot_run() -> bool {
    if kernel_is_asked_for() {
        eprintln!("SKIPPED: the kernel as the reference has neither reloads nor classes");
        return true;
    }
    skipped_without_root()
}

pub(crate) fn at(address: Ipv4Addr, port: u16) -> SocketAddr {
    SocketAddr::from((address, port))
}

pub(crate) fn is(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), LabError> {
    if holds { Ok(()) } else { Err(LabError::unexpected(otherwise())) }
}

pub(crate) fn json<T: DeserializeOwned>(natgate: &Natgate, words: &[&str]) -> Result<T, LabError> {
    let text = natgate.ask(words)?;
    serde_json::from_str(&text).map_err(|error| LabError::unexpected(format!("{words:?}: {error} in {text}")))
}

pub(crate) fn status(natgate: &Natgate) -> Result<api::Status, LabError> {
    json(natgate, &["show", "status", "--json"])
}

pub(crate) fn reload(natgate: &Natgate, more: &[&str]) -> Result<Reload, LabError> {
    json(natgate, &[&["reload", "--json"], more].concat())
}

/// What must not change while configurations do.
#[derive(Debug, PartialEq)]
pub(crate) struct Still {
    pub(crate) drops: Vec<(String, u64)>,
    pub(crate) removed: u64,
}

pub(crate) fn still(natgate: &Natgate) -> Result<Still, LabError> {
    let Totals { drops, .. } = natgate.totals()?;
    Ok(Still { drops, removed: status(natgate)?.total.sessions_removed })
}

/// Starts a TCP connection that sends until it is stopped.
pub(crate) fn start_flow(stage: &Stage) -> Result<Background, LabError> {
    let to = SERVER.to_string();
    let argv = ["iperf3", "--json", "--client", &to, "--time", "3600", "--bitrate", RATE];
    let count = || Ok(status(&stage.natgate)?.sessions.used);
    // One to talk about it, and the one itself.
    let with_both = 2 + count()?;
    let flow = stage.site.client.spawn("iperf3", &argv)?;
    retry(QUICK, Duration::from_millis(50), || {
        is(count()? >= with_both, || format!("iperf3 does not connect: {}", flow.log()))
    })?;
    Ok(flow)
}

/// The flow without a reload, about as long as it runs with them: what is dropped here is not for them. Returns the seconds.
pub(crate) fn quiet(stage: &Stage) -> Result<usize, LabError> {
    const SECONDS: usize = 15;
    let before = still(&stage.natgate)?;
    // The gateway answers by itself: no session.
    let (count, to) = ((SECONDS + 1).to_string(), GATEWAY_INSIDE.to_string());
    stage.site.client.check(&["ping", "-n", "-q", "-c", &count, "-i", "1", &to], 2 * QUICK)?;
    let after = still(&stage.natgate)?;
    is(before == after, || format!("without any reload {before:?} became {after:?}"))?;
    Ok(SECONDS)
}

/// iperf3's report when it was stopped: every second had its bytes, and nothing but the stop ended it.
pub(crate) fn flow_report(text: &str, quiet: usize) -> Result<String, LabError> {
    let report: serde_json::Value =
        serde_json::from_str(text).map_err(|error| LabError::unexpected(format!("{error}: {text}")))?;
    let error = report.get("error").and_then(serde_json::Value::as_str).unwrap_or_default();
    is(error.starts_with("interrupt"), || format!("iperf3 ended by itself: {error}"))?;
    let intervals = report.get("intervals").and_then(serde_json::Value::as_array);
    let every_second = |what: &str| -> Vec<u64> {
        let number = |interval: &serde_json::Value| interval.pointer(&format!("/sum/{what}"))?.as_u64();
        intervals.into_iter().flatten().filter_map(number).collect()
    };
    let (bytes, repeated) = (every_second("bytes"), every_second("retransmits"));
    // The last one is as long as it took to stop.
    let whole = bytes.split_last().map_or(&[][..], |(_, whole)| whole);
    is(whole.len() > quiet && whole.iter().all(|bytes| *bytes > 0), || format!("bytes a second: {whole:?}"))?;
    let (before, during) = repeated.split_at_checked(quiet).unwrap_or_default();
    Ok(format!(
        "a TCP connection at {RATE}bit/s over {} s; segments repeated: {} in the {} s before, {} in the {} s with reloads",
        bytes.len(),
        before.iter().sum::<u64>(),
        before.len(),
        during.iter().sum::<u64>(),
        during.len(),
    ))
}
