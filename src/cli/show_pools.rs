//! The text of `natgate show pools`.

use super::table::{Align, Table, grouped, percent};
use crate::control::api::{self, PoolAddress, PortCount};
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

fullest address  pool                TCP  UDP  others  fullest kind
203.0.113.255    customers        32,255   10       0  49.9 % of 64,511 TCP
203.0.113.2      wan (interface)       0    0       0  0.0 % of 64,511 TCP
203.0.113.9      (retired)             0    0       7  no new sessions
";
        assert_eq!(text, expected);
        assert!(text.lines().all(|line| line.len() <= COLUMNS), "{text}");
    }
}
