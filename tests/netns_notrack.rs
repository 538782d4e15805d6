//! Notrack classes of the real process between real hosts: a kernel's VXLAN, a DNS server, a service that trusts a list, and
//! reloads that move queries between tracked and notracked.
//!
//! Needs root, and the programs that `scripts/test` installs.

#![cfg(feature = "dpdk")]
#![allow(clippy::expect_used, clippy::print_stderr, reason = "a test")]

mod support;

use natgate::lab::command::{Background, Output, QUICK, retry};
use natgate::lab::topology::{CLIENT, FAR, GATEWAY_OUTSIDE, NARROW_MTU, SERVER, Site};
use natgate::lab::traffic::{self, Transport, Way};
use natgate::lab::{LabError, Namespace};
use serde_json::Value;
use std::net::Ipv4Addr;
use std::time::Duration;
use support::stage::{
    Stage, at, cannot_run, flow_report, is, json, quiet, reload, start_flow, status, still,
};
use support::{Steps, alone, binary};

/// Addresses outside that only classes (and forwards of these tests) translate.
const SERVICE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);
const OTHER_SERVICE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 11);
/// What the second becomes: another address of the client's host, so that its answers are not the first one's.
const OTHER_HOST: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 30);

/// There are no sessions: whatever passed until now passed without.
fn no_session(stage: &Stage) -> Result<String, LabError> {
    let used = status(&stage.natgate)?.sessions.used;
    is(used == 0, || format!("{used} sessions: {:?}", stage.natgate.ask(&["sessions"])))?;
    Ok("none".to_owned())
}

/// Packets that a class let pass, there and back.
fn packets(stage: &Stage, class: &str) -> Result<[u64; 2], LabError> {
    let rules: Value = json(&stage.natgate, &["show", "rules", "--json"])?;
    let rows = rules.get("rules").and_then(Value::as_array).into_iter().flatten();
    let mut of_class = rows.filter(|row| row.get("name").and_then(Value::as_str) == Some(class));
    let row = of_class.next().ok_or_else(|| LabError::unexpected(format!("no class {class}: {rules}")))?;
    let count = |way: &str| row.pointer(&format!("/class/{way}/packets")).and_then(Value::as_u64);
    match (count("there"), count("back")) {
        (Some(there), Some(back)) => Ok([there, back]),
        _ => Err(LabError::unexpected(format!("no packets of {class}: {row}"))),
    }
}

fn both_ways(stage: &Stage, class: &str) -> Result<String, LabError> {
    let [there, back] = packets(stage, class)?;
    is(there > 0 && back > 0, || format!("{there} packets there, {back} back"))?;
    Ok(format!("{there} packets there, {back} back"))
}

/// Runs what is to be refused; natgate must say why.
fn refused(
    stage: &Stage,
    reason: &str,
    attempt: impl FnOnce() -> Result<Output, LabError>,
) -> Result<String, LabError> {
    let before = stage.natgate.totals()?.dropped(reason);
    let output = attempt()?;
    is(!output.status.success(), || format!("it worked: {}", output.stdout))?;
    let rise = stage.natgate.totals()?.dropped(reason) - before;
    is(rise > 0, || format!("nothing was dropped for {reason}: {}", output.stderr))?;
    Ok(format!("{rise} packets dropped for {reason}; the client: {}", output.stderr.trim()))
}

fn counters(stage: &Stage) -> Result<String, LabError> {
    let totals = stage.natgate.totals()?;
    let status = status(&stage.natgate)?;
    is(status.unaccounted == 0 && totals.held == 0, || {
        format!("{} unaccounted, {totals:?}", status.unaccounted)
    })?;
    Ok(format!("{totals:?}"))
}

fn curl(from: &Namespace, source: &str, url: &str) -> Result<Output, LabError> {
    let words = ["curl", "-sS", "--fail", "--connect-timeout", "2", "--interface", source, url];
    from.exec(&words, QUICK)
}

// ----- VXLAN.

/// The tunnel's end inside, as the other end knows it.
const OVERLAY: &str = r#"
[[notrack]]
name = "overlay"
preset = "vxlan"
on = "lan"
from = "192.168.1.10"
translate_from = "203.0.113.9"
to = "203.0.113.10"
"#;
const TUNNEL_INSIDE: Ipv4Addr = Ipv4Addr::new(172, 16, 7, 1);
const TUNNEL_OUTSIDE: Ipv4Addr = Ipv4Addr::new(172, 16, 7, 2);

/// `more`: a kernel leaves VXLAN's own checksum out by default.
fn tunnel(at: &Namespace, [local, remote, inner]: [Ipv4Addr; 3], more: &str) -> Result<(), LabError> {
    let (local, remote) = (local.to_string(), remote.to_string());
    let vxlan = ["type", "vxlan", "id", "7", "local", &local, "remote", &remote, "dstport", "4789", more];
    at.ip(&[&["link", "add", "tunnel0"], &vxlan[..]].concat())?;
    at.ip(&["address", "add", &format!("{inner}/24"), "dev", "tunnel0"])?;
    at.ip(&["link", "set", "tunnel0", "up"]).map(|_| ())
}

#[test]
fn a_vxlan_across_the_gateway_carries_everything_without_a_session() {
    if cannot_run() {
        return;
    }
    let _alone = alone();
    let stage = Stage::new(|base| format!("{base}{OVERLAY}"));
    let Site { client, server, lab, .. } = &stage.site;
    let mut steps = Steps::default();
    steps.see("tunnel", || {
        tunnel(client, [CLIENT, SERVER, TUNNEL_INSIDE], "udpcsum")?;
        tunnel(server, [SERVER, SERVICE, TUNNEL_OUTSIDE], "noudpcsum")?;
        Ok(format!("{TUNNEL_INSIDE} to {TUNNEL_OUTSIDE}, with checksums one way and without the other"))
    });
    steps.see("ping out", || traffic::ping(client, TUNNEL_OUTSIDE, 56));
    steps.see("ping in", || traffic::ping(server, TUNNEL_INSIDE, 56));
    steps.see("ping of 4,000 bytes", || traffic::ping(client, TUNNEL_OUTSIDE, 4000));
    steps.see("page out", || traffic::page(client, at(TUNNEL_OUTSIDE, 80), TUNNEL_INSIDE));
    steps.see("page in", || traffic::page(server, at(TUNNEL_INSIDE, 80), TUNNEL_OUTSIDE));
    steps.see("download", || traffic::download(&binary(), client, at(TUNNEL_OUTSIDE, 80), 10_000_000));
    steps.see("upload", || traffic::upload(client, lab.directory(), at(TUNNEL_OUTSIDE, 80), 10_000_000));
    steps.see("iperf3", || traffic::iperf(client, TUNNEL_OUTSIDE, Transport::Tcp, Way::Up, 2));
    steps.see("sessions", || no_session(&stage));
    steps.see("class", || both_ways(&stage, "overlay"));
    // Packets as large as the link's, so that the tunnel's are larger.
    steps.see("fragments of the tunnel's packets", || {
        for end in [client, server] {
            end.ip(&["link", "set", "tunnel0", "mtu", "1500"])?;
        }
        traffic::ping(client, TUNNEL_OUTSIDE, 1472)
    });
    steps.see("what is not of the tunnel is tracked", || {
        traffic::page(client, at(SERVER, 80), GATEWAY_OUTSIDE)?;
        is(status(&stage.natgate)?.sessions.used > 0, || "no session".to_owned())?;
        Ok("a session".to_owned())
    });
    steps.see("counters add up", || counters(&stage));
    stage.finish(steps);
}

// ----- DNS.

/// A DNS server, and an address of the same host without one.
const DNS: &str = r#"
[[notrack]]
name = "dns"
preset = "dns"
on = "wan"
to = "203.0.113.9"
translate_to = "192.168.1.10"

[[notrack]]
name = "silent-dns"
preset = "dns"
on = "wan"
to = "203.0.113.11"
translate_to = "192.168.1.30"
"#;
const ANSWER: &str = "192.0.2.53";
/// Bytes in the text of `large.lab`: three fragments on Ethernet.
const LARGE: usize = 3600;

/// dnsmasq in a namespace, and nothing of the machine's configuration.
fn serve_dns(at: &Namespace, addresses: &[Ipv4Addr]) -> Result<Background, LabError> {
    at.ip(&["address", "add", &format!("{OTHER_HOST}/24"), "dev", "eth0"])?;
    let piece = "x".repeat(240);
    let large = format!("--txt-record=large.lab,{}", vec![piece.as_str(); LARGE / 240].join(","));
    let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    let listen = format!("--listen-address={}", addresses.join(","));
    let small = format!("--address=/small.lab/{ANSWER}");
    let words =
        ["--no-daemon", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--user=root", "--pid-file"];
    let more = ["--bind-interfaces", "--edns-packet-max=4096", &listen, &small, &large];
    let mut server = at.spawn("dnsmasq", &[&["dnsmasq"], &words[..], &more].concat())?;
    retry(QUICK, Duration::from_millis(50), || {
        server.still_running()?;
        dig(at, CLIENT, "small.lab", &["+tries=1", "+timeout=1"]).map(|_| ())
    })?;
    Ok(server)
}

/// The answer in short, asked for by the given words.
fn dig(from: &Namespace, server: Ipv4Addr, name: &str, more: &[&str]) -> Result<String, LabError> {
    let server = format!("@{server}");
    let output = from.exec(&[&["dig", &server, name, "+short"], more].concat(), QUICK)?;
    let answer = output.stdout.trim().to_owned();
    is(output.status.success() && !answer.is_empty() && !answer.starts_with(';'), || {
        format!("{name} of {server}: {answer} {}", output.stderr)
    })?;
    Ok(answer)
}

fn small_answer(from: &Namespace, more: &[&str]) -> Result<String, LabError> {
    let answer = dig(from, SERVICE, "small.lab", more)?;
    is(answer == ANSWER, || format!("another answer: {answer}"))?;
    Ok(answer)
}

fn large_answer(from: &Namespace, more: &[&str]) -> Result<String, LabError> {
    let answer = dig(from, SERVICE, "large.lab", &[&["TXT"], more].concat())?;
    let bytes = answer.matches('x').count();
    is(bytes == LARGE, || format!("{bytes} of {LARGE} bytes: {answer}"))?;
    Ok(format!("{bytes} bytes"))
}

/// A question to a port where nobody listens: the error must come at once, and as if of the service.
fn refused_at_once(from: &Namespace) -> Result<String, LabError> {
    let words = ["dig", &format!("@{OTHER_SERVICE}"), "small.lab", "+tries=1", "+timeout=5"];
    let output = from.exec(&words, QUICK)?;
    let said = output.stdout;
    is(said.contains("connection refused") && output.elapsed < Duration::from_secs(3), || said.clone())?;
    Ok(format!("refused after {} ms", output.elapsed.as_millis()))
}

/// Traceroute with questions to the port of DNS: the gateway and the host inside, by the service's address.
fn trace(from: &Namespace) -> Result<String, LabError> {
    let words = ["traceroute", "-n", "-U", "-p", "53", "-q", "1", "-w", "3", "-m", "8"];
    let output = from.check(&[&words[..], &[&OTHER_SERVICE.to_string()]].concat(), 2 * QUICK)?;
    let hops = output.stdout.lines().skip(1).filter_map(|line| line.split_whitespace().nth(1));
    let hops: Vec<&str> = hops.collect();
    let expected = ["198.51.100.1", "192.0.2.1", &GATEWAY_OUTSIDE.to_string(), &OTHER_SERVICE.to_string()];
    is(hops == expected, || format!("the hops are {hops:?}, not {expected:?}"))?;
    Ok(format!("hops {}", hops.join(", ")))
}

#[test]
fn a_dns_server_behind_a_service_address_answers_without_a_session_and_errors_come_back() {
    if cannot_run() {
        return;
    }
    let _alone = alone();
    let stage = Stage::full(|base| format!("{base}{DNS}"));
    let Site { client, server, far, .. } = &stage.site;
    let far = far.as_ref().expect("the full network has it");
    let _dns = serve_dns(client, &[CLIENT]).expect("dnsmasq starts");
    let mut steps = Steps::default();
    for (from, host) in [("next door", server), ("three hops away", far)] {
        steps.see(&format!("UDP from {from}"), || small_answer(host, &[]));
        steps.see(&format!("TCP from {from}"), || small_answer(host, &["+tcp"]));
        steps.see(&format!("in fragments from {from}"), || {
            large_answer(host, &["+bufsize=4096", "+notcp", "+ignore"])
        });
        steps.see(&format!("truncated, then TCP from {from}"), || large_answer(host, &["+bufsize=512"]));
        steps.see(&format!("closed port from {from}"), || refused_at_once(host));
    }
    // The packets are too large for the link in the middle, as the router there has to tell the server.
    let web = ["http-server", "192.168.1.30:53"];
    let _web = traffic::serve(&binary(), client, "large", &web).expect("it starts");
    steps.see("large packets to far away", || {
        traffic::download(&binary(), far, at(OTHER_SERVICE, 53), 1_000_000)
    });
    steps.see("path MTU", || traffic::learned_mtu(client, FAR, NARROW_MTU));
    steps.see("traceroute", || trace(far));
    steps.see("sessions", || no_session(&stage));
    steps.see("class", || both_ways(&stage, "dns"));
    steps.see("class of the silent address", || both_ways(&stage, "silent-dns"));
    steps.see("counters add up", || counters(&stage));
    stage.finish(steps);
}

// ----- A service that trusts a list.

const TRUSTING: &str = r#"
[set.frontends]
prefixes = ["203.0.113.10"]

[[notrack]]
name = "cache"
preset = "memcached"
on = "wan"
from = "set.frontends"
to = "203.0.113.9"
translate_to = "192.168.1.10"
policy = "allow-listed"
"#;
const STRANGER: &str = "203.0.113.66";
/// The service's port, and the service: an HTTP server, so that curl can be its client.
const PORT: &str = "11211";

#[test]
fn only_listed_clients_reach_an_allow_listed_service_and_it_reaches_nobody_from_its_port() {
    if cannot_run() {
        return;
    }
    let _alone = alone();
    let stage = Stage::new(|base| format!("{TRUSTING}{base}"));
    let Site { client, server, .. } = &stage.site;
    server.ip(&["address", "add", &format!("{STRANGER}/24"), "dev", "eth0"]).expect("one more address");
    let url = format!("http://{SERVICE}:{PORT}/");
    let mut steps = Steps::default();
    // While nobody serves, its port is free for opening connections from it.
    let from_its_port = |to: &str| {
        let url = format!("http://{to}/");
        let words = ["curl", "-sS", "--fail", "--connect-timeout", "2", "--interface", "192.168.1.10"];
        client.exec(&[&words[..], &["--local-port", PORT, &url]].concat(), QUICK)
    };
    steps.see("the service opens to a client", || {
        refused(&stage, "notrack_opening", || from_its_port(&format!("{SERVER}:5201")))
    });
    steps.see("the service opens to a stranger", || {
        refused(&stage, "notrack_not_listed", || from_its_port(STRANGER))
    });
    let served = format!("{CLIENT}:{PORT}");
    let _cache = traffic::serve(&binary(), client, "cache", &["http-server", &served]).expect("it starts");
    steps.see("a listed client", || {
        let output = curl(server, &SERVER.to_string(), &url)?.success()?;
        is(output.stdout.contains(&format!("you are {SERVER}")), || output.stdout.clone())?;
        both_ways(&stage, "cache")
    });
    steps.see("a stranger", || refused(&stage, "notrack_not_listed", || curl(server, STRANGER, &url)));
    for (whose, source, reason) in [
        ("of an inside host", "192.168.1.77", "spoofed_source"),
        ("of the gateway", "203.0.113.2", "martian_source"),
    ] {
        steps.see(&format!("the address {whose}, forged"), || {
            server.ip(&["route", "add", "local", source, "dev", "lo"])?;
            let outcome = refused(&stage, reason, || curl(server, source, &url));
            server.ip(&["route", "del", "local", source, "dev", "lo", "table", "local"])?;
            outcome
        });
    }
    steps.see("sessions", || no_session(&stage));
    steps.see("its host's own connections", || {
        traffic::page(client, at(SERVER, 80), GATEWAY_OUTSIDE)?;
        is(status(&stage.natgate)?.sessions.used == 1, || "not one session".to_owned())?;
        Ok("translated and tracked".to_owned())
    });
    steps.see("counters add up", || counters(&stage));
    stage.finish(steps);
}

// ----- Reloads under load.

const RELOADS: usize = 50;
/// A slow machine answers as many questions meanwhile.
const SOME: usize = 30;
/// Forwards for both addresses; the first is a class's in some of the configs.
const FORWARDS: &str = r#"
[[dnat]]
address = "203.0.113.9"
protocol = ["tcp", "udp"]
port = 53
to = "192.168.1.10:53"

[[dnat]]
address = "203.0.113.11"
protocol = ["tcp", "udp"]
port = 53
to = "192.168.1.30:53"
"#;

/// The config of a reload: a class that keeps what is there, none, a class that releases it, none, and so on.
fn moving(base: &str, number: usize) -> String {
    let existing = if number % 4 < 2 { "keep" } else { "release" };
    let class = format!(
        "\n[[notrack]]\nname = \"dns\"\npreset = \"dns\"\non = \"wan\"\nto = \"{SERVICE}\"\n\
         translate_to = \"{CLIENT}\"\nexisting = \"{existing}\"\n"
    );
    format!("{base}{FORWARDS}{}", if number.is_multiple_of(2) { "" } else { &class })
}

/// Asks a server again and again until it is stopped.
fn ask_for_ever(from: &Namespace, server: Ipv4Addr, name: &str) -> Result<Background, LabError> {
    let dig = format!("dig @{server} small.lab +short +tries=1 +timeout=2");
    let script = format!("while :; do {dig}; {dig} +tcp; done");
    from.spawn(name, &["sh", "-c", &script])
}

/// Questions that were answered, and those that were not.
fn answers(asker: &Background) -> (usize, usize) {
    let log = asker.log();
    let count = |is: fn(&&str) -> bool| log.lines().filter(is).count();
    (count(|line| *line == ANSWER), count(|line| line.contains("no servers could be reached")))
}

fn move_often(stage: &Stage, base: &str) -> Result<String, LabError> {
    let natgate = &stage.natgate;
    let mut flow = start_flow(stage)?;
    let quiet = quiet(stage)?;
    let mut moved = ask_for_ever(&stage.site.server, SERVICE, "moved")?;
    let mut others = ask_for_ever(&stage.site.server, OTHER_SERVICE, "others")?;
    let before = still(natgate)?;
    for number in 1..=RELOADS {
        natgate.write_config(&moving(base, number))?;
        let done = reload(natgate, &[])?;
        is(done.applied && done.problems.is_empty(), || format!("reload {number}: {done:?}"))?;
        // Some questions with each config.
        std::thread::sleep(Duration::from_millis(200));
    }
    flow.still_running()?;
    let after = still(natgate)?;
    let ((good, bad), (others_good, others_bad)) = (answers(&moved), answers(&others));
    moved.kill();
    others.kill();
    flow.terminate(QUICK)?;
    is(others_good > SOME && others_bad == 0, || {
        format!("{others_good} answers of the other address, {others_bad} missing")
    })?;
    is(good > SOME, || format!("{good} answers of the address that moved, {bad} missing"))?;
    let flow = flow_report(&flow.log(), quiet)?;
    // What was under way with a session that is gone, or without one where there must be one: of the address that moved.
    let lost: Vec<_> = after.drops.iter().filter(|drop| !before.drops.contains(drop)).collect();
    Ok(format!(
        "{RELOADS} of them; {good} answers of the address that moved, {bad} missing; {others_good} of the other, none missing; \
         {flow}; dropped meanwhile: {lost:?}"
    ))
}

#[test]
fn reloads_between_tracked_and_notracked_lose_no_packet_of_other_flows() {
    if cannot_run() {
        return;
    }
    let _alone = alone();
    let mut base = String::new();
    let stage = Stage::new(|text| {
        base = text.to_owned();
        moving(text, 0)
    });
    let _dns = serve_dns(&stage.site.client, &[CLIENT, OTHER_HOST]).expect("dnsmasq starts");
    let mut steps = Steps::default();
    steps.see("tracked", || small_answer(&stage.site.server, &[]));
    steps.see("reloads", || move_often(&stage, &base));
    steps.see("the last config", || stage.runs(&moving(&base, RELOADS)));
    steps.see("it works", || small_answer(&stage.site.server, &[]));
    steps.see("counters add up", || counters(&stage));
    stage.finish(steps);
}
