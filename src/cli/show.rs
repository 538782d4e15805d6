//! `natgate show`: what the running gateway does, from its control socket.

use super::report::colours;
use super::show_events::write_events;
use super::show_pools::write_pools;
use super::show_pressure::write_pressure;
use super::show_routes::write_routes;
use super::show_rules::write_rules;
use super::show_steering::write_steering;
use super::show_timers::write_timers;
use super::table::{Align, Table, duration, grouped, json, percent, to_stdout};
use crate::control::client::Client;
use crate::control::{DEFAULT_SOCKET, api};
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

/// Shows what the running gateway does.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  natgate show status             uptime, packets, how full the table is
  natgate show drops              what was dropped and why
  natgate show drops --all        also reasons for which nothing was dropped
  natgate show timers             every timeout, beside Linux's and the RFCs'
  natgate show steering           which worker gets which packets, and how
  natgate show events             what happened: a table that filled, a flood
  natgate show rules              every rule, and the sessions that it made
  natgate show pools              external ports in use
  natgate show interfaces --json  for scripts
  natgate show steering --json | jq .handoff_ratio
  natgate show status -s n.sock   if runtime.control = \"n.sock\" in its config

Exit codes: 0 shown, 1 no answer from a gateway, 2 wrong usage.")]
pub struct ShowArgs {
    /// What to show.
    #[command(subcommand)]
    pub what: What,
    /// Write JSON instead of text.
    #[arg(long, global = true)]
    pub json: bool,
    /// The gateway's control socket (`runtime.control` in its config).
    #[arg(short, long, global = true, value_name = "PATH", default_value = DEFAULT_SOCKET)]
    pub socket: PathBuf,
}

/// What to show.
#[derive(Debug, clap::Subcommand)]
pub enum What {
    /// Uptime, how full the session table is, packets and whether they add up, workers.
    Status,
    /// Dropped packets by reason, with what each reason means.
    Drops {
        /// Also show reasons for which nothing was dropped.
        #[arg(long)]
        all: bool,
    },
    /// Interfaces: device, addresses, packets and bytes.
    Interfaces,
    /// Neighbours (ARP): Ethernet address and state of each next hop.
    Neighbors,
    /// Idle timeouts: their length, natgate's default, Linux's, what RFCs demand; and how the timers are doing.
    Timers {
        /// Also show in each further set the timeouts that are those of the first.
        #[arg(long)]
        all: bool,
    },
    /// How packets reach the worker that owns them: the plan of each interface, each worker's share, handoffs.
    Steering,
    /// Rules in the words of the config (snat, dnat, bans), and how many sessions each has made.
    Rules(Limit),
    /// External ports in use, by pool and of the fullest address of each.
    Pools {
        /// Show so many addresses of each pool, the fullest first.
        #[arg(long, value_name = "N", default_value_t = 1)]
        addresses: u64,
    },
    /// Routes by zone: connected and static ones, and whether their routers are known.
    Routes(Limit),
    /// The last 256 events: watermarks of the table, refusals, deletions, skew.
    Events {
        /// Only those after the event with this number.
        #[arg(long, value_name = "NUMBER", default_value_t = 0)]
        after: u64,
    },
}

/// How much of a long list to show.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Limit {
    /// At most so many; all if left out.
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
}

impl Limit {
    fn path(self, path: &str) -> String {
        self.limit.map_or_else(|| path.to_owned(), |limit| format!("{path}?limit={limit}"))
    }
}

/// Runs the command.
///
/// # Errors
/// No gateway answers, or the output can not be written. A reader that goes away is not an error.
pub fn run(args: &ShowArgs) -> anyhow::Result<()> {
    let client = Client::new(&args.socket);
    let colour = colours(io::stdout().is_terminal());
    match args.what {
        What::Status => {
            let status: api::Status = client.get_json("/v1/status")?;
            output(args.json, &status, |out| write_status(out, &status, colour))
        }
        What::Drops { all } => {
            let drops: api::Drops = client.get_json("/v1/drops")?;
            output(args.json, &drops, |out| write_drops(out, &drops, all))
        }
        What::Interfaces => {
            let list: Vec<api::Interface> = client.get_json("/v1/interfaces")?;
            output(args.json, &list, |out| write_interfaces(out, &list))
        }
        What::Neighbors => {
            let list: Vec<api::Neighbor> = client.get_json("/v1/neighbors")?;
            output(args.json, &list, |out| write_neighbors(out, &list))
        }
        What::Timers { all } => {
            let timers: api::Timers = client.get_json("/v1/timers")?;
            output(args.json, &timers, |out| write_timers(out, &timers, all))
        }
        What::Steering => {
            let steering: api::Steering = client.get_json("/v1/steering")?;
            output(args.json, &steering, |out| write_steering(out, &steering))
        }
        What::Rules(limit) => {
            let list: api::Rules = client.get_json(&limit.path("/v1/rules"))?;
            output(args.json, &list, |out| write_rules(out, &list))
        }
        What::Pools { addresses } => {
            let list: api::Pools = client.get_json(&format!("/v1/pools?limit={addresses}"))?;
            output(args.json, &list, |out| write_pools(out, &list))
        }
        What::Routes(limit) => {
            let list: api::Routes = client.get_json(&limit.path("/v1/routes"))?;
            output(args.json, &list, |out| write_routes(out, &list))
        }
        What::Events { after } => {
            let events: api::Events = client.get_json(&format!("/v1/events?after={after}"))?;
            output(args.json, &events, |out| write_events(out, &events, colour))
        }
    }
}

fn output(
    as_json: bool,
    value: &impl serde::Serialize,
    text: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> anyhow::Result<()> {
    to_stdout(|out| if as_json { json(out, value) } else { Ok(text(out)?) })
}

/// Writes the text of `natgate show status`.
pub fn write_status(out: &mut dyn Write, status: &api::Status, colour: bool) -> io::Result<()> {
    let dpdk = status.dpdk.as_ref().map(|version| format!(" with DPDK {version}")).unwrap_or_default();
    let total = &status.total;
    let sessions = &status.sessions;
    writeln!(out, "natgate {}{dpdk}, process {}", status.version, status.pid)?;
    writeln!(out, "config    {}", status.config)?;
    writeln!(out, "up        {} (since {})", duration(status.uptime_seconds), status.started)?;
    writeln!(
        out,
        "sessions  {} of {} ({}); {} created, {} removed since the start",
        grouped(sessions.used),
        grouped(sessions.capacity),
        percent(sessions.used, sessions.capacity),
        grouped(total.sessions_created),
        grouped(total.sessions_removed),
    )?;
    if let Some(pressure) = &status.pressure {
        write_pressure(out, sessions, pressure, colour)?;
    }
    writeln!(out)?;
    let mut packets = Table::new(&[("packets", Align::Left), ("", Align::Right), ("", Align::Left)]);
    for (name, value, meaning) in [
        ("received", total.rx, ""),
        ("sent", total.sent, "forwarded"),
        ("consumed", total.consumed, "for the gateway itself (ARP, ping)"),
        ("dropped", total.dropped, "see `natgate show drops`"),
        ("held", total.held, "wait for a neighbour or a first fragment"),
    ] {
        packets.row([name.into(), grouped(value), meaning.into()]);
    }
    packets.write(out)?;
    writeln!(out, "{}", balance(status.unaccounted))?;
    writeln!(out)?;
    writeln!(
        out,
        "made by the gateway itself: {} sent, {} not sent; {} ICMP errors over the limit",
        grouped(total.generated),
        grouped(total.generated_lost),
        grouped(total.icmp_limited),
    )?;
    if total.syn_cookies_sent > 0 {
        writeln!(
            out,
            "SYN proxy: {} SYNs answered with a cookie, {} cookies came back; backends asked again {} times, given up {} times",
            grouped(total.syn_cookies_sent),
            grouped(total.syn_cookies_valid),
            grouped(total.syn_proxy_retries),
            grouped(total.syn_proxy_given_up),
        )?;
    }
    writeln!(
        out,
        "handed to other workers: {} ({} of received; see `natgate show steering`)",
        grouped(total.handed_off),
        Some(percent(total.handed_off, total.rx)).filter(|text| !text.is_empty()).unwrap_or("none".into()),
    )?;
    writeln!(out)?;
    write_workers(out, &status.workers)
}

/// Whether `received = sent + consumed + dropped + held`, in words.
fn balance(unaccounted: i64) -> String {
    match unaccounted {
        0 => "they add up: received = sent + consumed + dropped + held".into(),
        n => format!(
            "{} packets {} between two counters while they were read; without traffic this must be 0",
            grouped(n.unsigned_abs()),
            if n > 0 { "were in work" } else { "moved" },
        ),
    }
}

fn write_workers(out: &mut dyn Write, workers: &[api::WorkerStatus]) -> io::Result<()> {
    // What they hand over is in `show steering`.
    let columns = ["worker", "sessions", "received", "sent", "consumed", "dropped", "held", "busy polls"];
    let mut table = Table::new(&columns.map(|name| (name, Align::Right)));
    for worker in workers {
        let counts = &worker.counts;
        let numbers = [
            worker.worker,
            worker.sessions.used,
            counts.rx,
            counts.sent,
            counts.consumed,
            counts.dropped,
            counts.held,
        ];
        table.row(numbers.map(grouped).into_iter().chain([percent(worker.busy_polls, worker.polls)]));
    }
    table.write(out)
}

/// Writes the text of `natgate show drops`.
pub fn write_drops(out: &mut dyn Write, drops: &api::Drops, all: bool) -> io::Result<()> {
    if drops.total == 0 && !all {
        return writeln!(out, "Nothing was dropped. (`--all` lists every reason that there is.)");
    }
    let mut table =
        Table::new(&[("packets", Align::Right), ("reason", Align::Left), ("what it means", Align::Left)]);
    for drop in drops.reasons.iter().filter(|drop| all || drop.packets > 0) {
        table.row([grouped(drop.packets), drop.reason.clone(), drop.help.clone()]);
    }
    table.row([grouped(drops.total), "total".into()]);
    table.write(out)
}

/// Writes the text of `natgate show interfaces`.
pub fn write_interfaces(out: &mut dyn Write, interfaces: &[api::Interface]) -> io::Result<()> {
    let mut table = Table::new(&[
        ("interface", Align::Left),
        ("realm", Align::Left),
        ("zone", Align::Right),
        ("device", Align::Left),
        ("driver", Align::Left),
        ("vlan", Align::Right),
        ("mac", Align::Left),
        ("mtu", Align::Right),
        ("rx packets", Align::Right),
        ("rx bytes", Align::Right),
        ("tx packets", Align::Right),
        ("tx bytes", Align::Right),
        ("addresses", Align::Left),
    ]);
    for interface in interfaces {
        table.row([
            interface.name.clone(),
            interface.realm.clone(),
            interface.zone.to_string(),
            interface.device.clone(),
            interface.driver.clone(),
            if interface.vlan == 0 { "-".into() } else { interface.vlan.to_string() },
            interface.mac.clone(),
            interface.mtu.to_string(),
            grouped(interface.rx_packets),
            grouped(interface.rx_bytes),
            grouped(interface.tx_packets),
            grouped(interface.tx_bytes),
            interface.addresses.join(" "),
        ]);
    }
    table.write(out)
}

/// Writes the text of `natgate show neighbors`.
pub fn write_neighbors(out: &mut dyn Write, neighbors: &[api::Neighbor]) -> io::Result<()> {
    if neighbors.is_empty() {
        return writeln!(out, "No neighbours are known yet.");
    }
    let mut table = Table::new(&[
        ("interface", Align::Left),
        ("address", Align::Left),
        ("mac", Align::Left),
        ("state", Align::Left),
        ("since", Align::Right),
    ]);
    for neighbor in neighbors {
        table.row([
            neighbor.interface.clone(),
            neighbor.address.to_string(),
            neighbor.mac.clone().unwrap_or_else(|| "-".into()),
            neighbor.state.clone(),
            duration(neighbor.age_seconds),
        ]);
    }
    table.write(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> String {
        let mut out = Vec::new();
        write(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn drops() -> api::Drops {
        let drop = |reason: &str, packets| api::Drop {
            reason: reason.into(),
            packets,
            workers: vec![packets],
            help: "Help.".into(),
        };
        api::Drops { total: 1_234, reasons: vec![drop("no_route", 0), drop("ttl_expired", 1_234)] }
    }

    #[test]
    fn a_reason_without_drops_is_shown_only_with_all() {
        let short = text(|out| write_drops(out, &drops(), false));
        assert_eq!(
            short,
            "packets  reason       what it means\n  1,234  ttl_expired  Help.\n  1,234  total\n"
        );
        assert!(text(|out| write_drops(out, &drops(), true)).contains("      0  no_route     Help.\n"));
        let none = api::Drops { total: 0, reasons: vec![] };
        assert!(text(|out| write_drops(out, &none, false)).starts_with("Nothing was dropped."));
    }

    #[test]
    fn the_status_says_whether_the_packets_add_up() {
        assert_eq!(balance(0), "they add up: received = sent + consumed + dropped + held");
        assert!(balance(1_000).starts_with("1,000 packets were in work"));
        assert!(balance(-2).starts_with("2 packets moved"));
    }

    #[test]
    fn the_arguments_are_consistent_and_take_the_socket_anywhere() {
        use clap::{Args, FromArgMatches};
        let command = ShowArgs::augment_args(clap::Command::new("show"));
        command.clone().debug_assert();
        for line in ["show -s /x status", "show status -s /x", "show drops --all --socket=/x --json"] {
            let matches = command.clone().try_get_matches_from(line.split(' ')).unwrap();
            let args = ShowArgs::from_arg_matches(&matches).unwrap();
            assert_eq!(args.socket, PathBuf::from("/x"), "{line}");
        }
    }
}
