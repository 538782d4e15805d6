//! The published experiment with real programs: memcached behind the gateway, and short connections as fast as they go,
//! tracked and not. `scripts/notrack-experiment` installs what it needs, runs it, and explains the table; see
//! `docs/notrack-experiment.md`.
//!
//! ```text
//! cargo bench --bench notrack_lab                              # as root; 32 s for each way
//! cargo bench --bench notrack_lab -- --seconds 240 --scale 1   # the published table in full size
//! ```
//!
//! Everything is in network namespaces but one thing: the kernel's `nf_conntrack_max` is the machine's. It is changed for the
//! kernel's own row, only where the machine tracks nothing itself, and put back.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_precision_loss,
    reason = "a benchmark prints, and rounds"
)]

use clap::Parser;
use natgate::control::api;
use natgate::lab::command::{Background, QUICK, interrupted, is_root};
use natgate::lab::gateway::{Natgate, config_text};
use natgate::lab::peer::memcached::Report;
use natgate::lab::topology::{CLIENT, GATEWAY_INSIDE, GATEWAY_OUTSIDE, INSIDE, OUTSIDE, ROUTER, Site};
use natgate::lab::{DeviceKind, LabError, Namespace};
use serde::Serialize;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// The service as clients address it.
const SERVICE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);
const PORT: u16 = 11_211;
/// The clients: 64 addresses, good for four million connections.
const CLIENTS: &str = "198.51.100.0";
const ADDRESSES: u32 = 64;
/// The published numbers: entries, seconds that a closed connection keeps its own, connections a second with entries and
/// without.
const PUBLISHED_ENTRIES: u32 = 524_288;
const PUBLISHED_TIME_WAIT: u32 = 120;
const PUBLISHED_RATES: (u32, u32) = (4_369, 60_000);
/// natgate's own timeout: RFC 5382 REQ-5.
const DEFAULT_TIME_WAIT: u32 = 240;
const TRACKED: &str = "tracked";
const NOTRACKED: &str = "notracked";
const LOOK: Duration = Duration::from_millis(500);

/// The published experiment: memcached behind the gateway, short connections, tracked and not.
#[derive(Debug, Parser)]
struct Options {
    /// Seconds of load for each way: best a multiple of twice the time that entries stay.
    #[arg(long, default_value_t = 32)]
    seconds: u32,
    /// The published table has 524,288 entries, each of which stays for 120 s after its connection, so that 4,369
    /// connections a second are its bound for ever. This part of both has the same bound, and is full in seconds.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..=120))]
    scale: u32,
    /// Connections at the same time.
    #[arg(long, default_value_t = 256)]
    concurrency: u32,
    /// Only the ways with this in their name.
    #[arg(long, default_value = "")]
    only: String,
    /// Take the interfaces by AF_XDP instead of AF_PACKET.
    #[arg(long)]
    af_xdp: bool,
    /// Print JSON instead of the table.
    #[arg(long)]
    json: bool,
    /// What `cargo bench` adds.
    #[arg(long, hide = true)]
    bench: bool,
}

impl Options {
    fn entries(&self) -> u32 {
        PUBLISHED_ENTRIES / self.scale
    }

    fn time_wait(&self) -> u32 {
        PUBLISHED_TIME_WAIT / self.scale
    }
}

/// A way to pass the connections on.
struct Way {
    name: &'static str,
    about: String,
    kind: Kind,
    /// Seconds that an entry stays after its connection; `None`: there is none.
    time_wait: Option<u32>,
}

enum Kind {
    /// natgate, with this text behind the lab's config.
    Natgate(String),
    /// Linux, with these nftables rules.
    Kernel(String),
}

/// A row of the table.
#[derive(Debug, Serialize)]
struct Row {
    way: &'static str,
    about: String,
    /// Connections a second over the whole time.
    per_second: f64,
    /// The same in the second half of the time, when a table that fills is full.
    per_second_at_the_end: f64,
    /// Connections that did not get their value.
    failed: u64,
    /// Entries of the table when the load ended.
    entries: u64,
    /// Entries a second by which the table grew until it was nine tenths full.
    growth: f64,
    /// What the table sustains for ever: entries / timeout. `null`: there are no entries.
    sustained: Option<u32>,
    /// CPU time of natgate's process for each packet it received, in nanoseconds: its own.
    user_ns_per_packet: Option<f64>,
    /// The same of the kernel for it: AF_PACKET, and most of what veth delivers to the receiver.
    kernel_ns_per_packet: Option<f64>,
    median_us: u32,
    p99_us: u32,
    /// `per_second_at_the_end` by that of the first row.
    ratio: f64,
}

fn ways(options: &Options) -> Vec<Way> {
    let (entries, time_wait) = (options.entries(), options.time_wait());
    let dnat = format!(
        "[[dnat]]\naddress = \"{SERVICE}\"\nprotocol = \"tcp\"\nport = {PORT}\nto = \"{CLIENT}:{PORT}\"\n"
    );
    let table = format!("[conntrack]\nmax_sessions = {entries}\n");
    let as_kernel = format!(
        "{table}when_full = \"refuse\"\nadaptive = \"off\"\nreserve = \"0%\"\n[conntrack.timeouts]\n\
         tcp_syn_sent = \"120s\"\ntcp_syn_recv = \"60s\"\ntcp_fin_wait = \"120s\"\ntcp_close_wait = \"60s\"\n\
         tcp_last_ack = \"30s\"\ntcp_time_wait = \"{time_wait}s\"\ntcp_close = \"10s\"\n"
    );
    let class = format!(
        "[[notrack]]\nname = \"memcached\"\npreset = \"memcached\"\non = \"wan\"\nto = \"{SERVICE}\"\n\
         translate_to = \"{CLIENT}\"\n"
    );
    let kernel_dnat = format!(
        "table ip nat {{
            chain pre {{ type nat hook prerouting priority -100;
                ip daddr {SERVICE} tcp dport {PORT} dnat to {CLIENT}
            }}
        }}"
    );
    // The source at the very end: as it comes in it would be one of the machine's own, which Linux takes for a lie.
    let kernel_notrack = format!(
        "{kernel_dnat}\ntable ip raw {{
            chain pre {{ type filter hook prerouting priority -300;
                iifname {OUTSIDE} ip daddr {SERVICE} tcp dport {PORT} notrack ip daddr set {CLIENT}
                iifname {INSIDE} ip saddr {CLIENT} tcp sport {PORT} notrack
            }}
            chain post {{ type filter hook postrouting priority 300;
                oifname {OUTSIDE} ip saddr {CLIENT} tcp sport {PORT} ip saddr set {SERVICE}
            }}
        }}"
    );
    let way = |name, about: &str, kind, time_wait| Way { name, about: about.to_owned(), kind, time_wait };
    vec![
        way(TRACKED, "natgate as it comes", Kind::Natgate(format!("{dnat}{table}")), Some(DEFAULT_TIME_WAIT)),
        way(
            "tracked as Linux does",
            "natgate with Linux's timeouts; refuses when full, ends nothing early",
            Kind::Natgate(format!("{dnat}{as_kernel}")),
            Some(time_wait),
        ),
        way(NOTRACKED, "natgate, preset memcached", Kind::Natgate(format!("{class}{table}")), None),
        way("Linux, tracked", "nftables dnat", Kind::Kernel(kernel_dnat), Some(time_wait)),
        way(
            "Linux, notracked",
            "nftables notrack, address set both ways",
            Kind::Kernel(kernel_notrack),
            None,
        ),
    ]
}

/// The kernel's `nf_conntrack_max`, put back at the end.
struct TableSize {
    before: String,
}

const TABLE_SIZE: &str = "/proc/sys/net/netfilter/nf_conntrack_max";

impl TableSize {
    /// Sets it, unless the machine uses its table itself.
    fn set(entries: u32) -> Result<TableSize, LabError> {
        let used: String = read("/proc/sys/net/netfilter/nf_conntrack_count")?;
        if used != "0" {
            return Err(LabError::Unexpected(format!(
                "this machine tracks {used} connections itself: its table is not made smaller for the experiment"
            )));
        }
        let size = TableSize { before: read(TABLE_SIZE)? };
        write_size(&entries.to_string())?;
        Ok(size)
    }
}

fn read(path: &str) -> Result<String, LabError> {
    let text = fs::read_to_string(path).map_err(|e| LabError::Io { what: path.to_owned(), cause: e })?;
    Ok(text.trim().to_owned())
}

fn write_size(text: &str) -> Result<(), LabError> {
    fs::write(TABLE_SIZE, text).map_err(|e| LabError::Io { what: TABLE_SIZE.to_owned(), cause: e })
}

impl Drop for TableSize {
    fn drop(&mut self) {
        if let Err(error) = write_size(&self.before) {
            eprintln!("{error}; it was {}", self.before);
        }
    }
}

/// Who passes the connections on.
enum Middle {
    Natgate(Natgate),
    Kernel(Namespace, #[expect(dead_code, reason = "dropped at the end")] TableSize),
}

/// What natgate's process did until now.
#[derive(Clone, Copy)]
struct Work {
    packets: u64,
    /// Its CPU time in user space and in the kernel, in ticks.
    ticks: [u64; 2],
}

/// Nanoseconds of a tick of `/proc/PID/stat`: a hundredth of a second on all machines that DPDK runs on.
const TICK: f64 = 1e7;

impl Work {
    fn of(natgate: &Natgate) -> Result<Work, LabError> {
        let status = status(natgate)?;
        let stat = read(&format!("/proc/{}/stat", status.pid))?;
        // Behind the name, which may have any characters: the fields from the third on (proc(5)).
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_whitespace();
        let mut ticks = fields.skip(11).map_while(|field| field.parse().ok());
        match (ticks.next(), ticks.next()) {
            (Some(user), Some(kernel)) => Ok(Work { packets: status.total.rx, ticks: [user, kernel] }),
            _ => Err(LabError::Unexpected(format!("no CPU times in {stat}"))),
        }
    }

    /// Nanoseconds a packet in user space and in the kernel.
    fn per_packet_since(self, before: Work) -> [f64; 2] {
        let packets = (self.packets - before.packets).max(1) as f64;
        [0, 1].map(|part| (self.ticks[part] - before.ticks[part]) as f64 * TICK / packets)
    }
}

impl Middle {
    fn start(site: &Site, way: &Way, options: &Options) -> Result<Middle, LabError> {
        match &way.kind {
            Kind::Natgate(more) => {
                let device = device(options);
                let text = config_text(device, 1, &Natgate::control(site)) + more;
                Ok(Middle::Natgate(Natgate::start(site, &binary(), &text)?))
            }
            Kind::Kernel(rules) => {
                let gateway = &site.gateway;
                for (address, interface) in
                    [(GATEWAY_INSIDE, INSIDE), (GATEWAY_OUTSIDE, OUTSIDE), (SERVICE, OUTSIDE)]
                {
                    gateway.ip(&["address", "add", &format!("{address}/24"), "dev", interface])?;
                }
                gateway.ip(&["route", "add", "default", "via", &ROUTER.to_string()])?;
                gateway.sysctl("ipv4/ip_forward", "1")?;
                gateway.check(&["nft", rules], QUICK)?;
                let time_wait = options.time_wait().to_string();
                gateway.sysctl("netfilter/nf_conntrack_tcp_timeout_time_wait", &time_wait)?;
                Ok(Middle::Kernel(gateway.clone(), TableSize::set(options.entries())?))
            }
        }
    }

    fn entries(&self) -> Result<u64, LabError> {
        match self {
            Middle::Natgate(natgate) => Ok(status(natgate)?.sessions.used),
            Middle::Kernel(namespace, _) => {
                let count = "/proc/sys/net/netfilter/nf_conntrack_count";
                let text = namespace.check(&["cat", count], QUICK)?.stdout;
                text.trim().parse().map_err(|_| LabError::Unexpected(format!("{count} says {text}")))
            }
        }
    }

    /// What natgate dropped, for a load that failed.
    fn explain(&self) {
        if let Middle::Natgate(natgate) = self {
            eprintln!("  natgate: {:?}", natgate.totals());
        }
    }

    fn work(&self) -> Result<Option<Work>, LabError> {
        match self {
            Middle::Natgate(natgate) => Work::of(natgate).map(Some),
            Middle::Kernel(..) => Ok(None),
        }
    }
}

fn status(natgate: &Natgate) -> Result<api::Status, LabError> {
    let text = natgate.ask(&["show", "status", "--json"])?;
    serde_json::from_str(&text).map_err(|e| LabError::Unexpected(format!("{e} in {text}")))
}

fn binary() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_natgate"))
}

fn device(options: &Options) -> DeviceKind {
    if options.af_xdp { DeviceKind::AfXdp } else { DeviceKind::AfPacket }
}

/// The network: memcached inside, clients outside behind a router, which is the same host.
fn site() -> Result<(Site, Background), LabError> {
    let site = Site::small(1)?;
    site.server.ip(&["address", "add", &format!("{ROUTER}/24"), "dev", "eth0"])?;
    site.server.ip(&["route", "add", "local", &format!("{CLIENTS}/24"), "dev", "lo"])?;
    // The gateway takes no ARP from who is not on the link.
    site.server.sysctl("ipv4/conf/all/arp_announce", "2")?;
    // Each closed connection stays for a minute in its client's kernel. With too few places it would be forgotten, and the
    // server's FIN answered by a RST, which shortens what a gateway remembers.
    site.server.sysctl("ipv4/tcp_max_tw_buckets", "4000000")?;
    let program = std::env::var("NATGATE_MEMCACHED").unwrap_or_else(|_| "memcached".to_owned());
    let words = ["-u", "nobody", "-l", "0.0.0.0", "-U", "0", "-t", "1", "-c", "8192", "-b", "4096"];
    let bound = ["prlimit", "--nofile=16384:16384", "--", &program];
    let memcached = site.client.spawn("memcached", &[&bound[..], &words].concat())?;
    Ok((site, memcached))
}

fn load(site: &Site, options: &Options) -> Result<Background, LabError> {
    let (binary, to) = (binary().display().to_string(), format!("{SERVICE}:{PORT}"));
    let numbers = [ADDRESSES, options.seconds, options.concurrency].map(|number| number.to_string());
    let [addresses, seconds, concurrency] = &numbers;
    let argv = [
        &["prlimit", "--nofile=16384:16384", "--", &binary, "peer", "memcached-load", &to, "--from", CLIENTS],
        &["--addresses", addresses, "--seconds", seconds, "--concurrency", concurrency][..],
    ];
    site.server.spawn("load", &argv.concat())
}

/// Waits for the end of the load and looks at the table meanwhile.
fn watch(load: &mut Background, middle: &Middle, limit: Duration) -> Result<Vec<(f64, u64)>, LabError> {
    let begun = Instant::now();
    let mut samples = Vec::new();
    loop {
        samples.push((begun.elapsed().as_secs_f64(), middle.entries()?));
        match load.ended()? {
            Some(status) if status.success() => return Ok(samples),
            Some(status) => return Err(LabError::Unexpected(format!("the load {status}: {}", load.log()))),
            None if interrupted() => return Err(LabError::Interrupted),
            None if begun.elapsed() > limit => {
                return Err(LabError::Unexpected("the load does not end".to_owned()));
            }
            None => std::thread::sleep(LOOK),
        }
    }
}

fn measure(way: &Way, options: &Options) -> Result<Row, LabError> {
    let (site, mut memcached) = site()?;
    let middle = Middle::start(&site, way, options)?;
    memcached.still_running()?;
    let before = middle.work()?;
    let mut load = load(&site, options)?;
    let limit = Duration::from_secs(u64::from(options.seconds) + 30);
    let samples = watch(&mut load, &middle, limit).inspect_err(|_| middle.explain())?;
    let report: Report = serde_json::from_str(&load.log())
        .map_err(|e| LabError::Unexpected(format!("{e} in {}", load.log())))?;
    for (error, number) in &report.errors {
        eprintln!("  {number} failed: {error}");
    }
    let cpu = before.zip(middle.work()?).map(|(before, after)| after.per_packet_since(before));
    let half = report.succeeded.get(report.succeeded.len() / 2..).unwrap_or_default();
    let rate = |seconds: &[u64]| seconds.iter().sum::<u64>() as f64 / seconds.len().max(1) as f64;
    Ok(Row {
        way: way.name,
        about: way.about.clone(),
        per_second: rate(&report.succeeded),
        per_second_at_the_end: rate(half),
        failed: report.failed.iter().sum(),
        entries: samples.last().map_or(0, |(_, entries)| *entries),
        growth: growth(&samples, options.entries()),
        sustained: way.time_wait.map(|seconds| options.entries() / seconds),
        user_ns_per_packet: cpu.map(|[user, _]| user),
        kernel_ns_per_packet: cpu.map(|[_, kernel]| kernel),
        median_us: report.median_us,
        p99_us: report.p99_us,
        ratio: 0.0,
    })
}

fn growth(samples: &[(f64, u64)], capacity: u32) -> f64 {
    let room = u64::from(capacity) * 9 / 10;
    let last = samples.iter().take_while(|(_, entries)| *entries < room).last();
    last.map_or(0.0, |(seconds, entries)| *entries as f64 / seconds.max(0.1))
}

fn print(rows: &[Row], options: &Options) {
    println!(
        "memcached behind the gateway, a connection for each get, {} at a time, {} s each way; tables of {} entries, which \
         stay for {} s as in Linux or {DEFAULT_TIME_WAIT} s as natgate comes\n",
        options.concurrency,
        options.seconds,
        options.entries(),
        options.time_wait()
    );
    println!(
        "{:<22} {:>7} {:>8} {:>7} {:>8} {:>9} {:>10} {:>7} {:>9} {:>7} {:>7} {:>5}",
        "",
        "conn/s",
        "2nd half",
        "failed",
        "entries",
        "entries/s",
        "for ever/s",
        "user ns",
        "kernel ns",
        "p50 us",
        "p99 us",
        "ratio"
    );
    let cpu = |time: Option<f64>| time.map_or_else(|| "-".to_owned(), |time| format!("{time:.0}"));
    for row in rows {
        println!(
            "{:<22} {:>7.0} {:>8.0} {:>7} {:>8} {:>9.0} {:>10} {:>7} {:>9} {:>7} {:>7} {:>5.2}",
            row.way,
            row.per_second,
            row.per_second_at_the_end,
            row.failed,
            row.entries,
            row.growth,
            row.sustained.map_or_else(|| "no bound".to_owned(), |rate| rate.to_string()),
            cpu(row.user_ns_per_packet),
            cpu(row.kernel_ns_per_packet),
            row.median_us,
            row.p99_us,
            row.ratio
        );
    }
    let time = |way: &str| {
        let row = rows.iter().find(|row| row.way == way)?;
        Some((row.user_ns_per_packet?, row.kernel_ns_per_packet?))
    };
    if let (Some((user, kernel)), Some((notracked, notracked_kernel))) = (time(TRACKED), time(NOTRACKED)) {
        let (all, notracked_all) = (user + kernel, notracked + notracked_kernel);
        println!(
            "\nCPU time a packet, notracked against tracked: {:+.0} %, in natgate itself {:+.0} %",
            100.0 * (notracked_all / all - 1.0),
            100.0 * (notracked / user - 1.0)
        );
    }
    let (tracked, untracked) = PUBLISHED_RATES;
    println!(
        "published: {PUBLISHED_ENTRIES} entries / {PUBLISHED_TIME_WAIT} s = {tracked} connections/s tracked, \
         {untracked} untracked, 20 % less CPU"
    );
}

fn run(options: &Options) -> Result<(), LabError> {
    let mut rows: Vec<Row> = Vec::new();
    for way in ways(options).into_iter().filter(|way| way.name.contains(&options.only)) {
        eprintln!("{}: {}, {} s", way.name, way.about, options.seconds);
        match measure(&way, options) {
            Ok(row) => rows.push(row),
            Err(LabError::Interrupted) => return Err(LabError::Interrupted),
            // The reference may be missing on this machine; natgate may not.
            Err(error) if matches!(way.kind, Kind::Kernel(_)) => eprintln!("  left out: {error}"),
            Err(error) => return Err(error),
        }
    }
    let first = rows.first().map_or(1.0, |row| row.per_second_at_the_end.max(1.0));
    rows.iter_mut().for_each(|row| row.ratio = row.per_second_at_the_end / first);
    if options.json {
        let text = serde_json::to_string_pretty(&rows).map_err(|e| LabError::Unexpected(e.to_string()))?;
        println!("{text}");
    } else {
        print(&rows, options);
    }
    Ok(())
}

fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::var_os("NATGATE_MEMCACHED").is_some()
        || std::env::split_paths(&path).any(|directory| Path::new(&directory).join(program).exists())
}

fn main() -> ExitCode {
    let options = Options::parse();
    if !is_root().unwrap_or(false) || !is_there("memcached") {
        eprintln!("SKIPPED: the experiment needs root and memcached; run scripts/notrack-experiment");
        return ExitCode::SUCCESS;
    }
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
