//! The text of `natgate show backends`.

use super::table::{Align, Table, duration, grouped};
use crate::control::api;
use std::io::{self, Write};

/// Rules that are named in a row.
const RULES: usize = 2;

/// Writes each backend that is asked whether it is there, those that are down first.
pub fn write_backends(out: &mut dyn Write, list: &[api::Backend]) -> io::Result<()> {
    if list.is_empty() {
        return writeln!(out, "No backend is asked whether it is there: no [[dnat]] rule has `health`.");
    }
    let mut table = Table::new(&[
        ("backend", Align::Left),
        ("state", Align::Left),
        ("since", Align::Right),
        ("flaps", Align::Right),
        ("failed", Align::Right),
        ("last failure", Align::Left),
        ("dnat", Align::Left),
    ]);
    for backend in list {
        table.row([
            name(backend),
            if backend.up { "up" } else { "down" }.to_owned(),
            duration(backend.since_seconds),
            grouped(backend.changes),
            grouped(backend.failed),
            failure(backend),
            rules(backend),
        ]);
    }
    table.write(out)
}

fn name(backend: &api::Backend) -> String {
    let zone = if backend.zone == 0 { String::new() } else { format!(" zone {}", backend.zone) };
    match backend.port {
        Some(port) => format!("{}:{port}{zone}", backend.address),
        None => format!("{} ({}){zone}", backend.address, backend.check),
    }
}

fn failure(backend: &api::Backend) -> String {
    match (&backend.failure, backend.failure_seconds) {
        (Some(failure), Some(ago)) => format!("{failure} {} ago", duration(ago)),
        _ => String::new(),
    }
}

fn rules(backend: &api::Backend) -> String {
    let mut named: Vec<String> = backend.rules.iter().take(RULES).map(u64::to_string).collect();
    if backend.rules.len() > RULES {
        named.push(format!("{} more", backend.rules.len() - RULES));
    }
    named.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn a_backend_shows_its_state_and_what_was_wrong_last() {
        let up = api::Backend {
            address: Ipv4Addr::new(192, 168, 1, 20),
            port: Some(8080),
            zone: 0,
            check: "tcp".into(),
            up: true,
            since_seconds: 7_440,
            changes: 0,
            asked: 3_720,
            failed: 0,
            failure: None,
            failure_seconds: None,
            rules: vec![1, 2, 3, 4, 5, 6],
        };
        let down = api::Backend {
            port: None,
            check: "icmp".into(),
            up: false,
            since_seconds: 42,
            changes: 3,
            failed: 25,
            failure: Some("timeout".into()),
            failure_seconds: Some(1),
            rules: vec![9],
            ..up.clone()
        };
        let mut out = Vec::new();
        write_backends(&mut out, &[down, up]).unwrap();
        let expected = "\
backend              state  since  flaps  failed  last failure    dnat
192.168.1.20 (icmp)  down     42s      3      25  timeout 1s ago  9
192.168.1.20:8080    up     2h 4m      0       0                  1, 2, 4 more
";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
