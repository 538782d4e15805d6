//! The text of `natgate show pools`.

use super::table::{Align, Table, grouped, percent};
use crate::control::api::{self, BlockCount, PoolAddress, PortCount};
use std::io::{self, Write};

/// Writes each pool and what of it is in use, then its fullest addresses.
pub fn write_pools(out: &mut dyn Write, list: &api::Pools) -> io::Result<()> {
    if list.pools.is_empty() {
        return writeln!(out, "No rule translates a source: there are no pools.");
    }
    let mut summary = Table::new(&[
        ("pool", Align::Left),
        ("addresses", Align::Right),
        ("ports", Align::Left),
        ("TCP used", Align::Right),
        ("UDP used", Align::Right),
        ("others", Align::Right),
    ]);
    for pool in &list.pools {
        let [tcp, udp, other] = shares(pool.used, pool.usable);
        let addresses = grouped(pool.addresses);
        summary.row([name(pool), addresses, pool.ports.clone().unwrap_or("-".into()), tcp, udp, other]);
    }
    summary.write(out)?;
    writeln!(out)?;
    write_blocks_used(out, list)?;
    let mut addresses = Table::new(&[
        ("fullest address", Align::Left),
        ("pool", Align::Left),
        ("TCP", Align::Right),
        ("UDP", Align::Right),
        ("others", Align::Right),
        ("fullest kind", Align::Left),
    ]);
    for pool in &list.pools {
        for row in &pool.fullest {
            let PortCount { tcp, udp, other } = row.used;
            let [tcp, udp, other] = [tcp, udp, other].map(grouped);
            addresses.row([row.address.to_string(), name(pool), tcp, udp, other, fullest(row)]);
        }
    }
    addresses.write(out)
}

/// Of pools with blocks of ports: how many are in use.
fn write_blocks_used(out: &mut dyn Write, list: &api::Pools) -> io::Result<()> {
    let mut table = Table::new(&[
        ("pool", Align::Left),
        ("blocks of", Align::Right),
        ("there are", Align::Right),
        ("in use", Align::Right),
    ]);
    let mut any = false;
    for pool in &list.pools {
        let Some(BlockCount { size, total, used }) = pool.blocks else { continue };
        any = true;
        table.row([name(pool), grouped(size), grouped(total), percent(used, total)]);
    }
    if any {
        table.write(out)?;
        writeln!(out)?;
    }
    Ok(())
}

/// Writes who has which blocks of ports.
pub fn write_blocks(out: &mut dyn Write, list: &api::Blocks) -> io::Result<()> {
    if list.blocks.is_empty() {
        return writeln!(
            out,
            "Nobody has a block of ports{}.",
            if list.total > 0 { " that was asked for" } else { "" }
        );
    }
    let mut table = Table::new(&[
        ("address", Align::Left),
        ("ports", Align::Left),
        ("subscriber", Align::Left),
        ("zone", Align::Right),
        ("since", Align::Left),
    ]);
    for block in &list.blocks {
        let ports = format!("{}-{}", block.first_port, block.last_port);
        let since = block.given.clone().unwrap_or_default();
        let [address, subscriber] = [block.address, block.subscriber].map(|address| address.to_string());
        table.row([address, ports, subscriber, block.zone.to_string(), since]);
    }
    table.write(out)?;
    let shown = list.blocks.len() as u64;
    if shown < list.total {
        writeln!(out, "\n{} of {} blocks", grouped(shown), grouped(list.total))?;
    }
    Ok(())
}

fn name(pool: &api::Pool) -> String {
    match pool.kind.as_str() {
        "interface" => format!("{} (interface)", pool.name),
        "retired" => "(retired)".to_owned(),
        _ => pool.name.clone(),
    }
}

fn kinds(used: PortCount, usable: PortCount) -> [(&'static str, u64, u64); 3] {
    [("TCP", used.tcp, usable.tcp), ("UDP", used.udp, usable.udp), ("others", used.other, usable.other)]
}

/// What is in use of each kind of ports; the bare number where none may be given out any more.
fn shares(used: PortCount, usable: PortCount) -> [String; 3] {
    kinds(used, usable).map(|(_, used, usable)| match percent(used, usable) {
        empty if empty.is_empty() => grouped(used),
        share => share,
    })
}

/// Of which kind there are the fewest left, in proportion.
fn fullest(row: &PoolAddress) -> String {
    let full = |(_, used, usable): &(&str, u64, u64)| (used * 1_000_000).checked_div(*usable);
    let fullest = kinds(row.used, row.usable).into_iter().rev().max_by_key(full);
    match fullest {
        Some((kind, used, usable)) if usable > 0 => {
            format!("{} of {} {kind}", percent(used, usable), grouped(usable))
        }
        _ => "no new sessions".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::table::COLUMNS;
    use std::net::Ipv4Addr;

    #[test]
    fn a_pool_shows_its_use_and_its_fullest_address_in_80_columns() {
        let count = |tcp, udp, other| PortCount { tcp, udp, other };
        let all = count(64_511, 64_512, 64_512);
        let address =
            |last, used, usable| PoolAddress { address: Ipv4Addr::new(203, 0, 113, last), usable, used };
        let pool = |name: &str, kind: &str, addresses, used, fullest| api::Pool {
            name: name.into(),
            kind: kind.into(),
            addresses,
            ports: (kind != "retired").then(|| "1024-65535".into()),
            usable: if kind == "retired" { PortCount::default() } else { all },
            used,
            blocks: (name == "customers").then_some(api::BlockCount {
                size: 512,
                total: 516_096,
                used: 1_290,
            }),
            fullest,
        };
        let busy = count(32_255, 10, 0);
        let left = count(0, 0, 7);
        let pools = vec![
            pool("customers", "pool", 4_096, busy, vec![address(255, busy, all)]),
            pool("wan", "interface", 1, count(0, 0, 0), vec![address(2, count(0, 0, 0), all)]),
            pool("retired", "retired", 1, left, vec![address(9, left, PortCount::default())]),
        ];
        let mut out = Vec::new();
        write_pools(&mut out, &api::Pools { pools }).unwrap();
        let text = String::from_utf8(out).unwrap();
        let expected = "\
pool             addresses  ports       TCP used  UDP used  others
customers            4,096  1024-65535    49.9 %     0.0 %   0.0 %
wan (interface)          1  1024-65535     0.0 %     0.0 %   0.0 %
(retired)                1  -                  0         0       7

pool       blocks of  there are  in use
customers        512    516,096   0.2 %

fullest address  pool                TCP  UDP  others  fullest kind
203.0.113.255    customers        32,255   10       0  49.9 % of 64,511 TCP
203.0.113.2      wan (interface)       0    0       0  0.0 % of 64,511 TCP
203.0.113.9      (retired)             0    0       7  no new sessions
";
        assert_eq!(text, expected);
        assert!(text.lines().all(|line| line.len() <= COLUMNS), "{text}");
    }

    #[test]
    fn a_block_is_a_line_with_its_subscriber_in_80_columns() {
        let block = |first_port: u16, last_port: u16| api::Ports {
            kind: "block".into(),
            pool: Some("customers".into()),
            subscriber: Ipv4Addr::new(100, 127, 255, 255),
            zone: 65_535,
            address: Ipv4Addr::new(203, 0, 113, 255),
            first_port,
            last_port,
            given: Some("2030-01-02T03:04:05Z".into()),
        };
        let list = |total, blocks| api::Blocks { total, given: total, released: 0, blocks };
        let text = |list| {
            let mut out = Vec::new();
            write_blocks(&mut out, &list).unwrap();
            String::from_utf8(out).unwrap()
        };
        let shown = text(list(3, vec![block(64_512, 65_535)]));
        let row =
            "203.0.113.255  64512-65535  100.127.255.255  65535  2030-01-02T03:04:05Z\n\n1 of 3 blocks\n";
        assert!(shown.starts_with("address  ") && shown.ends_with(row), "{shown}");
        assert!(shown.lines().all(|line| line.len() <= COLUMNS), "{shown}");
        assert_eq!(text(list(0, vec![])), "Nobody has a block of ports.\n");
    }
}
