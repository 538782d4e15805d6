//! The command lines that operators have for the kernel's table, unchanged on natgate's. That each line is the one that
//! the kernel and `conntrack` print is shown in `src/conntrack/line.rs`.

#![allow(clippy::unwrap_used, reason = "clippy does not see that these are for tests only")]

use super::gateway::{Gateway, NOW, OUTSIDE, SERVER, session};
use natgate::conntrack::policy::Policy;
use natgate::conntrack::session::Direction;
use natgate::conntrack::table::Shard;
use natgate::conntrack::tcp_segment::Segment;
use natgate::conntrack::tracker::{self, Observed};
use natgate::packet::Tuple;
use natgate::wire::{protocol, tcp};
use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::Arc;

/// Two established connections and one that is not answered from one host, a SYN and a datagram from another.
fn gateway() -> Gateway {
    let mut gateway = Gateway::new(0);
    let (mut shard, view) = Shard::new(100, 7);
    let policy = Policy::default();
    let segment = |flags, seq, ack| Observed::Tcp(Segment::bare(flags, seq, ack, 64_000).unwrap());
    let tuple = |src, dst, sport, dport, protocol| Tuple { src, dst, sport, dport, protocol };
    for (host, port, established) in
        [(1, 1_001, true), (1, 1_002, true), (1, 1_003, false), (2, 1_004, false)]
    {
        let original = tuple(Ipv4Addr::new(10, 9, 0, host), SERVER, port, 443, protocol::TCP);
        let reply = tuple(SERVER, OUTSIDE, 443, port, protocol::TCP);
        let id = shard.insert(session(original, reply, segment(tcp::SYN, 100, 0), NOW)).unwrap();
        if established {
            let opened = shard.session(id);
            for (direction, observed) in [
                (Direction::Reply, segment(tcp::SYN | tcp::ACK, 500, 101)),
                (Direction::Original, segment(tcp::ACK, 101, 501)),
            ] {
                tracker::track(opened, direction, &observed, 40, NOW, &policy).unwrap();
            }
        }
    }
    let original = tuple(Ipv4Addr::new(10, 9, 0, 2), SERVER, 1_005, 53, protocol::UDP);
    let reply = tuple(SERVER, OUTSIDE, 53, 1_005, protocol::UDP);
    shard.insert(session(original, reply, Observed::Udp, NOW)).unwrap();
    Arc::get_mut(&mut gateway.state).unwrap().sessions = vec![view];
    gateway
}

/// What the shell prints, with the lines as `natgate sessions list` prints them at the start of the pipeline.
fn shell(gateway: &Gateway, arguments: &str, pipeline: &str) -> Vec<String> {
    let script = format!("\"$NATGATE\" sessions list {arguments} -s \"$SOCKET\" {pipeline}");
    let mut shell = Command::new("sh");
    shell.args(["-e", "-c", &script]);
    shell.env("NATGATE", env!("CARGO_BIN_EXE_natgate")).env("SOCKET", gateway.socket());
    let output = shell.output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let lines = String::from_utf8(output.stdout).unwrap();
    lines.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

#[test]
fn the_kernels_pipelines_run_unchanged() {
    let gateway = gateway();
    let _server = gateway.start();
    let extended = |pipeline| shell(&gateway, "-o extended", pipeline);
    assert_eq!(extended("| wc -l"), ["5"]);
    assert_eq!(extended("| grep tcp | awk '{print $6}' | sort | uniq -c"), ["2 ESTABLISHED", "2 SYN_SENT"]);
    assert_eq!(
        extended("| awk '/tcp/ {n[$6]++} END {for (s in n) print n[s], s}' | sort"),
        ["2 ESTABLISHED", "2 SYN_SENT"]
    );
    // UDP has no state, so that its seventh field is the destination: as the kernel has it.
    assert_eq!(
        extended("| awk '{print $7}' | cut -d= -f2 | sort | uniq -c | sort -rn | head"),
        ["3 10.9.0.1", "1 198.51.100.7", "1 10.9.0.2"]
    );
}

#[test]
fn procfs_prints_the_lines_of_the_kernels_file() {
    let gateway = gateway();
    let _server = gateway.start();
    let extended = shell(&gateway, "-o extended", "");
    let procfs = shell(&gateway, "-o procfs", "");
    assert_eq!(procfs.len(), 5);
    let as_procfs: Vec<_> =
        extended.iter().map(|line| line.replace(" mark=0 use=1", " mark=0 zone=0 use=2")).collect();
    assert_eq!(procfs, as_procfs);
    // Scripts that split on `=`: the port of the fourth field of addresses, say.
    assert_eq!(
        shell(&gateway, "-o procfs --proto udp", "| sed 's/.*dport=\\([0-9]*\\) packets.*src=.*/\\1/'"),
        ["53"]
    );
}
