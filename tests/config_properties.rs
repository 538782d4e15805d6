//! Whatever the text is, the parser answers; and what was written is what is read.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

use natgate::config;
use natgate::config::model::{PollMode, SourcePool};
use natgate::conntrack::policy::Share;
use natgate::conntrack::timeouts::Timeout;
use natgate::ids::Realm;
use proptest::prelude::*;
use std::fmt::Write;
use std::time::Duration;

/// Configs that hold most keys.
const FULL: &[&str] = &[
    include_str!("../config/port-forwarding.toml"),
    include_str!("../config/carrier-limits.toml"),
    include_str!("../config/carrier-blocks.toml"),
    include_str!("../config/notrack-service.toml"),
    include_str!("../config/notrack-tunnels.toml"),
];

/// Pieces that mean something to a TOML parser or to ours.
const PIECES: &[&str] = &[
    "",
    "\"",
    "'",
    "[",
    "]",
    "[[",
    "=",
    "\n",
    ",",
    "{",
    "}",
    "#",
    ".",
    "\\u",
    "é",
    "\0",
    "-",
    "/",
    "\"\"\"",
    "0x",
    "1e9",
    "99999999999999999999",
    "[interface.x]\n",
    "[[snat]]\n",
    "[[notrack]]\n",
    "pool.",
    "set.",
    "0.0.0.0/0",
    "255.255.255.255",
    "null",
];

proptest! {
    #[test]
    fn mutated_text_gives_a_config_or_errors_that_can_be_printed(
        full in prop::sample::select(FULL),
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0usize..40, prop::sample::select(PIECES)), 1..8),
    ) {
        let mut text: Vec<char> = full.chars().collect();
        for (at, remove, insert) in edits {
            let start = at.index(text.len());
            let end = (start + remove).min(text.len());
            text.splice(start..end, insert.chars());
            text.push('\n');
        }
        let text: String = text.into_iter().collect();
        if let Err(errors) = config::parse(&text, "x.toml") {
            prop_assert!(!errors.errors.is_empty());
            for error in &errors.errors {
                prop_assert!(error.place.line >= 1 && error.place.line <= text.split('\n').count());
            }
            prop_assert!(errors.to_string().contains("= help: "));
        }
    }

    #[test]
    fn any_text_gives_a_config_or_errors(text in "\\PC{0,200}") {
        if let Err(errors) = config::parse(&text, "x.toml") {
            prop_assert!(!errors.errors.is_empty());
        }
    }

    #[test]
    fn ports_of_a_class_are_those_that_were_written_in_order_and_apart(
        given in prop::collection::vec((1u16..=300, 0u16..40), 1..20),
    ) {
        let ranges: Vec<_> = given.iter().map(|(first, more)| *first..=first + more).collect();
        let written: Vec<String> =
            ranges.iter().map(|range| format!("\"{}-{}\"", range.start(), range.end())).collect();
        let text = format!(
            "[interface.lan]\ndevice = \"tap:a\"\nrealm = \"internal\"\naddress = \"10.0.0.1/24\"\n\
             [[notrack]]\nname = \"x\"\nprotocol = \"udp\"\nport = [{}]\n",
            written.join(", ")
        );
        let checked = config::parse(&text, "x.toml").map_err(|errors| TestCaseError::fail(errors.to_string()))?;
        let read = &checked.config.notrack[0].ports;
        for pair in read.windows(2) {
            prop_assert!(pair[0].end() + 1 < *pair[1].start());
        }
        for port in 0..400 {
            let holds = |ranges: &[std::ops::RangeInclusive<u16>]| ranges.iter().any(|range| range.contains(&port));
            prop_assert_eq!(holds(read), holds(&ranges), "{}", port);
        }
    }

    #[test]
    fn what_was_written_is_what_is_read(site in site()) {
        let text = site.text();
        let checked = config::parse(&text, "x.toml");
        let config = checked.map_err(|errors| TestCaseError::fail(format!("{errors}\n{text}")))?.config;
        prop_assert_eq!(config.interfaces.len(), site.lans.len() + 1);
        for (n, (interface, lan)) in config.interfaces.iter().skip(1).zip(&site.lans).enumerate() {
            prop_assert_eq!(&interface.name, &format!("lan{n}"));
            prop_assert_eq!(interface.realm, Realm::Internal);
            prop_assert_eq!(interface.mtu, lan.mtu);
            prop_assert_eq!(interface.vlan, lan.vlan.unwrap_or(0));
            prop_assert_eq!(interface.primary().to_string(), format!("10.{n}.0.1"));
            let device = &config.devices[interface.device.index()];
            prop_assert_eq!(device.spec.to_string(), format!("tap:lan{n}"));
        }
        prop_assert_eq!(config.runtime.workers, site.workers);
        prop_assert_eq!(config.runtime.poll, if site.adaptive { PollMode::Adaptive } else { PollMode::Busy });
        prop_assert_eq!(config.conntrack.max_sessions, site.sessions);
        prop_assert_eq!(config.conntrack.timeouts.get(Timeout::Udp), Duration::from_secs(site.udp));
        let limits = &config.conntrack.limits;
        prop_assert_eq!(limits.reserve.basis_points(), site.reserve);
        prop_assert_eq!((limits.adaptive_low, limits.adaptive_high), site.adaptive_timeouts);
        prop_assert_eq!(limits.new_per_source.map(|rate| rate.per_second), site.rate);
        prop_assert_eq!(config.conntrack.rules[0].mark, site.mark);
        prop_assert_eq!(config.conntrack.rules[1].mark, site.mark);
        prop_assert_eq!(config.pools[0].addresses.len(), usize::from(site.pool));
        prop_assert_eq!(config.pools[0].ports.clone(), site.ports.0..=site.ports.1);
        prop_assert_eq!(config.snat[0].source, Some(SourcePool::Pool(0)));
        prop_assert_eq!(config.dnat.len(), site.forwards.len());
        for (rule, (port, to_port)) in config.dnat.iter().zip(&site.forwards) {
            prop_assert_eq!((rule.ports.clone(), rule.backends[0].port), (*port..=*port, to_port.unwrap_or(*port)));
        }
    }
}

#[derive(Debug, Clone)]
struct Lan {
    mtu: u16,
    vlan: Option<u16>,
}

/// A config, before it is written.
#[derive(Debug, Clone)]
struct Site {
    lans: Vec<Lan>,
    workers: u8,
    adaptive: bool,
    sessions: u32,
    udp: u64,
    pool: u8,
    ports: (u16, u16),
    forwards: Vec<(u16, Option<u16>)>,
    /// In hundredths of a percent.
    reserve: u16,
    adaptive_timeouts: (Share, Share),
    rate: Option<u32>,
    mark: u32,
}

fn site() -> impl Strategy<Value = Site> {
    let lan = (576u16..=9216, prop::option::of(1u16..=4094)).prop_map(|(mtu, vlan)| Lan { mtu, vlan });
    // At least one port for each of at most 64 workers.
    let ports =
        (1u16..=65535 - 63, 63u16..=65535).prop_map(|(first, more)| (first, first.saturating_add(more)));
    let forwards = prop::collection::btree_map(1u16..=65535, prop::option::of(1u16..=65535), 0..20);
    let adaptive_timeouts = (0u16..10_000).prop_flat_map(|low| (Just(low), low + 1..=10_000));
    let adaptive_timeouts = adaptive_timeouts
        .prop_map(|(low, high)| (Share::from_basis_points(low), Share::from_basis_points(high)));
    let pressure = (0u16..=5000, adaptive_timeouts, prop::option::of(1u32..=100_000_000), any::<u32>());
    (
        prop::collection::vec(lan, 1..12),
        1u8..=64,
        any::<bool>(),
        64u32..=1 << 27,
        1u64..=31_536_000,
        1u8..=100,
        ports,
        forwards,
        pressure,
    )
        .prop_map(|(lans, workers, adaptive, sessions, udp, pool, ports, forwards, pressure)| {
            let forwards = forwards.into_iter().collect();
            let (reserve, adaptive_timeouts, rate, mark) = pressure;
            Site {
                lans,
                workers,
                adaptive,
                sessions,
                udp,
                pool,
                ports,
                forwards,
                reserve,
                adaptive_timeouts,
                rate,
                mark,
            }
        })
}

impl Site {
    fn text(&self) -> String {
        let mut text = String::from(
            "[interface.wan]\ndevice = \"tap:wan\"\nrealm = \"external\"\naddress = \"203.0.113.2/24\"\n",
        );
        for (n, Lan { mtu, vlan }) in self.lans.iter().enumerate() {
            write!(text, "[interface.lan{n}]\ndevice = \"tap:lan{n}\"\nrealm = 'internal'\n").unwrap();
            write!(text, "address = \"10.{n}.0.1/16\"\nmtu = {mtu}\n").unwrap();
            if let Some(vlan) = vlan {
                writeln!(text, "vlan = {vlan}").unwrap();
            }
        }
        let poll = if self.adaptive { "adaptive" } else { "busy" };
        let (last, ports) = (9 + u16::from(self.pool), self.ports);
        write!(text, "[runtime]\nworkers = {}\npoll = \"{poll}\"\n", self.workers).unwrap();
        write!(text, "[conntrack]\nmax_sessions = {}\ntimeouts.udp = \"{}s\"\n", self.sessions, self.udp)
            .unwrap();
        let (low, high) = self.adaptive_timeouts;
        writeln!(text, "reserve = \"{}.{:02}%\"", self.reserve / 100, self.reserve % 100).unwrap();
        writeln!(text, "adaptive = [\"{low}\", \"{high}\"]").unwrap();
        if let Some(rate) = self.rate {
            writeln!(text, "new_sessions_per_source = \"{rate}/s\"").unwrap();
        }
        writeln!(text, "[[conntrack.rule]]\nprotocol = 47\nmark = {}", self.mark).unwrap();
        writeln!(text, "[[conntrack.rule]]\nmark = \"{:#x}\"", self.mark).unwrap();
        write!(
            text,
            "[pool.p]\naddresses = \"203.0.113.10-203.0.113.{last}\"\nports = \"{}-{}\"\n",
            ports.0, ports.1
        )
        .unwrap();
        text += "[[snat]]\nsource = \"pool.p\"\n";
        for (port, to_port) in &self.forwards {
            let to = to_port.map(|port| format!(":{port}")).unwrap_or_default();
            write!(
                text,
                "[[dnat]]\non = \"wan\"\nprotocol = \"udp\"\nport = {port}\nto = \"10.0.0.9{to}\"\n"
            )
            .unwrap();
        }
        text
    }
}
