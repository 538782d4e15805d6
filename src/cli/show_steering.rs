//! The text of `natgate show steering`.

use super::table::{Align, Table, columns, grouped, labelled, percent, wrapped};
use crate::control::api;
use crate::telemetry::HandoffCause;
use std::io::{self, Write};

/// Writes the plan of each interface and what it achieves, and what each worker has to do.
pub fn write_steering(out: &mut dyn Write, steering: &api::Steering) -> io::Result<()> {
    if let [_] = &steering.workers[..] {
        return writeln!(out, "One worker owns every packet: there is nothing to steer.");
    }
    let spread = match steering.spread.as_str() {
        "source" => "a host inside has one worker",
        _ => "the flows of a host are spread over all workers",
    };
    labelled(out, "spread", &format!("{} workers; {spread}", steering.workers.len()))?;
    let handoff = match steering.packets {
        0 => "no TCP or UDP packet came yet".to_owned(),
        packets => format!(
            "{} of {} TCP and UDP packets went to another worker: {}",
            grouped(steering.handed_off),
            grouped(packets),
            percent(steering.handed_off, packets),
        ),
    };
    labelled(out, "handoff", &handoff)?;
    if steering.handoff_full > 0 {
        let dropped = grouped(steering.handoff_full);
        labelled(
            out,
            "",
            &format!("{dropped} were dropped because the ring to it was full (`handoff_full`)"),
        )?;
    }
    writeln!(out)?;
    write_interfaces(out, &steering.interfaces)?;
    write_workers(out, &steering.workers)?;
    writeln!(out)?;
    write_handoffs(out, steering)?;
    for worker in steering.workers.iter().filter(|worker| worker.skewed) {
        let number = worker.worker;
        writeln!(out, "\nworker {number} carries far more than its share: see `natgate show events`")?;
    }
    Ok(())
}

fn write_interfaces(out: &mut dyn Write, interfaces: &[api::InterfaceSteering]) -> io::Result<()> {
    if interfaces.is_empty() {
        return Ok(());
    }
    let mut table = Table::new(&[
        ("interface", Align::Left),
        ("plan", Align::Left),
        ("packets", Align::Right),
        ("handed off", Align::Right),
        ("ratio", Align::Right),
    ]);
    for interface in interfaces {
        table.row([
            interface.name.clone(),
            plan(interface),
            grouped(interface.packets),
            grouped(interface.handed_off),
            percent(interface.handed_off, interface.packets),
        ]);
    }
    table.write(out)?;
    writeln!(out)?;
    for interface in interfaces {
        writeln!(out, "{} ({})", interface.name, interface.device)?;
        let because = if interface.why_not.is_empty() { "" } else { ", because " };
        let text = format!("{}{because}{}", interface.how, interface.why_not);
        wrapped(out, &text, 2, columns())?;
    }
    writeln!(out)
}

/// The plan, and whether it does what it says.
fn plan(interface: &api::InterfaceSteering) -> String {
    let api::InterfaceSteering { plan, chosen, packets, sample, .. } = interface;
    match interface.state.as_deref() {
        None => plan.clone(),
        Some("proving") => format!("{plan} (proving: {} of {sample})", packets.min(sample)),
        Some("broken") => format!("{plan} ({chosen} is broken)"),
        Some(state) => format!("{plan} ({state})"),
    }
}

fn write_workers(out: &mut dyn Write, workers: &[api::WorkerSteering]) -> io::Result<()> {
    let columns = ["worker", "received", "share", "processed", "share", "sessions", "share"];
    let mut table = Table::new(&columns.map(|name| (name, Align::Right)));
    let sum = |pick: fn(&api::WorkerSteering) -> u64| workers.iter().map(pick).sum::<u64>();
    let (rx, processed) = (sum(|worker| worker.rx), sum(|worker| worker.processed));
    let sessions = sum(|worker| worker.sessions);
    for worker in workers {
        table.row([
            worker.worker.to_string(),
            grouped(worker.rx),
            percent(worker.rx, rx),
            grouped(worker.processed),
            percent(worker.processed, processed),
            grouped(worker.sessions),
            percent(worker.sessions, sessions),
        ]);
    }
    table.write(out)
}

/// What each worker handed over, by cause.
fn write_handoffs(out: &mut dyn Write, steering: &api::Steering) -> io::Result<()> {
    let causes = HandoffCause::ALL.iter().map(|cause| cause.name());
    let names = ["worker"].into_iter().chain(causes.clone()).chain(["taken over"]);
    let columns: Vec<_> = names.map(|name| (name, Align::Right)).collect();
    let mut table = Table::new(&columns);
    for worker in &steering.workers {
        let handed = causes.clone().map(|cause| worker.handoffs.get(cause).copied().unwrap_or(0));
        let numbers = handed.chain([worker.taken_over]).map(grouped);
        table.row([worker.worker.to_string()].into_iter().chain(numbers));
    }
    let of_all = |cause: &str| steering.handoffs.iter().find(|known| known.cause == cause);
    let all = causes.map(|cause| of_all(cause).map_or(0, |known| known.packets));
    let taken_over = steering.workers.iter().map(|worker| worker.taken_over).sum();
    table.row(["all".to_owned()].into_iter().chain(all.chain([taken_over]).map(grouped)));
    writeln!(out, "handed over to another worker, by cause")?;
    table.write(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(steering: &api::Steering) -> String {
        let mut out = Vec::new();
        write_steering(&mut out, steering).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn interface(
        name: &str,
        plan: &str,
        state: Option<&str>,
        how: &str,
        why_not: &str,
    ) -> api::InterfaceSteering {
        api::InterfaceSteering {
            name: name.into(),
            device: "0000:01:00.0".into(),
            plan: plan.into(),
            chosen: plan.into(),
            how: how.into(),
            why_not: why_not.into(),
            state: state.map(str::to_owned),
            sample: 64,
            packets: 1_234_567,
            handed_off: 0,
            misplaced: 0,
            handoff_ratio: Some(0.0),
        }
    }

    fn worker(worker: u64) -> api::WorkerSteering {
        api::WorkerSteering {
            worker,
            rx: 617_284,
            rx_share: Some(0.5),
            processed: 617_300,
            processed_share: Some(0.5),
            sessions: 10_000,
            sessions_share: Some(0.5),
            handed_off: 19,
            handoffs: [("other".to_owned(), 16), ("fragment".to_owned(), 3)].into(),
            taken_over: 16,
            skewed: false,
        }
    }

    fn two_workers() -> api::Steering {
        let handoff =
            |cause: &str, packets| api::Handoff { cause: cause.into(), packets, help: "Help.".into() };
        let hashes = "the NIC hashes whole flows, and ports are picked so that replies come to their worker";
        api::Steering {
            spread: "source".into(),
            packets: 2_469_134,
            handed_off: 0,
            handoff_ratio: Some(0.0),
            handoffs: vec![handoff("flow", 0), handoff("other", 32), handoff("fragment", 6)],
            handoff_full: 0,
            interfaces: vec![
                interface("lan", "A", Some("proving"), "the NIC's key weighs the source address alone", ""),
                interface("wan", "B", Some("holds"), hashes, ""),
            ],
            workers: vec![worker(0), worker(1)],
        }
    }

    #[test]
    fn plans_shares_and_handoffs_are_shown_in_80_columns() {
        let mut steering = two_workers();
        steering.interfaces[0].packets = 12;
        let expected = "\
spread    2 workers; a host inside has one worker
handoff   0 of 2,469,134 TCP and UDP packets went to another worker: 0.0 %

interface  plan                     packets  handed off  ratio
lan        A (proving: 12 of 64)         12           0  0.0 %
wan        B (holds)              1,234,567           0  0.0 %

lan (0000:01:00.0)
  the NIC's key weighs the source address alone
wan (0000:01:00.0)
  the NIC hashes whole flows, and ports are picked so that replies come to their
  worker

worker  received   share  processed   share  sessions   share
     0   617,284  50.0 %    617,300  50.0 %    10,000  50.0 %
     1   617,284  50.0 %    617,300  50.0 %    10,000  50.0 %

handed over to another worker, by cause
worker  flow  other  fragment  transmit  taken over
     0     0     16         3         0          16
     1     0     16         3         0          16
   all     0     32         6         0          32
";
        let shown = text(&steering);
        assert_eq!(shown, expected);
        assert!(shown.lines().all(|line| line.len() <= columns()), "{shown}");
    }

    #[test]
    fn a_plan_that_is_no_better_says_why() {
        let mut steering = two_workers();
        let why = "plan B does not hold: 31 of 64 packets came to other queues than the NIC's table says";
        let how = "workers hand packets over to their owners";
        let broken = interface("wan", "C", Some("broken"), how, why);
        steering.interfaces[1] = api::InterfaceSteering { chosen: "B".into(), ..broken };
        steering.interfaces[0] = interface("lan", "C", None, how, "it has 1 receive queue for 2 workers");
        (steering.handoff_full, steering.workers[1].skewed) = (5, true);
        let shown = text(&steering);
        for part in [
            "lan        C                1,234,567",
            "wan        C (B is broken)  1,234,567",
            "  workers hand packets over to their owners, because it has 1 receive queue for",
            "  workers hand packets over to their owners, because plan B does not hold: 31 of",
            "5 were dropped because the ring to it was full (`handoff_full`)",
            "worker 1 carries far more than its share",
        ] {
            assert!(shown.contains(part), "{part:?} is not in\n{shown}");
        }
        assert!(shown.lines().all(|line| line.len() <= columns()), "{shown}");
    }

    #[test]
    fn large_numbers_fit_in_80_columns_too() {
        const LARGE: u64 = 4_294_967_295;
        let mut steering = two_workers();
        (steering.packets, steering.handed_off, steering.handoff_full) = (LARGE, LARGE, LARGE);
        for interface in &mut steering.interfaces {
            interface.name = "a-name-of-15-ch".into();
            (interface.packets, interface.handed_off) = (LARGE, LARGE);
        }
        for worker in &mut steering.workers {
            (worker.rx, worker.processed, worker.sessions, worker.taken_over) =
                (LARGE, LARGE, 16_777_216, LARGE);
            worker.handoffs =
                HandoffCause::ALL.iter().map(|cause| (cause.name().to_owned(), LARGE)).collect();
        }
        let causes = HandoffCause::ALL.iter();
        let handoff = |cause: &HandoffCause| api::Handoff {
            cause: cause.name().into(),
            packets: LARGE,
            help: cause.help().into(),
        };
        steering.handoffs = causes.map(handoff).collect();
        let shown = text(&steering);
        let long: Vec<_> = shown.lines().filter(|line| line.chars().count() > 80).collect();
        assert!(long.is_empty(), "{long:#?}");
    }

    #[test]
    fn one_worker_is_one_line() {
        let mut steering = two_workers();
        steering.workers.truncate(1);
        assert_eq!(text(&steering), "One worker owns every packet: there is nothing to steer.\n");
    }
}
