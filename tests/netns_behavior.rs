//! Mapping and filtering as programs on real hosts see them: coturn's RFC 5780 client classifies every setting, and two hosts
//! behind the gateway meet by their external addresses.
//!
//! Needs root, and the programs that `scripts/test` installs.

#![cfg(feature = "dpdk")]
#![allow(clippy::expect_used, clippy::print_stderr, reason = "a test")]

mod support;

use natgate::lab::command::{Background, QUICK, retry};
use natgate::lab::link::default_route;
use natgate::lab::topology::{BACKEND, CLIENT, GATEWAY_INSIDE, GATEWAY_OUTSIDE, SERVER, Site};
use natgate::lab::traffic;
use natgate::lab::{LabError, Namespace};
use std::time::Duration;
use support::stage::{Stage, at, cannot_run, is, reload};
use support::{Steps, alone, binary};

/// The STUN server's second address.
const OTHER: &str = "203.0.113.12";
/// Each has to wait for answers that do not come.
const LONG: Duration = Duration::from_secs(60);

/// A setting, and how the client calls it.
const KINDS: [(&str, &str); 3] = [
    ("endpoint-independent", "Endpoint Independent"),
    ("address-dependent", "Address Dependent"),
    ("address-and-port-dependent", "Address and Port Dependent"),
];

/// coturn's programs: where `scripts/test` put them, or on the path.
fn program(variable: &str, name: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| name.to_owned())
}

fn classifies(at: &Namespace, option: &str) -> Result<String, LabError> {
    let client = program("NATGATE_NATDISCOVERY", "turnutils_natdiscovery");
    let (from, to) = (CLIENT.to_string(), SERVER.to_string());
    Ok(at.check(&[&client, option, "-L", &from, &to], LONG)?.stdout)
}

/// What the client says last of what it is asked for.
fn verdict(said: &str) -> Option<&str> {
    let lines = said.lines().map(str::trim);
    lines.filter_map(|line| line.strip_prefix("NAT with ")?.strip_suffix('!')).next_back()
}

fn stun_server(site: &Site) -> Result<Background, LabError> {
    site.server.ip(&["address", "add", &format!("{OTHER}/24"), "dev", "eth0"])?;
    let scratch = |name: &str| site.lab.directory().join(name).display().to_string();
    let (users, id, address) = (scratch("turn.db"), scratch("turn.pid"), SERVER.to_string());
    let words = [&program("NATGATE_TURNSERVER", "turnserver"), "-n", "--no-auth", "--no-tls", "--no-dtls"];
    let files = ["--no-cli", "--log-file", "stdout", "--userdb", &users, "--pidfile", &id];
    let addresses = ["-L", &address, "-L", OTHER];
    let mut server = site.server.spawn("turnserver", &[&words[..], &files, &addresses].concat())?;
    retry(QUICK, Duration::from_millis(50), || {
        server.still_running()?;
        is(server.log().contains("DB connection success"), || format!("it does not start: {}", server.log()))
    })?;
    Ok(server)
}

/// The hosts' own ports are not among the pool's: a port that is kept is the same to everybody, whatever decides.
fn pool(base: &str, mapping: &str, filtering: &str) -> String {
    let pool = format!(
        "\n[pool.outside]\naddresses = \"203.0.113.9\"\nports = \"1024-30000\"\n\
         mapping = \"{mapping}\"\nfiltering = \"{filtering}\"\n"
    );
    base.replacen("source = \"interface\"", "source = \"pool.outside\"", 1) + &pool
}

/// Whether coturn is there; where everything has to be tested it must be.
fn no_coturn() -> bool {
    let client = program("NATGATE_NATDISCOVERY", "turnutils_natdiscovery");
    let there = std::process::Command::new(client).output().is_ok();
    assert!(there || std::env::var_os("CI").is_none(), "coturn's programs are not there");
    if !there {
        eprintln!("SKIPPED: coturn's turnutils_natdiscovery is not there");
    }
    !there
}

#[test]
fn every_mapping_and_filtering_is_classified_as_it_is_configured() {
    if cannot_run() || no_coturn() {
        return;
    }
    let _alone = alone();
    let mut base = String::new();
    let stage = Stage::new(|text| {
        base = text.to_owned();
        text.to_owned()
    });
    let mut steps = Steps::default();
    let mut stun = None;
    steps.see("STUN server", || {
        stun = Some(stun_server(&stage.site)?);
        Ok(format!("{SERVER} and {OTHER}"))
    });
    for (mapping, maps) in KINDS {
        for (filtering, filters) in KINDS {
            steps.see(&format!("{mapping}, {filtering}"), || {
                stage.natgate.write_config(&pool(&base, mapping, filtering))?;
                reload(&stage.natgate, &[])?;
                for (option, expected) in
                    [("-m", format!("{maps} Mapping")), ("-f", format!("{filters} Filtering"))]
                {
                    let said = classifies(&stage.site.client, option)?;
                    is(verdict(&said) == Some(&expected), || format!("not {expected}: {said}"))?;
                }
                Ok(format!("{maps} Mapping, {filters} Filtering"))
            });
        }
    }
    drop(stun);
    stage.finish(steps);
}

/// A host that wants to meet another one.
fn meets(at: &Namespace) -> Result<Background, LabError> {
    at.spawn("meet", &[&binary().display().to_string(), "peer", "udp-meet", &format!("{SERVER}:3000")])
}

#[test]
fn two_hosts_behind_the_gateway_meet_by_their_external_addresses() {
    if cannot_run() {
        return;
    }
    let _alone = alone();
    // As it is by default.
    let stage = Stage::full(str::to_owned);
    let Site { client, backend, server, .. } = &stage.site;
    let mut steps = Steps::default();
    let mut introducer = None;
    steps.see("the other host's default route", || {
        default_route(backend, GATEWAY_INSIDE)?;
        Ok(GATEWAY_INSIDE.to_string())
    });
    steps.see("a server that introduces them", || {
        introducer =
            Some(traffic::serve(&binary(), server, "introduce", &["udp-introduce", "0.0.0.0:3000"])?);
        Ok(at(SERVER, 3000).to_string())
    });
    steps.see("they hear each other", || {
        let mut hosts = [meets(client)?, meets(backend)?];
        for host in &mut hosts {
            retry(LONG, Duration::from_millis(50), || {
                let ended = host.ended()?;
                is(ended.is_some(), || "it still waits".to_owned())
            })?;
            let heard = host.log();
            is(heard.starts_with(&format!("{GATEWAY_OUTSIDE}:")), || format!("heard from: {heard}"))?;
        }
        Ok(format!("{CLIENT} and {BACKEND}: {} and {}", hosts[0].log().trim(), hosts[1].log().trim()))
    });
    drop(introducer);
    stage.finish(steps);
}
