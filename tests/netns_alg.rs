//! FTP and TFTP between real hosts: curl as the client, pyftpdlib and dnsmasq as the servers, each on both sides of the gateway.
//! pyftpdlib lets nobody name another host than himself, so that what passes was rewritten.
//!
//! Needs root, and the programs that `scripts/test` installs.

#![cfg(feature = "dpdk")]
#![allow(clippy::expect_used, clippy::print_stderr, reason = "a test")]

mod support;

use natgate::lab::command::{QUICK, retry};
use natgate::lab::gateway::Natgate;
use natgate::lab::topology::{CLIENT, GATEWAY_OUTSIDE, SERVER};
use natgate::lab::{Background, LabError, Namespace};
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;
use support::Steps;
use support::stage::{Stage, cannot_run, is, reload};

const TEXT: &str = "one file for all of them";
const FILE: &str = "file";

/// The lab's config, with the server inside published, and filters that let in nobody who was not expected.
fn config(base: &str, alg: &str) -> String {
    format!(
        "{base}\n[masquerade]\nfiltering = \"address-and-port-dependent\"\n\
         [[dnat]]\non = \"wan\"\nprotocol = \"tcp\"\nport = 21\nto = \"{CLIENT}\"\n{alg}"
    )
}

fn ftp_server(at: &Namespace, directory: &Path) -> Result<Background, LabError> {
    let directory = directory.display().to_string();
    // Not one of a user: the package is the distribution's.
    let argv = ["/usr/bin/python3", "-m", "pyftpdlib", "-i", "0.0.0.0", "-p", "21", "-d", &directory];
    let mut server = at.spawn("ftp", &argv)?;
    retry(QUICK, Duration::from_millis(50), || {
        server.still_running()?;
        is(server.log().contains("starting FTP server"), || format!("no FTP server: {}", server.log()))
    })?;
    Ok(server)
}

fn tftp_server(at: &Namespace, directory: &Path) -> Result<Background, LabError> {
    let root = format!("--tftp-root={}", directory.display());
    let argv = [
        "dnsmasq",
        "--no-daemon",
        "--conf-file=/dev/null",
        "--port=0",
        "--user=root",
        "--enable-tftp",
        &root,
    ];
    let mut server = at.spawn("tftp", &argv)?;
    retry(QUICK, Duration::from_millis(50), || {
        server.still_running()?;
        is(server.log().contains("TFTP root"), || format!("no TFTP server: {}", server.log()))
    })?;
    Ok(server)
}

/// Gets a file with curl, as often as is said in one control connection, and compares it.
fn fetch(
    from: &Namespace,
    scheme: &str,
    to: Ipv4Addr,
    times: usize,
    how: &[&str],
) -> Result<String, LabError> {
    let url = format!("{scheme}://{to}/{FILE}");
    let mut argv = vec!["curl", "-sS", "--fail", "--max-time", "15", "--no-ftp-skip-pasv-ip"];
    argv.extend(how);
    argv.extend(std::iter::repeat_n(url.as_str(), times));
    let output = from.check(&argv, 2 * QUICK)?;
    is(output.stdout == TEXT.repeat(times), || format!("{url} gave {:?}", output.stdout))?;
    Ok(format!("{times} times {url} {}", how.join(" ")))
}

/// As [`fetch`], of what must not work.
fn fails(from: &Namespace, scheme: &str, to: Ipv4Addr, how: &[&str]) -> Result<String, LabError> {
    let url = format!("{scheme}://{to}/{FILE}");
    let mut argv = vec!["curl", "-sS", "--fail", "--max-time", "5", "--no-ftp-skip-pasv-ip"];
    argv.extend(how);
    argv.push(&url);
    let output = from.exec(&argv, 2 * QUICK)?;
    is(!output.status.success(), || format!("{url} works: {}", output.stdout))?;
    Ok(format!("{url}: {}", output.stderr.trim()))
}

const EPRT: &[&str] = &["--ftp-port", "-"];
const PORT: &[&str] = &["--ftp-port", "-", "--disable-eprt"];
const EPSV: &[&str] = &[];
const PASV: &[&str] = &["--disable-epsv"];

#[test]
fn ftp_and_tftp_work_through_the_gateway_if_it_is_asked_to_see_to_it_and_only_then() {
    if cannot_run() {
        return;
    }
    let _alone = support::alone();
    let mut base = String::new();
    let stage = Stage::new(|text| {
        base = text.to_owned();
        config(text, "")
    });
    let directory = stage.site.lab.directory().join("files");
    std::fs::create_dir(&directory).expect("a directory can be made");
    std::fs::write(directory.join(FILE), TEXT).expect("a file can be written");
    let (client, server) = (&stage.site.client, &stage.site.server);
    let servers =
        [ftp_server(server, &directory), ftp_server(client, &directory), tftp_server(server, &directory)];
    let servers: Vec<Background> = servers.into_iter().collect::<Result<_, _>>().expect("the servers start");

    let mut steps = Steps::default();
    steps.see("passive, from inside", || fetch(client, "ftp", SERVER, 2, EPSV));
    steps.see("active, off", || fails(client, "ftp", SERVER, PORT));
    steps.see("passive server inside, off", || fails(server, "ftp", GATEWAY_OUTSIDE, PASV));
    steps.see("TFTP, off", || fails(client, "tftp", SERVER, &[]));
    steps.see("reload", || {
        stage.natgate.write_config(&config(&base, "[alg.ftp]\n[alg.tftp]\n"))?;
        reload(&stage.natgate, &[]).map(|_| "done".to_owned())
    });
    for (name, how) in [("EPSV", EPSV), ("PASV", PASV), ("EPRT", EPRT), ("PORT", PORT)] {
        steps.see(&format!("{name}, from inside"), || fetch(client, "ftp", SERVER, 5, how));
        steps.see(&format!("{name}, of the server inside"), || fetch(server, "ftp", GATEWAY_OUTSIDE, 5, how));
    }
    steps.see("TFTP", || fetch(client, "tftp", SERVER, 1, &[]));
    steps.see("what natgate counted", || {
        let socket = Natgate::control(&stage.site).display().to_string();
        let argv = ["curl", "-sS", "--fail", "--unix-socket", &socket, "http://natgate/metrics"];
        let metrics = stage.site.gateway.check(&argv, QUICK)?.stdout;
        let lines: Vec<&str> =
            metrics.lines().filter(|line| line.starts_with("natgate_alg_events_total")).collect();
        let has = |event: &str, n: usize| {
            lines.iter().any(|line| line.contains(&format!("event=\"{event}\"}} {n}")))
        };
        // Five of each of the two ways on each side that need a mapping, and TFTP.
        is(has("used", 21) && has("refused_foreign", 0), || lines.join("\n"))?;
        Ok(lines.join(", "))
    });
    drop(servers);
    stage.finish(steps);
}
