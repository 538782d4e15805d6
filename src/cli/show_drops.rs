//! `natgate show drops`: how many packets were dropped and why, and what the last of them looked like.

use super::live::Show;
use super::show::write_drops;
use super::table::{columns, grouped, to_stdout, wrapped};
use crate::control::api;
use crate::control::client::{Client, ClientError};
use crate::telemetry::DropReason;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

/// What stands under the head of a sample is indented by so much.
const INDENT: usize = 4;

/// Which drops to show.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct DropsArgs {
    /// Explain this reason: what it means, how often by worker, its last packets
    #[arg(value_name = "REASON", value_parser = reasons(), hide_possible_values = true)]
    pub explain: Option<String>,
    /// Also show reasons for which nothing was dropped
    #[arg(long)]
    pub all: bool,
    /// Show the last packets that were dropped, the newest first
    #[arg(long)]
    pub samples: bool,
    /// Only packets that were dropped for this reason
    #[arg(long, value_name = "REASON", value_parser = reasons(), hide_possible_values = true)]
    #[arg(conflicts_with = "explain")]
    pub reason: Option<String>,
    /// At most so many packets
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
    /// Write the packets into a pcapng file; - is standard output
    #[arg(long, value_name = "FILE")]
    pub pcap: Option<PathBuf>,
}

fn reasons() -> impl TypedValueParser<Value = String> {
    PossibleValuesParser::new(DropReason::ALL.iter().map(|reason| reason.name()))
}

/// One reason with its packets.
#[derive(serde::Serialize)]
struct Explained {
    #[serde(flatten)]
    drop: api::Drop,
    samples: Vec<api::DropSample>,
}

/// Runs the command.
///
/// # Errors
/// No gateway answers, or the output can not be written.
pub fn run(client: &Client, args: &DropsArgs, show: Show) -> anyhow::Result<()> {
    if let Some(file) = &args.pcap {
        return write_pcap(client, args, file);
    }
    if args.explain.is_some() {
        return show.run(
            || explain(client, args),
            |out, Explained { drop, samples }, _| write_explained(out, drop, samples),
        );
    }
    if args.samples || args.reason.is_some() || args.limit.is_some() {
        return show.run(
            || client.get_json(&path(args, "json")),
            |out, samples: &api::DropSamples, _| write_samples(out, &samples.samples),
        );
    }
    show.run(|| client.get_json("/v1/drops"), |out, drops, before| write_drops(out, drops, before, args.all))
}

fn explain(client: &Client, args: &DropsArgs) -> Result<Explained, ClientError> {
    let drops: api::Drops = client.get_json("/v1/drops")?;
    let drop = drops.reasons.into_iter().find(|drop| Some(&drop.reason) == args.explain.as_ref());
    let unknown = || ClientError::Answer("it does not know this reason".to_owned());
    let samples: api::DropSamples = client.get_json(&path(args, "json"))?;
    Ok(Explained { drop: drop.ok_or_else(unknown)?, samples: samples.samples })
}

fn path(args: &DropsArgs, format: &str) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("format", format);
    if let Some(reason) = args.explain.as_ref().or(args.reason.as_ref()) {
        query.append_pair("reason", reason);
    }
    if let Some(limit) = args.limit {
        query.append_pair("limit", &limit.to_string());
    }
    format!("/v1/drops/samples?{}", query.finish())
}

fn write_pcap(client: &Client, args: &DropsArgs, file: &Path) -> anyhow::Result<()> {
    use anyhow::Context;
    let standard_output = file == Path::new("-");
    if standard_output && io::stdout().is_terminal() {
        anyhow::bail!("a pcapng file is not for terminals: name a file, or pipe it into tcpdump -nvr -");
    }
    let bytes = client.get_bytes(&path(args, "pcap"))?;
    if standard_output {
        return to_stdout(|out| Ok(out.write_all(&bytes)?));
    }
    std::fs::write(file, bytes).with_context(|| format!("can not write {}", file.display()))
}

/// Writes what there is to say of one reason.
pub fn write_explained(out: &mut dyn Write, drop: &api::Drop, samples: &[api::DropSample]) -> io::Result<()> {
    writeln!(out, "{}: {} packets", drop.reason, grouped(drop.packets))?;
    wrapped(out, &drop.help, INDENT, columns())?;
    if drop.workers.len() > 1 {
        let workers = drop.workers.iter().enumerate();
        let workers: Vec<_> =
            workers.map(|(n, packets)| format!("worker {n}: {}", grouped(*packets))).collect();
        wrapped(out, &workers.join(", "), INDENT, columns())?;
    }
    if !samples.is_empty() {
        writeln!(out, "\nThe last packets, the newest first:")?;
        write_samples(out, samples)?;
    }
    Ok(())
}

/// Writes each packet with its time, reason and place, and below that what it was and had met.
pub fn write_samples(out: &mut dyn Write, samples: &[api::DropSample]) -> io::Result<()> {
    if samples.is_empty() {
        return writeln!(out, "No dropped packet is kept.");
    }
    for sample in samples {
        let way = if sample.leaving { "to" } else { "from" };
        let (reason, interface) = (&sample.reason, &sample.interface);
        writeln!(out, "{}  {reason}  {way} {interface}", milliseconds(&sample.at))?;
        wrapped(out, &sample.summary, INDENT, columns())?;
        let met = match (&sample.rule, &sample.state) {
            (Some(rule), _) => format!("; {rule}"),
            (None, Some(state)) => format!("; session {state}"),
            (None, None) => String::new(),
        };
        let text =
            format!("{} bytes, worker {}, number {}{met}", sample.length, sample.worker, sample.number);
        wrapped(out, &text, INDENT, columns())?;
    }
    Ok(())
}

/// `2030-01-02T03:04:05.678901234Z` without what is smaller than a millisecond.
fn milliseconds(at: &str) -> String {
    match (at.get(..23), at.len()) {
        (Some(short), 30) => format!("{short}Z"),
        _ => at.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> api::DropSample {
        api::DropSample {
            at: "2030-01-02T03:04:05.678901234Z".into(),
            reason: "ports_exhausted".into(),
            interface: "lan".into(),
            leaving: false,
            length: 74,
            summary: "tcp 10.0.0.5:4000 > 198.51.100.7:80 S ttl=64 id=77 df".into(),
            packet: api::DroppedPacket::default(),
            rule: Some("snat 1: to pool office".into()),
            state: None,
            worker: 1,
            number: 12,
            bytes: String::new(),
        }
    }

    fn text(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> String {
        let mut out = Vec::new();
        write(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_sample_is_a_head_and_what_the_packet_was_and_met() {
        let shown = text(|out| write_samples(out, &[sample()]));
        let expected = "\
2030-01-02T03:04:05.678Z  ports_exhausted  from lan
    tcp 10.0.0.5:4000 > 198.51.100.7:80 S ttl=64 id=77 df
    74 bytes, worker 1, number 12; snat 1: to pool office
";
        assert_eq!(shown, expected);
        let leaving =
            api::DropSample { leaving: true, rule: None, state: Some("SYN_SENT".into()), ..sample() };
        let shown = text(|out| write_samples(out, &[leaving]));
        assert!(shown.contains("  to lan\n") && shown.ends_with("number 12; session SYN_SENT\n"), "{shown}");
        assert_eq!(text(|out| write_samples(out, &[])), "No dropped packet is kept.\n");
    }

    #[test]
    fn a_reason_is_explained_in_80_columns() {
        for reason in DropReason::ALL {
            let drop = api::Drop {
                reason: reason.name().into(),
                packets: 1_234_567,
                workers: vec![1_234_567; 16],
                help: reason.help().into(),
            };
            let shown = text(|out| write_explained(out, &drop, &[sample()]));
            assert!(shown.lines().all(|line| line.chars().count() <= columns()), "{shown}");
            assert!(shown.contains("worker 15: 1,234,567"), "{shown}");
        }
    }

    #[test]
    fn the_arguments_are_consistent() {
        use clap::{Args, FromArgMatches};
        let command = DropsArgs::augment_args(clap::Command::new("drops"));
        command.clone().debug_assert();
        let parse = |line: &str| {
            let matches = command.clone().try_get_matches_from(line.split(' '))?;
            DropsArgs::from_arg_matches(&matches)
        };
        let args = parse("drops --samples --reason no_rule --limit 3").unwrap();
        assert_eq!(path(&args, "json"), "/v1/drops/samples?format=json&reason=no_rule&limit=3");
        assert_eq!(
            path(&parse("drops ttl_expired").unwrap(), "pcap"),
            "/v1/drops/samples?format=pcap&reason=ttl_expired"
        );
        assert!(parse("drops no_such").is_err());
        assert!(parse("drops no_rule --reason no_route").is_err());
    }
}
