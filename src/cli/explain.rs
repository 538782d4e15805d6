//! `natgate explain`: what would become of a packet, or who is behind an external port, and which ports a host has.

use super::explain_text::{write_behind, write_explanation};
use super::report::colours;
use super::table::{json, to_stdout};
use super::{Failure, explain_ports};
use crate::control::client::{Client, ClientError};
use crate::control::{DEFAULT_SOCKET, api};
use std::io::{self, IsTerminal};
use std::net::Ipv4Addr;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  natgate explain tcp 192.168.1.10:40000 198.51.100.7:443
  natgate explain tcp 198.51.100.7:5000 203.0.113.2:443 --interface wan
  natgate explain udp 192.168.1.10:5353 9.9.9.9:53 --size 1600 --df
  natgate explain icmp 192.168.1.10 9.9.9.9 --id 7
  natgate explain tcp 198.51.100.7:443 203.0.113.2:40000 --flags syn,ack
  natgate explain gre 192.168.1.10 198.51.100.7 --json
  natgate explain tcp --external 203.0.113.2:40000
                                      who is behind that address and port
  natgate explain --external 198.51.100.7:12345
  natgate explain --subscriber 100.64.3.9 --config natgate.toml
                                      whose ports they are, by arithmetic or as
                                      a block, and which ones a host has

Nothing is sent. Addresses and ports are those of the packet as it arrives.
Exit codes: 0 forwarded or answered, 1 no answer from a gateway, 2 wrong usage,
3 the packet would be dropped.";

/// Explains what would become of a packet now, and why.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct ExplainArgs {
    /// tcp, udp, icmp, sctp, dccp, gre or a number
    #[arg(value_name = "PROTOCOL", required_unless_present_any = ["external", "subscriber"])]
    pub protocol: Option<String>,
    /// Source: ADDRESS:PORT, or ADDRESS if the protocol has no ports
    #[arg(value_name = "FROM", required_unless_present_any = ["external", "subscriber"])]
    pub from: Option<String>,
    /// Destination, in the same way
    #[arg(value_name = "TO", required_unless_present_any = ["external", "subscriber"])]
    pub to: Option<String>,
    /// The interface that it comes in by; if left out, where the route to its source leads
    #[arg(short, long, value_name = "NAME")]
    pub interface: Option<String>,
    /// The zone that it comes from, if its source may be in several
    #[arg(long, value_name = "N")]
    pub zone: Option<String>,
    /// Flags of a TCP packet, such as ack or syn,ack [default: syn]
    #[arg(long, value_name = "FLAGS")]
    pub flags: Option<String>,
    /// Identifier of an ICMP echo [default: 1]
    #[arg(long, value_name = "N")]
    pub id: Option<String>,
    /// An ICMP echo reply, not a request
    #[arg(long)]
    pub reply: bool,
    /// Length of the IPv4 packet in bytes [default: 60]
    #[arg(long, value_name = "BYTES")]
    pub size: Option<String>,
    /// Time to live on arrival [default: 64]
    #[arg(long, value_name = "N")]
    pub ttl: Option<String>,
    /// With the don't-fragment bit
    #[arg(long)]
    pub df: bool,
    /// Who is behind this external address and port (of ICMP: identifier): of a protocol, as sessions are now; without one, who
    /// has it by arithmetic (`deterministic`) or in a block (`port_blocks`)
    #[arg(long, value_name = "ADDRESS:PORT", conflicts_with_all = ["from", "to"])]
    pub external: Option<String>,
    /// Which external ports this host has, by arithmetic or in blocks
    #[arg(long, value_name = "ADDRESS", conflicts_with_all = ["external", "protocol"])]
    pub subscriber: Option<Ipv4Addr>,
    /// Read this config file and ask no gateway: without a protocol, and of what is arithmetic
    #[arg(long, value_name = "FILE", conflicts_with = "protocol")]
    pub config: Option<PathBuf>,
    /// Write JSON instead of text
    #[arg(long)]
    pub json: bool,
    /// The gateway's control socket (`runtime.control` in its config)
    #[arg(short, long, value_name = "PATH", default_value = DEFAULT_SOCKET)]
    pub socket: PathBuf,
}

/// Runs the command.
///
/// # Errors
/// No gateway answers, the packet is not described well, or it would be dropped.
pub(super) fn run(args: &ExplainArgs) -> Result<(), Failure> {
    match (&args.external, &args.protocol) {
        (Some(external), Some(protocol)) => behind(args, protocol, external),
        (None, Some(protocol)) => packet(args, protocol),
        (_, None) => explain_ports::run(args),
    }
}

fn packet(args: &ExplainArgs, protocol: &str) -> Result<(), Failure> {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("proto", protocol);
    let ends = [("src", "sport", &args.from), ("dst", "dport", &args.to)];
    for (address_name, port_name, text) in ends {
        let (address, port) = split(text.as_deref().unwrap_or_default());
        query.append_pair(address_name, address);
        if let Some(port) = port {
            query.append_pair(port_name, port);
        }
    }
    let others = [
        ("interface", &args.interface),
        ("zone", &args.zone),
        ("flags", &args.flags),
        ("id", &args.id),
        ("size", &args.size),
        ("ttl", &args.ttl),
    ];
    for (name, value) in others {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    for (name, set) in [("reply", args.reply), ("df", args.df)] {
        if set {
            query.append_pair(name, "true");
        }
    }
    let client = Client::new(&args.socket);
    let path = format!("/v1/explain?{}", query.finish());
    let explanation: api::Explanation = client.get_json_slowly(&path).map_err(failed)?;
    let colour = colours(io::stdout().is_terminal());
    to_stdout(|out| match args.json {
        true => json(out, &explanation),
        false => Ok(write_explanation(out, &explanation, colour)?),
    })?;
    if explanation.verdict.outcome == "dropped" { Err(Failure::Dropped) } else { Ok(()) }
}

/// The sessions whose answers go to an external address and port.
fn behind(args: &ExplainArgs, protocol: &str, external: &str) -> Result<(), Failure> {
    let (address, port) = split(external);
    let is_icmp = protocol.eq_ignore_ascii_case("icmp") || protocol == "1";
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("proto", protocol).append_pair("reply-dst", address);
    if let Some(port) = port.filter(|_| !is_icmp) {
        query.append_pair("reply-dport", port);
    }
    let client = Client::new(&args.socket);
    let lines = client.get_lines(&format!("/v1/sessions?{}", query.finish())).map_err(failed)?;
    let mut sessions = Vec::new();
    for line in lines {
        let line = line.map_err(failed)?;
        let session: api::Session =
            serde_json::from_str(&line).map_err(|error| failed(ClientError::Answer(error.to_string())))?;
        let id = session.reply.icmp_id.map(|id| id.to_string());
        if !is_icmp || port.is_none() || id.as_deref() == port {
            sessions.push(session);
        }
    }
    Ok(to_stdout(|out| match args.json {
        true => json(out, &sessions),
        false => Ok(write_behind(out, external, protocol, &sessions)?),
    })?)
}

/// Address, and what stands behind a colon.
pub(super) fn split(text: &str) -> (&str, Option<&str>) {
    text.rsplit_once(':').map_or((text, None), |(address, port)| (address, Some(port)))
}

/// What the gateway does not take is wrong usage.
pub(super) fn failed(error: ClientError) -> Failure {
    match error {
        ClientError::Refused { status: 400, message, .. } => Failure::Usage(message),
        error => Failure::Other(error.into()),
    }
}
