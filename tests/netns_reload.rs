//! Reload of the real process between real hosts: ten thousand rules and a hundred thousand sessions under traffic, what
//! becomes of a trial when the process is killed, and SIGHUP.
//!
//! Needs root, and the programs that `scripts/test` installs. What it measures is printed and not asserted: times depend
//! on the machine and on what else runs there.

#![cfg(feature = "dpdk")]
#![allow(clippy::cast_precision_loss, clippy::expect_used, clippy::print_stderr, reason = "a test")]

mod support;

use natgate::control::api;
use natgate::control::reload::answer::Took;
use natgate::lab::LabError;
use natgate::lab::command::{QUICK, retry};
use natgate::lab::gateway::Natgate;
use natgate::lab::topology::{CLIENT, FORWARDED, SERVER};
use std::fmt::Write;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};
use support::Steps;
use support::stage::{Stage, at, cannot_run, flow_report, is, quiet, reload, start_flow, status, still};

/// A forward to the client's port 80 that only one of two configs has.
const OTHER: u16 = 8090;

// ----- Ten thousand rules, a hundred thousand sessions, a hundred reloads.

const RULES: u32 = 10_000;
const RELOADS: u32 = 100;
/// Hosts behind the client that open sessions, and the first of them.
const HOSTS: u32 = 100;
const FIRST_HOST: &str = "192.168.1.128";
const PORTS: u16 = 1000;
/// Where they send: the server drops it, as nobody is to answer.
const SINK: u16 = 9999;

/// No session ends by itself while the test runs, so that none may be missing.
const LONG: &str = r#"[conntrack.timeouts]
tcp_fin_wait = "1h"
tcp_close_wait = "1h"
tcp_last_ack = "1h"
tcp_time_wait = "1h"
tcp_close = "1h"
udp_stream = "1h"
"#;

/// The lab's config behind [`RULES`] rules that match nothing of what is sent, in one of two variants that differ in a
/// rule, a forward, an address of the pool and a timeout.
fn large(base: &str, variant: u32) -> String {
    let (udp, last, forward) =
        [("1h", 71, OTHER), ("2h", 72, OTHER + 1)][usize::try_from(variant % 2).expect("0 or 1")];
    let mut text = format!(
        "{LONG}udp = \"{udp}\"\n[pool.many]\naddresses = \"203.0.113.64-203.0.113.{last}\"\n\
         [[dnat]]\non = \"wan\"\nprotocol = \"tcp\"\nport = {forward}\nto = \"{CLIENT}:80\"\n"
    );
    let mut rule = |n: u32| {
        let [_, _, high, low] = n.to_be_bytes();
        writeln!(text, "[[snat]]\nfrom = \"10.7.{high}.{low}\"\nsource = \"pool.many\"")?;
        let (address, port) = (Ipv4Addr::from_bits(0xc633_6401 + n % 100), 1000 + n / 100);
        writeln!(
            text,
            "[[dnat]]\naddress = \"{address}\"\nprotocol = \"tcp\"\nport = {port}\nto = \"192.168.1.{}:80\"",
            30 + n % 50
        )
    };
    (variant % 2..RULES / 2 + variant % 2).try_for_each(&mut rule).expect("a string takes everything");
    format!(
        "{text}[[route]]\nto = \"10.7.0.0/16\"\nvia = \"{CLIENT}\"\n[[snat]]\nfrom = \"{FIRST_HOST}/25\"\nsource = \"pool.many\"\n{base}"
    )
}

/// Opens the sessions. What the devices lose on the way is sent again.
fn open_sessions(stage: &Stage) -> Result<String, LabError> {
    let Stage { natgate, site, .. } = stage;
    let wanted = u64::from(HOSTS) * u64::from(PORTS);
    let sink = format!(
        "table ip sink {{ chain in {{ type filter hook input priority 0; udp dport {SINK} drop\n }}\n }}"
    );
    site.server.check(&["nft", &sink], QUICK)?;
    site.client.ip(&["route", "add", "local", &format!("{FIRST_HOST}/25"), "dev", "lo"])?;
    let (binary, to) = (support::binary().display().to_string(), at(SERVER, SINK).to_string());
    let (hosts, ports) = (HOSTS.to_string(), PORTS.to_string());
    let crowd = ["peer", "udp-crowd", &to, "--from", FIRST_HOST, "--addresses", &hosts, "--ports", &ports];
    let begun = Instant::now();
    for round in 1..=5 {
        site.client.check(&[&[binary.as_str()], &crowd[..]].concat(), Duration::from_secs(60))?;
        let used = status(natgate)?.sessions.used;
        if used >= wanted {
            return Ok(format!(
                "{used} in {:.0} s, {round} datagrams each at the most",
                begun.elapsed().as_secs_f64()
            ));
        }
    }
    Err(LabError::unexpected(format!(
        "only {} of {wanted} sessions: {:?}",
        status(natgate)?.sessions.used,
        natgate.totals()?
    )))
}

/// How many segments that the client repeated had arrived all the same, as the server said (RFC 2883): those that the kernel
/// repeats to probe, when an acknowledgement takes long.
fn repeated_in_vain(stage: &Stage) -> Result<String, LabError> {
    let nstat = ["nstat", "-asz", "TcpExtTCPDSACKRecvSegs"];
    let said = stage.site.client.check(&nstat, QUICK)?.stdout;
    let row = said.lines().find_map(|line| line.strip_prefix("TcpExtTCPDSACKRecvSegs"));
    let number = row.and_then(|row| row.split_whitespace().next()).unwrap_or("an unknown number");
    Ok(format!("{number} of these had arrived"))
}

/// How long the parts of reloads took, in microseconds.
#[derive(Default)]
struct Times {
    total: Vec<f64>,
    check: Vec<f64>,
    compile: Vec<f64>,
    adopt: Vec<f64>,
    /// The turn of each worker in which it took the configuration.
    turns: Vec<f64>,
}

impl Times {
    fn note(&mut self, natgate: &Natgate, took: &Took) -> Result<(), LabError> {
        self.total.push(took.total_seconds * 1e6);
        self.check.push(took.check_seconds * 1e6);
        self.compile.push(took.compile_seconds * 1e6);
        self.adopt.push(took.adopt_seconds * 1e6);
        let turn = |worker: &api::WorkerStatus| Duration::from_nanos(worker.adopt_turn_nanoseconds);
        self.turns.extend(status(natgate)?.workers.iter().map(|worker| turn(worker).as_secs_f64() * 1e6));
        Ok(())
    }

    fn print(self) {
        for (what, mut times) in [
            ("from the request to the last worker", self.total),
            ("  of that reading and checking", self.check),
            ("  comparing and compiling", self.compile),
            ("  from the publication on", self.adopt),
            ("a worker's turn that takes it", self.turns),
        ] {
            times.sort_by(f64::total_cmp);
            let (median, most) = (times.get(times.len() / 2), times.last());
            let (median, most) = (median.unwrap_or(&0.0), most.unwrap_or(&0.0));
            eprintln!("         {what:<36} median {median:>9.1} us, max {most:>9.1} us");
        }
    }
}

fn reload_often(stage: &Stage, texts: &[String; 2]) -> Result<String, LabError> {
    let natgate = &stage.natgate;
    let mut flow = start_flow(stage)?;
    let quiet = quiet(stage)?;
    let count = || Ok(status(natgate)?.sessions.used);
    let (before, sessions) = (still(natgate)?, count()?);
    let mut times = Times::default();
    for n in 1..=RELOADS {
        natgate.write_config(&texts[usize::from(n % 2 == 1)])?;
        let done = reload(natgate, &[])?;
        is(done.applied && done.problems.is_empty() && done.changes.len() >= 4, || {
            format!("reload {n}: {done:?}")
        })?;
        let effect = done.sessions;
        is(effect.deleted == 0 && effect.moved == 0, || format!("reload {n}: {effect:?}"))?;
        times.note(natgate, &done.took)?;
    }
    flow.still_running()?;
    let (after, left) = (still(natgate)?, count()?);
    is(before == after, || format!("{before:?} became {after:?}"))?;
    is(left == sessions, || format!("{sessions} sessions became {left}"))?;
    flow.terminate(QUICK)?;
    let flow = format!("{}, {}", flow_report(&flow.log(), quiet)?, repeated_in_vain(stage)?);
    times.print();
    Ok(format!(
        "{RELOADS} of {RULES} rules applied under {sessions} sessions and {flow}; as before: {after:?}"
    ))
}

#[test]
fn a_hundred_reloads_of_ten_thousand_rules_lose_no_packet_and_no_session() {
    if cannot_run() {
        return;
    }
    let _alone = support::alone();
    let mut texts = [String::new(), String::new()];
    let stage = Stage::new(|base| {
        texts = [0, 1].map(|variant| large(base, variant));
        texts[0].clone()
    });
    let mut steps = Steps::default();
    steps.see("sessions", || open_sessions(&stage));
    steps.see("reloads", || reload_often(&stage, &texts));
    steps.see("the last one runs", || stage.runs(&texts[0]));
    steps.see("its forward", || stage.forward_works(OTHER));
    steps.see("that of the other", || stage.forward_is_gone(OTHER + 1));
    steps.see("counters add up", || {
        stage.natgate.totals()?;
        let status = status(&stage.natgate)?;
        is(status.unaccounted == 0, || format!("{} unaccounted", status.unaccounted))?;
        Ok(format!("{:?}", status.total))
    });
    stage.finish(steps);
}

// ----- A trial, and the end of the process.

/// The lab's config with [`OTHER`] in place of [`FORWARDED`].
fn other(base: &str) -> String {
    base.replace(&format!("port = {FORWARDED}\n"), &format!("port = {OTHER}\n"))
}

fn two_texts() -> (Stage, [String; 2]) {
    let mut base = String::new();
    let stage = Stage::new(|text| {
        base = text.to_owned();
        base.clone()
    });
    let other = other(&base);
    (stage, [base, other])
}

#[test]
fn a_config_that_was_not_confirmed_is_gone_after_a_kill_and_one_that_was_applied_stays() {
    if cannot_run() {
        return;
    }
    let _alone = support::alone();
    let (mut stage, [old, new]) = two_texts();
    let mut steps = Steps::default();
    steps.see("the old forward", || stage.forward_works(FORWARDED));
    steps.see("on trial for an hour", || {
        stage.natgate.write_config(&new)?;
        let done = reload(&stage.natgate, &["--confirm-within", "1h"])?;
        is(done.applied && done.confirm_within_seconds == Some(3600), || format!("{done:?}"))?;
        stage.runs(&new)?;
        stage.forward_is_gone(FORWARDED)?;
        stage.forward_works(OTHER)
    });
    steps.see("killed, and started with the same file", || {
        stage.natgate.kill();
        stage.natgate.start_again()?;
        stage.runs(&old)?;
        stage.forward_is_gone(OTHER)?;
        stage.forward_works(FORWARDED)
    });
    steps.see("what it says of it", || line(&stage.natgate, "was not confirmed"));
    steps.see("reload for good", || {
        let done = reload(&stage.natgate, &[])?;
        is(done.applied && done.confirm_within_seconds.is_none(), || format!("{done:?}"))?;
        stage.runs(&new)?;
        stage.forward_works(OTHER)
    });
    steps.see("killed again", || {
        stage.natgate.kill();
        stage.natgate.start_again()?;
        stage.runs(&new)?;
        stage.forward_is_gone(FORWARDED)?;
        stage.forward_works(OTHER)
    });
    stage.finish(steps);
}

#[test]
fn a_config_that_nobody_confirms_is_rolled_back_by_itself() {
    if cannot_run() {
        return;
    }
    let _alone = support::alone();
    let (stage, [old, new]) = two_texts();
    let mut steps = Steps::default();
    steps.see("on trial for two seconds", || {
        stage.natgate.write_config(&new)?;
        let done = reload(&stage.natgate, &["--confirm-within", "2s"])?;
        is(done.applied, || format!("{done:?}"))?;
        Ok(format!("revision {}", done.revision))
    });
    steps.see("back", || retry(QUICK, Duration::from_millis(100), || stage.runs(&old)));
    steps.see("the forward is back", || stage.forward_works(FORWARDED));
    steps.see("what it says of it", || line(&stage.natgate, "was not confirmed: back to revision 1"));
    stage.finish(steps);
}

// ----- SIGHUP.

/// The line of natgate's log with these words, which may still have to come.
fn line(natgate: &Natgate, words: &str) -> Result<String, LabError> {
    retry(QUICK, Duration::from_millis(50), || {
        let log = natgate.log();
        let line = log.lines().find(|line| line.contains(words));
        line.map(str::to_owned).ok_or_else(|| LabError::unexpected(format!("no {words:?} in the log")))
    })
}

#[test]
fn sighup_reads_the_file_again_and_a_broken_file_changes_nothing() {
    if cannot_run() {
        return;
    }
    let _alone = support::alone();
    let (mut stage, [_, new]) = two_texts();
    let mut steps = Steps::default();
    steps.see("another file", || {
        stage.natgate.write_config(&new)?;
        stage.natgate.hang_up();
        retry(QUICK, Duration::from_millis(50), || stage.runs(&new))
    });
    steps.see("the new forward", || stage.forward_works(OTHER));
    steps.see("the old forward", || stage.forward_is_gone(FORWARDED));
    let broken = new.replace("out = \"wan\"", "out = \"wann\"");
    let place = broken.lines().position(|line| line.contains("wann")).map(|index| index + 1);
    steps.see("a broken file", || {
        stage.natgate.write_config(&broken)?;
        stage.natgate.hang_up();
        line(&stage.natgate, &format!("natgate.toml:{}:7", place.unwrap_or(0)))
    });
    steps.see("nothing changed", || {
        stage.natgate.still_running()?;
        stage.runs(&new)?;
        stage.forward_works(OTHER)
    });
    stage.finish(steps);
}
