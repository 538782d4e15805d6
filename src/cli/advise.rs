//! `natgate advise`: which services would do better without sessions, and the notrack class for each.

use super::Failure;
use super::table::{grouped, hanging, json, percent, to_stdout};
use crate::control::client::{Client, ClientError};
use crate::control::{DEFAULT_SOCKET, api};
use std::io::{self, Write};
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  natgate advise                       services that would do better untracked
  natgate advise --all                 the others too, and why not
  natgate advise --min-rate 20 --min-sessions 100
                                       also smaller ones
  natgate advise --json                for scripts

It reads the session table and changes nothing. What it proposes goes into the
config file, in front of other [[notrack]] classes; then: natgate reload.
Exit codes: 0 done, also if nothing is proposed; 1 no answer from a gateway,
2 wrong usage.";

/// Says which services would do better without sessions, what that saves, and how to write it.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct AdviseArgs {
    /// New sessions a second that a service needs [default: 100]
    #[arg(long, value_name = "N")]
    pub min_rate: Option<u64>,
    /// Sessions in the table that it needs [default: 1000]
    #[arg(long, value_name = "N")]
    pub min_sessions: Option<u64>,
    /// Also services that are not proposed, and why not
    #[arg(long)]
    pub all: bool,
    /// At most so many services [default: 20]
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
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
/// No gateway answers, or a parameter is wrong.
pub(super) fn run(args: &AdviseArgs) -> Result<(), Failure> {
    let mut query = form_urlencoded::Serializer::new(String::new());
    let numbers = [("min-rate", args.min_rate), ("min-sessions", args.min_sessions), ("limit", args.limit)];
    for (name, number) in numbers {
        if let Some(number) = number {
            query.append_pair(name, &number.to_string());
        }
    }
    if args.all {
        query.append_pair("all", "true");
    }
    let client = Client::new(&args.socket);
    let advice =
        client.get_json_slowly(&format!("/v1/advise?{}", query.finish())).map_err(|error| match error {
            // What the gateway does not take is wrong usage.
            ClientError::Refused { status: 400, message, .. } => Failure::Usage(message),
            error => Failure::Other(error.into()),
        })?;
    Ok(to_stdout(|out| match args.json {
        true => json(out, &advice),
        false => Ok(write_advice(out, &advice)?),
    })?)
}

/// Writes the proposals, a paragraph each, and then what is not proposed.
pub fn write_advice(out: &mut dyn Write, advice: &api::Advice) -> io::Result<()> {
    hanging(out, "", &summary(advice))?;
    for (number, service) in (1..).zip(&advice.advice) {
        writeln!(out)?;
        write_service(out, &format!("{number:>2}  "), service)?;
    }
    let shown = advice.advice.iter().filter(|service| service.class.is_some()).count() as u64;
    match advice.proposed.saturating_sub(shown) {
        0 => Ok(()),
        more => writeln!(out, "\n{} more to propose (--limit)", grouped(more)),
    }
}

fn summary(advice: &api::Advice) -> String {
    let services = if advice.services == 1 { "service" } else { "services" };
    let seen = format!("{} sessions of {} {services}", grouped(advice.sessions), grouped(advice.services));
    let left_out = match advice.left_out {
        0 => String::new(),
        sessions => format!(", and {} of more services that were not looked at", grouped(sessions)),
    };
    match &advice.nothing {
        Some(why) => format!("Nothing to propose ({seen}{left_out}): {why}."),
        None => {
            let classes = advice.advice.iter().filter_map(|service| service.class.as_ref());
            let saved = classes.map(|class| class.saves_sessions).sum();
            format!(
                "{} of the table ({seen}{left_out}) would be free with the classes below. Put them in front of other \
                 [[notrack]] classes; the rules may stay.",
                percent(saved, advice.sessions)
            )
        }
    }
}

fn write_service(out: &mut dyn Write, head: &str, service: &api::AdvisedService) -> io::Result<()> {
    hanging(out, head, &name(service))?;
    let mut line = |label: &str, text: &str| hanging(out, &format!("    {label:<9} "), text);
    line("sessions", &sessions(service))?;
    line("packets", &packets(service))?;
    line(if service.class.is_some() { "why" } else { "why not" }, &service.why)?;
    if let Some(rule) = &service.rule {
        line("rule", &format!("{} {}: {}", rule.kind, rule.number, rule.text))?;
    }
    let Some(class) = &service.class else { return Ok(()) };
    line("saves", &saves(class))?;
    for loss in &class.loses {
        line("loses", loss)?;
    }
    writeln!(out)?;
    // As it is to be pasted.
    out.write_all(class.toml.as_bytes())
}

/// Protocol, and who speaks to whom.
fn name(service: &api::AdvisedService) -> String {
    let address = service.address.map_or_else(|| "anywhere".to_owned(), |address| address.to_string());
    let port = service.port.map(|port| format!(":{port}")).unwrap_or_default();
    let backend = service.backend.as_ref().map(|backend| format!(", which is {backend}")).unwrap_or_default();
    let zone = if service.zone == 0 { String::new() } else { format!(" (zone {})", service.zone) };
    format!("{} from the {} side{zone} to {address}{port}{backend}", service.protocol, service.clients)
}

fn sessions(service: &api::AdvisedService) -> String {
    let at_least = if service.at_least { "at least " } else { "" };
    let more = if service.sources_at_least { "more than " } else { "" };
    format!(
        "{} ({} over, {} unanswered, {} assured), {at_least}{:.1} new a second, from {more}{} {}",
        grouped(service.sessions),
        grouped(service.closing),
        grouped(service.unreplied),
        grouped(service.assured),
        service.new_per_second,
        grouped(service.sources),
        if service.sources == 1 { "client" } else { "clients" },
    )
}

fn packets(service: &api::AdvisedService) -> String {
    format!(
        "{:.1} a session, half have at most {}; some {:.0} a second; first to last {:.1} s",
        service.packets_per_session,
        grouped(service.median_packets),
        service.packets_per_second,
        service.life_seconds,
    )
}

fn saves(class: &api::AdvisedClass) -> String {
    let core =
        class.saves_core_percent.map(|percent| format!(", {percent:.1} % of a core")).unwrap_or_default();
    format!(
        "{} entries, and about {} cycles a second{core}",
        grouped(class.saves_sessions),
        grouped(class.saves_cycles_per_second)
    )
}
