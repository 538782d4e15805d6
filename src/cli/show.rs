//! `natgate show`: what the running gateway does, from its control socket.

use super::follow::{self, follow};
use super::live::{Before, Show, Watch};
use super::report::colours;
use super::show_backends::write_backends;
use super::show_drops::{self, DropsArgs};
use super::show_events::{write_event, write_events};
use super::show_pools::{write_blocks, write_pools};
use super::show_routes::write_routes;
use super::show_rules::write_rules;
use super::show_status::write_status;
use super::show_steering::write_steering;
use super::show_timers::write_timers;
use super::table::{Align, Table, a_second, duration, grouped, per_second, size};
use crate::control::client::Client;
use crate::control::{DEFAULT_SOCKET, api};
use std::io::{self, IsTerminal, Write};
use std::net::Ipv4Addr;
use std::path::PathBuf;

/// The end of each help text.
macro_rules! help {
    ($($line:literal)*) => {
        concat!(
            "Examples:\n",
            $($line, "\n",)*
            "\nExit codes: 0 shown, 1 no answer from a gateway, 2 wrong usage."
        )
    };
}

/// Shows what the running gateway does.
#[derive(Debug, clap::Args)]
#[command(after_help = help!(
    "  natgate show status             uptime, packets, how full the table is"
    "  natgate show drops --watch      what is dropped and why, every 2 seconds"
    "  natgate show drops --samples    the last packets that were dropped"
    "  natgate show timers             every timeout, beside Linux's and the RFCs'"
    "  natgate show steering           which worker gets which packets, and how"
    "  natgate show events             what happened: a table that filled, a flood"
    "  natgate show rules              every notrack class and rule, and what it did"
    "  natgate show backends           who does not answer its health checks"
    "  natgate show pools              external ports in use"
    "  natgate show blocks             which subscriber has which block of ports"
    "  natgate show interfaces --json  for scripts"
    "  natgate show status -s n.sock   if runtime.control = \"n.sock\" in its config"
))]
pub struct ShowArgs {
    /// What to show.
    #[command(subcommand)]
    pub what: What,
    /// Write JSON instead of text
    #[arg(long, global = true)]
    pub json: bool,
    /// Whether it is shown again and again.
    #[command(flatten)]
    pub watch: Watch,
    /// The gateway's control socket (`runtime.control` in its config)
    #[arg(short, long, global = true, value_name = "PATH", default_value = DEFAULT_SOCKET)]
    pub socket: PathBuf,
}

/// What to show.
#[derive(Debug, clap::Subcommand)]
pub enum What {
    /// Uptime, how full the session table is, packets and whether they add up, workers
    #[command(after_help = help!(
        "  natgate show status"
        "  natgate show status --watch=1         with packets a second"
        "  natgate show status --json | jq .sessions.used"
    ))]
    Status,
    /// Dropped packets by reason, with what each reason means; the last of them to look at
    #[command(after_help = help!(
        "  natgate show drops"
        "  natgate show drops --all              also reasons without packets"
        "  natgate show drops --watch            with packets a second"
        "  natgate show drops ttl_expired        what that means, and the last packets"
        "  natgate show drops --samples --reason no_rule --limit 5"
        "  natgate show drops --samples --json | jq -r .samples[].summary"
        "  natgate show drops --pcap d.pcapng    for Wireshark, the reasons as comments"
        "  natgate show drops --pcap - | tcpdump -nvr -"
        "\nEach worker keeps the last eight packets of each reason."
    ))]
    Drops(DropsArgs),
    /// Interfaces: device, addresses, packets and bytes
    #[command(after_help = help!(
        "  natgate show interfaces"
        "  natgate show interfaces --watch       with packets and bytes a second"
        "  natgate show interfaces --json | jq -r .[].mac"
    ))]
    Interfaces,
    /// Neighbours (ARP): Ethernet address and state of each next hop
    #[command(after_help = help!("  natgate show neighbors"))]
    Neighbors,
    /// Idle timeouts: their length, natgate's default, Linux's, what RFCs demand; and how the timers are doing
    #[command(after_help = help!(
        "  natgate show timers"
        "  natgate show timers --all"
    ))]
    Timers {
        /// Also show in each further set the timeouts that are those of the first
        #[arg(long)]
        all: bool,
    },
    /// How packets reach the worker that owns them: the plan of each interface, each worker's share, handoffs
    #[command(after_help = help!(
        "  natgate show steering"
        "  natgate show steering --json | jq .handoff_ratio"
    ))]
    Steering,
    /// Rules in the words of the config (notrack, snat, dnat, bans, sets), and what each has done
    #[command(after_help = help!(
        "  natgate show rules"
        "  natgate show rules --limit 20         the first 20"
    ))]
    Rules(Limit),
    /// External ports in use, by pool and of the fullest address of each
    #[command(after_help = help!(
        "  natgate show pools"
        "  natgate show pools --addresses 10     of each pool the ten fullest addresses"
    ))]
    Pools {
        /// Show so many addresses of each pool, the fullest first
        #[arg(long, value_name = "N", default_value_t = 1)]
        addresses: u64,
    },
    /// Blocks of ports: which subscriber has which, and since when
    #[command(after_help = help!(
        "  natgate show blocks --limit 20"
        "  natgate show blocks --subscriber 100.64.3.9"
        "  natgate show blocks --address 198.51.100.7 --port 12345"
    ))]
    Blocks {
        /// Only those of this subscriber
        #[arg(long, value_name = "ADDRESS")]
        subscriber: Option<Ipv4Addr>,
        /// Only those of this external address
        #[arg(long, value_name = "ADDRESS")]
        address: Option<Ipv4Addr>,
        /// Only those with this port
        #[arg(long, value_name = "PORT")]
        port: Option<u16>,
        /// How many.
        #[command(flatten)]
        limit: Limit,
    },
    /// Backends that are asked whether they are there: who is up, since when, and why not
    #[command(after_help = help!(
        "  natgate show backends"
        "  natgate show backends --watch=1"
        "  natgate show backends --json | jq -r '.[] | select(.up | not) | .address'"
    ))]
    Backends,
    /// Routes by zone: connected and static ones, and whether their routers are known
    #[command(after_help = help!("  natgate show routes"))]
    Routes(Limit),
    /// The last 256 events: watermarks of the table, refusals, deletions, skew
    #[command(after_help = help!(
        "  natgate show events"
        "  natgate show events --after 17        what is newer than number 17"
        "  natgate show events --follow          and what happens until Ctrl-C"
    ))]
    Events {
        /// Only those after the event with this number
        #[arg(long, value_name = "NUMBER", default_value_t = 0)]
        after: u64,
        /// Go on with what happens, until Ctrl-C; with --json an object a line
        #[arg(short, long, conflicts_with = "watch")]
        follow: bool,
    },
}

/// How much of a long list to show.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Limit {
    /// At most so many; all if left out
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
    let show = Show { json: args.json, every: args.watch.every };
    match &args.what {
        What::Status => show.run(
            || client.get_json("/v1/status"),
            |out, status, before| write_status(out, status, before, colour),
        ),
        What::Drops(drops) => show_drops::run(&client, drops, show),
        What::Interfaces => show.run(
            || client.get_json("/v1/interfaces"),
            |out, list: &Vec<api::Interface>, before| {
                let before = before.map(|Before { answer, ago }| Before { answer: &answer[..], ago });
                write_interfaces(out, list, before)
            },
        ),
        What::Neighbors => show.run(
            || client.get_json("/v1/neighbors"),
            |out, list: &Vec<api::Neighbor>, _| write_neighbors(out, list),
        ),
        What::Timers { all } => {
            show.run(|| client.get_json("/v1/timers"), |out, timers, _| write_timers(out, timers, *all))
        }
        What::Steering => {
            show.run(|| client.get_json("/v1/steering"), |out, steering, _| write_steering(out, steering))
        }
        What::Rules(limit) => {
            show.run(|| client.get_json(&limit.path("/v1/rules")), |out, list, _| write_rules(out, list))
        }
        What::Pools { addresses } => show.run(
            || client.get_json(&format!("/v1/pools?limit={addresses}")),
            |out, list, _| write_pools(out, list),
        ),
        What::Blocks { subscriber, address, port, limit } => {
            let path = blocks_path(*subscriber, *address, *port, limit.limit);
            show.run(|| client.get_json(&path), |out, list, _| write_blocks(out, list))
        }
        What::Backends => show.run(
            || client.get_json("/v1/backends"),
            |out, list: &Vec<api::Backend>, _| write_backends(out, list),
        ),
        What::Routes(limit) => {
            show.run(|| client.get_json(&limit.path("/v1/routes")), |out, list, _| write_routes(out, list))
        }
        What::Events { after, follow: true } => {
            let path = match after {
                0 => "/v1/events/stream".to_owned(),
                after => format!("/v1/events/stream?after={after}"),
            };
            follow(follow::open(&client, &path)?, |out, message| {
                if args.json {
                    writeln!(out, "{}", message.data)?;
                } else {
                    write_event(out, &serde_json::from_str(&message.data)?, colour)?;
                }
                Ok(())
            })
        }
        What::Events { after, follow: false } => show.run(
            || client.get_json(&format!("/v1/events?after={after}")),
            |out, events, _| write_events(out, events, colour),
        ),
    }
}

/// Where blocks of ports are asked for.
pub(super) fn blocks_path(
    subscriber: Option<Ipv4Addr>,
    address: Option<Ipv4Addr>,
    port: Option<u16>,
    limit: Option<u64>,
) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    let given = [
        ("subscriber", subscriber.map(|address| address.to_string())),
        ("address", address.map(|address| address.to_string())),
        ("port", port.map(|port| port.to_string())),
        ("limit", limit.map(|limit| limit.to_string())),
    ];
    for (name, value) in given {
        if let Some(value) = value {
            query.append_pair(name, &value);
        }
    }
    format!("/v1/blocks?{}", query.finish())
}

/// Writes the text of `natgate show drops`, with rates if there was an answer before.
pub fn write_drops(
    out: &mut dyn Write,
    drops: &api::Drops,
    before: Option<Before<'_, api::Drops>>,
    all: bool,
) -> io::Result<()> {
    if drops.total == 0 && !all {
        return writeln!(out, "Nothing was dropped. (`--all` lists every reason that there is.)");
    }
    let rate = before.map(|_| ("a second", Align::Right));
    let columns = [Some(("packets", Align::Right)), rate, Some(("reason", Align::Left))];
    let columns = columns.into_iter().flatten().chain([("what it means", Align::Left)]);
    let mut table = Table::new(&columns.collect::<Vec<_>>());
    let mut row = |packets, earlier: Option<u64>, reason: &str, help: &str| {
        let rate = before.map(|Before { ago, .. }| per_second(packets, earlier.unwrap_or(0), ago));
        let numbers = [Some(grouped(packets)), rate].into_iter().flatten();
        table.row(numbers.chain([reason.to_owned(), help.to_owned()]));
    };
    for drop in drops.reasons.iter().filter(|drop| all || drop.packets > 0) {
        let reasons = before.map(|Before { answer, .. }| answer.reasons.iter());
        let earlier = reasons.and_then(|mut reasons| reasons.find(|other| other.reason == drop.reason));
        row(drop.packets, earlier.map(|earlier| earlier.packets), &drop.reason, &drop.help);
    }
    row(drops.total, before.map(|Before { answer, .. }| answer.total), "total", "");
    table.write(out)
}

/// Writes the text of `natgate show interfaces`: what they are, how they are driven, what they carried; and how much a
/// second if there was an answer before.
pub fn write_interfaces(
    out: &mut dyn Write,
    interfaces: &[api::Interface],
    before: Option<Before<'_, [api::Interface]>>,
) -> io::Result<()> {
    let mut table = Table::new(&[
        ("interface", Align::Left),
        ("realm", Align::Left),
        ("zone", Align::Right),
        ("vlan", Align::Right),
        ("mtu", Align::Right),
        ("addresses", Align::Left),
    ]);
    for interface in interfaces {
        table.row([
            interface.name.clone(),
            interface.realm.clone(),
            interface.zone.to_string(),
            if interface.vlan == 0 { "-".into() } else { interface.vlan.to_string() },
            interface.mtu.to_string(),
            interface.addresses.join(" "),
        ]);
    }
    table.write(out)?;
    writeln!(out)?;
    let columns = ["interface", "mac", "driver", "device"];
    let mut table = Table::new(&columns.map(|name| (name, Align::Left)));
    for interface in interfaces {
        let api::Interface { name, mac, driver, device, .. } = interface;
        table.row([name, mac, driver, device].map(Clone::clone));
    }
    table.write(out)?;
    writeln!(out)?;
    write_traffic(out, interfaces)?;
    let Some(Before { answer, ago }) = before else { return Ok(()) };
    writeln!(out, "\na second")?;
    let mut table = traffic_table();
    for now in interfaces {
        let Some(was) = answer.iter().find(|other| other.name == now.name) else { continue };
        let bytes =
            |now: u64, was| now.checked_sub(was).map_or("-".into(), |moved| size(a_second(moved, ago)));
        table.row([
            now.name.clone(),
            per_second(now.rx_packets, was.rx_packets, ago),
            bytes(now.rx_bytes, was.rx_bytes),
            per_second(now.tx_packets, was.tx_packets, ago),
            bytes(now.tx_bytes, was.tx_bytes),
        ]);
    }
    table.write(out)
}

fn traffic_table() -> Table {
    let columns = ["rx packets", "rx bytes", "tx packets", "tx bytes"].map(|name| (name, Align::Right));
    Table::new(&[&[("interface", Align::Left)][..], &columns].concat())
}

fn write_traffic(out: &mut dyn Write, interfaces: &[api::Interface]) -> io::Result<()> {
    let mut table = traffic_table();
    for interface in interfaces {
        table.row([
            interface.name.clone(),
            grouped(interface.rx_packets),
            size(interface.rx_bytes),
            grouped(interface.tx_packets),
            size(interface.tx_bytes),
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
    use std::time::Duration;

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
        let short = text(|out| write_drops(out, &drops(), None, false));
        assert_eq!(
            short,
            "packets  reason       what it means\n  1,234  ttl_expired  Help.\n  1,234  total\n"
        );
        assert!(text(|out| write_drops(out, &drops(), None, true)).contains("      0  no_route     Help.\n"));
        let none = api::Drops { total: 0, reasons: vec![] };
        assert!(text(|out| write_drops(out, &none, None, false)).starts_with("Nothing was dropped."));
    }

    #[test]
    fn watched_drops_and_interfaces_have_rates() {
        let mut earlier = drops();
        (earlier.total, earlier.reasons[1].packets) = (234, 234);
        let before = Before { answer: &earlier, ago: Duration::from_secs(2) };
        assert_eq!(
            text(|out| write_drops(out, &drops(), Some(before), false)),
            "packets  a second  reason       what it means\n  1,234       500  ttl_expired  Help.\n  \
             1,234       500  total\n"
        );

        let now = [interface("lan", 3_000, 9 << 20)];
        let earlier = [interface("lan", 1_000, 1 << 20)];
        let before = Before { answer: &earlier[..], ago: Duration::from_secs(2) };
        let shown = text(|out| write_interfaces(out, &now, Some(before)));
        let rates: Vec<_> = shown.lines().last().unwrap().split_whitespace().collect();
        assert_eq!(rates, ["lan", "1,000", "4.0", "MiB", "1,000", "4.0", "MiB"], "{shown}");
        assert!(!text(|out| write_interfaces(out, &now, None)).contains("a second"));
    }

    fn interface(name: &str, packets: u64, bytes: u64) -> api::Interface {
        api::Interface {
            name: name.into(),
            device: "af_packet:abcdefghijklmno".into(),
            driver: "net_af_packet".into(),
            mac: "02:00:00:00:00:01".into(),
            vlan: 4_094,
            realm: "external".into(),
            zone: 65_535,
            addresses: vec!["203.0.113.200/24".into(), "203.0.113.201/24".into(), "203.0.113.202/24".into()],
            mtu: 9_000,
            rx_packets: packets,
            rx_bytes: bytes,
            tx_packets: packets,
            tx_bytes: bytes,
        }
    }

    #[test]
    fn drops_interfaces_and_neighbours_fit_in_80_columns() {
        use crate::telemetry::DropReason;
        let packets = 4_294_967_295;
        let reasons = DropReason::ALL.iter().map(|reason| api::Drop {
            reason: reason.name().into(),
            packets,
            workers: vec![packets],
            help: reason.help().into(),
        });
        let drops = api::Drops { total: packets, reasons: reasons.collect() };
        let none = api::Drops { total: 0, reasons: Vec::new() };
        let ago = Duration::from_secs(60);
        let list = [interface("a-name-of-15-ch", packets, u64::MAX), interface("b", 1, 1)];
        let idle = [interface("a-name-of-15-ch", 0, 0), interface("b", 0, 0)];
        let neighbors = [api::Neighbor {
            interface: "a-name-of-15-ch".into(),
            address: [203, 113, 100, 200].into(),
            mac: Some("02:00:00:00:00:01".into()),
            state: "unreachable".into(),
            age_seconds: 99 * 86_400 + 23 * 3_600,
        }];
        for shown in [
            text(|out| write_drops(out, &drops, None, true)),
            text(|out| write_drops(out, &drops, Some(Before { answer: &none, ago }), true)),
            text(|out| write_interfaces(out, &list, None)),
            text(|out| write_interfaces(out, &list, Some(Before { answer: &idle[..], ago }))),
            text(|out| write_neighbors(out, &neighbors)),
        ] {
            let long: Vec<_> = shown.lines().filter(|line| line.chars().count() > 80).collect();
            assert!(long.is_empty(), "{long:#?}");
        }
    }

    #[test]
    fn the_arguments_are_consistent_and_take_the_socket_anywhere() {
        use clap::{Args, FromArgMatches};
        let command = ShowArgs::augment_args(clap::Command::new("show"));
        command.clone().debug_assert();
        for line in ["show -s /x status", "show status -s /x", "show drops --all --socket=/x --json --watch"]
        {
            let matches = command.clone().try_get_matches_from(line.split(' ')).unwrap();
            let args = ShowArgs::from_arg_matches(&matches).unwrap();
            assert_eq!(args.socket, PathBuf::from("/x"), "{line}");
        }
    }
}
