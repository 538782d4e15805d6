//! `natgate explain` without a protocol: whose an external port is, and which ports a host has.
//!
//! Of pools with `deterministic` the config alone says so, of any time at which it was in force: offline with `--config`. The
//! blocks of pools with `port_blocks` are those that the running gateway has given, now; for other times there are its records.

use super::explain::{ExplainArgs, failed, split};
use super::report;
use super::show::blocks_path;
use super::table::{json, to_stdout};
use super::{Failure, complain};
use crate::config::Config;
use crate::config::units;
use crate::control::api::{self, Ports};
use crate::control::client::Client;
use crate::control::reload::answer::RunningConfig;
use crate::nat::deterministic::Share;
use std::io::{self, Write};
use std::net::Ipv4Addr;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// Who has this port of this address.
    Port(Ipv4Addr, u16),
    /// Which ports this host has.
    Host(Ipv4Addr),
}

/// Runs the command.
///
/// # Errors
/// There is no such config or gateway, or the question is not one.
pub(super) fn run(args: &ExplainArgs) -> Result<(), Failure> {
    let question = question(args)?;
    let found = match &args.config {
        Some(file) => by_arithmetic(&report::load(file)?.config, question),
        None => {
            let client = Client::new(&args.socket);
            let running: RunningConfig = client.get_json("/v1/config").map_err(failed)?;
            let mut found =
                by_arithmetic(&report::check(&running.config, "the running config")?.config, question);
            let path = match question {
                Question::Port(address, port) => blocks_path(None, Some(address), Some(port), None),
                Question::Host(host) => blocks_path(Some(host), None, None, None),
            };
            let blocks: api::Blocks = client.get_json(&path).map_err(failed)?;
            found.extend(blocks.blocks);
            found
        }
    };
    Ok(to_stdout(|out| match args.json {
        true => json(out, &found),
        false => Ok(write_ports(out, question, &found)?),
    })?)
}

fn question(args: &ExplainArgs) -> Result<Question, Failure> {
    let external = match (&args.external, args.subscriber) {
        (Some(external), _) => external,
        (None, Some(host)) => return Ok(Question::Host(host)),
        (None, None) => {
            complain("say whose ports: `--subscriber ADDRESS`, or which one: `--external ADDRESS:PORT`");
            return Err(Failure::Usage(String::new()));
        }
    };
    let (address, port) = split(external);
    match (units::address(address), port.and_then(|port| port.parse().ok())) {
        (Ok(address), Some(port)) => Ok(Question::Port(address, port)),
        _ => Err(Failure::Usage(format!("{external:?} is not ADDRESS:PORT, such as 198.51.100.7:12345"))),
    }
}

/// What the arithmetic of a config says.
pub fn by_arithmetic(config: &Config, question: Question) -> Vec<Ports> {
    let of_pool = |pool: &crate::config::model::PoolConfig| {
        let fixed = pool.fixed.as_ref()?;
        let host = match question {
            Question::Host(host) => host,
            Question::Port(address, port) => {
                fixed.inside(pool.addresses.iter().position(|known| *known == address)?, port)?
            }
        };
        let (place, Share { first, last }) = fixed.outside(fixed.zone(), host)?;
        Some(Ports {
            kind: "deterministic".into(),
            pool: Some(pool.name.clone()),
            subscriber: host,
            zone: fixed.zone(),
            address: *pool.addresses.get(place)?,
            first_port: first,
            last_port: last,
            given: None,
        })
    };
    config.pools.iter().filter_map(of_pool).collect()
}

/// Writes who has which ports.
pub fn write_ports(out: &mut dyn Write, question: Question, found: &[Ports]) -> io::Result<()> {
    if found.is_empty() {
        return match question {
            Question::Port(address, port) => writeln!(
                out,
                "Nobody: {address}:{port} is no host's by arithmetic, and in no block of ports that is asked about."
            ),
            Question::Host(host) => {
                writeln!(out, "{host} has no ports by arithmetic, and no block of ports that is asked about.")
            }
        };
    }
    for Ports { kind, pool, subscriber, zone, address, first_port, last_port, given } in found {
        let pool = pool.as_ref().map(|name| format!(", pool.{name}")).unwrap_or_default();
        let since = given.as_ref().map(|given| format!(" since {given}")).unwrap_or_default();
        writeln!(
            out,
            "{subscriber} (zone {zone}) has {address} ports {first_port}-{last_port}: {kind}{since}{pool}"
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

    use super::*;
    use crate::config::parse;
    use proptest::prelude::*;

    /// A config with two pools, of which the second is for another zone.
    fn config(addresses: u32, ports: u16, lengths: (u8, u8)) -> Result<Config, String> {
        let interface = |name: &str, realm: &str, address: &str, zone: u8| {
            format!(
                "[interface.{name}]\ndevice = \"tap:{name}\"\nrealm = \"{realm}\"\naddress = \"{address}\"\nzone = {zone}\n"
            )
        };
        let last = Ipv4Addr::from_bits(0xc633_6400 + addresses);
        let text = interface("wan", "external", "203.0.113.2/24", 0)
            + &interface("lan", "internal", "192.168.1.1/24", 1)
            + &interface("other", "internal", "192.168.1.1/24", 2)
            + &format!(
                "[pool.one]\naddresses = \"198.51.100.1-{last}\"\n\
                 deterministic = {{ inside = [\"100.64.8.0/{}\", \"100.64.0.0/{}\"], ports = {ports}, zone = 1 }}\n\
                 [pool.two]\naddresses = \"198.51.103.0/30\"\n\
                 deterministic = {{ inside = \"100.64.0.0/22\", zone = 2 }}\n",
                lengths.0, lengths.1,
            );
        parse(&text, "x").map(|checked| checked.config).map_err(|errors| errors.to_string())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn explaining_a_port_and_explaining_its_host_are_inverses(
            addresses in 1u32..600,
            ports in 1u16..5000,
            lengths in (22u8..=32, 22u8..=32),
            asked in any::<(u16, u16)>(),
        ) {
            let Ok(config) = config(addresses, ports, lengths) else {
                // Then the sum of hosts is more than what there is.
                let hosts = (1u64 << (32 - lengths.0)) + (1 << (32 - lengths.1));
                prop_assert!(hosts > u64::from(64_512 / ports) * u64::from(addresses));
                return Ok(());
            };
            let pools = &config.pools;
            for pool in pools {
                let address = pool.addresses[usize::from(asked.0) % pool.addresses.len()];
                for ours in by_arithmetic(&config, Question::Port(address, asked.1)) {
                    prop_assert!(ours.address == address && (ours.first_port..=ours.last_port).contains(&asked.1));
                    let of_host = by_arithmetic(&config, Question::Host(ours.subscriber));
                    prop_assert!(of_host.contains(&ours));
                }
            }
            for host in [0x6440_0000, 0x6440_0800, 0x6440_0000 + u32::from(asked.0 % 1024)] {
                for ours in by_arithmetic(&config, Question::Host(Ipv4Addr::from_bits(host))) {
                    for port in [ours.first_port, ours.last_port] {
                        let found = by_arithmetic(&config, Question::Port(ours.address, port));
                        prop_assert_eq!(&found, &vec![ours.clone()]);
                    }
                }
            }
        }
    }

    #[test]
    fn a_port_is_explained_in_a_line_and_one_that_is_nobodys_too() {
        let config = config(20, 1000, (24, 24)).unwrap();
        let told = |question| {
            let mut out = Vec::new();
            write_ports(&mut out, question, &by_arithmetic(&config, question)).unwrap();
            String::from_utf8(out).unwrap()
        };
        let address = Ipv4Addr::new(198, 51, 100, 2);
        // The 64 hosts of the first address are 100.64.8.0 to 100.64.8.63.
        let line = "100.64.8.65 (zone 1) has 198.51.100.2 ports 2024-3023: deterministic, pool.one\n";
        assert_eq!(told(Question::Port(address, 3023)), line);
        assert_eq!(told(Question::Host(Ipv4Addr::new(100, 64, 8, 65))), line);
        assert!(told(Question::Port(address, 65_100)).starts_with("Nobody"));
        assert!(told(Question::Host(address)).contains("no ports"));
        let both = by_arithmetic(&config, Question::Host(Ipv4Addr::new(100, 64, 0, 3)));
        assert_eq!(both.iter().map(|ports| ports.zone).collect::<Vec<_>>(), [1, 2]);
    }
}
