//! Every metric, declared once: its name with unit and `_total`, kind, labels, help text, and where its samples come from.
//!
//! `docs/metrics.md` is made from this list, and a test compares them. What a metric has a label for is in its help only
//! where the label's name does not say it.

use super::scrape::{Samples, Scrape};
use crate::control::api;
use crate::management::events::EventKind;
use std::fmt;
use std::sync::atomic::Ordering::Relaxed;
use std::time::SystemTime;

/// What a metric's value does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows while the gateway runs.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Always 1; its labels are what counts.
    Info,
    /// Counts of observations by size.
    Histogram,
}

impl Kind {
    /// As the exposition format calls it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Info => "info",
            Kind::Histogram => "histogram",
        }
    }
}

type Read = fn(&Scrape, &mut Samples<'_>) -> fmt::Result;

/// A metric.
#[derive(Debug)]
pub struct Metric {
    /// As it is queried. A histogram's series have `_bucket`, `_sum` and `_count` behind it.
    pub name: &'static str,
    /// What its value does.
    pub kind: Kind,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// What it means, in a sentence or two.
    pub help: &'static str,
    pub(super) read: Read,
}

const fn counter(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
    read: Read,
) -> Metric {
    Metric { name, kind: Kind::Counter, labels, help, read }
}

const fn gauge(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
    read: Read,
) -> Metric {
    Metric { name, kind: Kind::Gauge, labels, help, read }
}

const fn info(name: &'static str, labels: &'static [&'static str], help: &'static str, read: Read) -> Metric {
    Metric { name, kind: Kind::Info, labels, help, read }
}

const WORKER: &[&str] = &["worker"];
const INTERFACE: &[&str] = &["interface"];
const BACKEND: &[&str] = &["backend", "port", "zone", "check"];
const CLASS_WAY: &[&str] = &["class", "direction"];
const PORTS: &[&str] = &["pool", "kind", "protocol"];

/// All of them, in the order in which they are written.
pub const METRICS: &[Metric] = &[
    // The gateway.
    info(
        "natgate_build_info",
        &["version", "dpdk"],
        "Version of natgate, and of DPDK if it has it.",
        |s, out| out.put(&[&s.status.version, s.status.dpdk.as_deref().unwrap_or_default()], true),
    ),
    gauge("natgate_start_time_seconds", &[], "When the gateway started, since 1970-01-01 UTC.", |s, out| {
        let since = s.state().started.wall.duration_since(SystemTime::UNIX_EPOCH);
        out.put(&[], since.unwrap_or_default().as_secs_f64())
    }),
    gauge(
        "natgate_part_alive",
        &["part"],
        "1 if the worker made a turn, or the management core published its figures, within the last five seconds.",
        |s, out| s.health.parts.iter().try_for_each(|row| out.put(&[&row.part], row.alive)),
    ),
    counter(
        "natgate_events_total",
        &["kind"],
        "What an operator has to hear of, among it reloads, refused ones and rollbacks. `natgate show events` has the texts.",
        |s, out| {
            let events = &s.state().published.events;
            EventKind::ALL.iter().try_for_each(|kind| out.put(&[kind.name()], events.count(*kind)))
        },
    ),
    // Packets. At rest received = sent + consumed + dropped + held.
    counter("natgate_packets_received_total", WORKER, "Packets that devices delivered.", |s, out| {
        s.workers(out, |row| row.counts.rx)
    }),
    counter("natgate_packets_sent_total", WORKER, "Packets forwarded.", |s, out| {
        s.workers(out, |row| row.counts.sent)
    }),
    counter(
        "natgate_packets_consumed_total",
        WORKER,
        "Packets for the gateway itself that it dealt with: ARP, echo requests.",
        |s, out| s.workers(out, |row| row.counts.consumed),
    ),
    counter(
        "natgate_packets_dropped_total",
        &["reason"],
        "Packets dropped, each for one reason. `natgate show drops` says what they mean.",
        |s, out| s.drops.reasons.iter().try_for_each(|row| out.put(&[&row.reason], row.packets)),
    ),
    gauge(
        "natgate_packets_held",
        WORKER,
        "Packets that wait for a neighbour or for the first fragment of their datagram.",
        |s, out| s.workers(out, |row| row.counts.held),
    ),
    gauge(
        "natgate_packets_unaccounted",
        &[],
        "Packets received that have no verdict and are not held: 0 at rest, a few under traffic, for those that were in \
         work during the scrape.",
        |s, out| out.put(&[], s.status.unaccounted),
    ),
    counter(
        "natgate_packets_generated_total",
        WORKER,
        "Packets that the gateway made itself and sent: ARP, echo replies, ICMP errors.",
        |s, out| s.workers(out, |row| row.counts.generated),
    ),
    counter(
        "natgate_packets_generated_lost_total",
        WORKER,
        "Packets that the gateway made itself and could not send.",
        |s, out| s.workers(out, |row| row.counts.generated_lost),
    ),
    counter(
        "natgate_icmp_errors_limited_total",
        WORKER,
        "ICMP errors that were not sent because of the rate limit.",
        |s, out| s.workers(out, |row| row.counts.icmp_limited),
    ),
    counter(
        "natgate_syn_cookies_sent_total",
        WORKER,
        "SYNs answered with a cookie by the SYN proxy.",
        |s, out| s.workers(out, |row| row.counts.syn_cookies_sent),
    ),
    counter("natgate_syn_cookies_valid_total", WORKER, "Clients that brought back a cookie.", |s, out| {
        s.workers(out, |row| row.counts.syn_cookies_valid)
    }),
    counter(
        "natgate_syn_proxy_retries_total",
        WORKER,
        "SYNs that the SYN proxy sent to a backend again.",
        |s, out| s.workers(out, |row| row.counts.syn_proxy_retries),
    ),
    counter(
        "natgate_syn_proxy_given_up_total",
        WORKER,
        "Clients that the SYN proxy reset because their backend was silent.",
        |s, out| s.workers(out, |row| row.counts.syn_proxy_given_up),
    ),
    // Interfaces. Bytes are whole Ethernet frames without FCS.
    info(
        "natgate_interface_info",
        &["interface", "device", "driver", "mac", "vlan", "realm", "zone"],
        "An interface of the configuration.",
        |s, out| {
            s.interfaces.iter().try_for_each(|row| {
                let (vlan, zone) = (row.vlan.to_string(), row.zone.to_string());
                out.put(&[&row.name, &row.device, &row.driver, &row.mac, &vlan, &row.realm, &zone], true)
            })
        },
    ),
    gauge("natgate_interface_mtu_bytes", INTERFACE, "Largest IPv4 packet that goes through.", |s, out| {
        s.interfaces(out, |row| row.mtu.into())
    }),
    counter("natgate_interface_receive_packets_total", INTERFACE, "Frames received.", |s, out| {
        s.interfaces(out, |row| row.rx_packets)
    }),
    counter(
        "natgate_interface_receive_bytes_total",
        INTERFACE,
        "Bytes received: whole Ethernet frames without FCS.",
        |s, out| s.interfaces(out, |row| row.rx_bytes),
    ),
    counter("natgate_interface_transmit_packets_total", INTERFACE, "Frames sent.", |s, out| {
        s.interfaces(out, |row| row.tx_packets)
    }),
    counter(
        "natgate_interface_transmit_bytes_total",
        INTERFACE,
        "Bytes sent: whole Ethernet frames without FCS.",
        |s, out| s.interfaces(out, |row| row.tx_bytes),
    ),
    gauge(
        "natgate_neighbors",
        &["interface", "state"],
        "Neighbours that ARP knows or asks for.",
        Scrape::neighbors,
    ),
    gauge(
        "natgate_backend_up",
        BACKEND,
        "Whether a backend answers its health checks, so that it gets new sessions.",
        |s, out| s.backends(out, |vitals| vitals.up.into()),
    ),
    counter(
        "natgate_backend_changes_total",
        BACKEND,
        "How often a backend went from up to down, or back.",
        |s, out| s.backends(out, |vitals| vitals.changes),
    ),
    counter(
        "natgate_backend_checks_total",
        BACKEND,
        "Health checks of a backend that had an end.",
        |s, out| s.backends(out, |vitals| vitals.asked),
    ),
    counter(
        "natgate_backend_checks_failed_total",
        BACKEND,
        "Of these, those without a good answer. `natgate show backends` says why.",
        |s, out| s.backends(out, |vitals| vitals.failed),
    ),
    // Steering.
    info(
        "natgate_interface_plan_info",
        &["interface", "plan", "chosen", "state"],
        "By which plan packets reach the workers that own them, which one was chosen at the start, and whether it holds.",
        |s, out| {
            s.steering.interfaces.iter().try_for_each(|row| {
                let state = row.state.as_deref().unwrap_or("nothing to prove");
                out.put(&[&row.name, &row.plan, &row.chosen, state], true)
            })
        },
    ),
    counter(
        "natgate_interface_steerable_packets_total",
        INTERFACE,
        "Whole TCP and UDP packets received, with several workers: those that a NIC can deliver to their owner.",
        |s, out| s.plans(out, |row| row.packets),
    ),
    counter(
        "natgate_interface_handed_off_packets_total",
        INTERFACE,
        "Steerable packets that were handed to another worker.",
        |s, out| s.plans(out, |row| row.handed_off),
    ),
    counter(
        "natgate_interface_misplaced_packets_total",
        INTERFACE,
        "Packets handed over that a NIC which does what plan A or B says delivers elsewhere. Under A and B any is a fault.",
        |s, out| s.plans(out, |row| row.misplaced),
    ),
    counter(
        "natgate_handoffs_total",
        &["cause"],
        "Frames handed to another worker, or dropped because its ring was full.",
        |s, out| s.steering.handoffs.iter().try_for_each(|row| out.put(&[&row.cause], row.packets)),
    ),
    counter(
        "natgate_worker_handed_off_packets_total",
        WORKER,
        "Frames handed to other workers.",
        |s, out| s.workers(out, |row| row.counts.handed_off),
    ),
    counter(
        "natgate_worker_taken_over_packets_total",
        WORKER,
        "Frames taken from other workers.",
        |s, out| s.workers(out, |row| row.counts.taken_over),
    ),
    gauge("natgate_worker_skewed", WORKER, "1 if the worker carries more than twice its share.", |s, out| {
        s.steering.workers.iter().try_for_each(|row| out.put(&[&row.worker.to_string()], row.skewed))
    }),
    // Sessions.
    gauge("natgate_sessions", WORKER, "Sessions in the table.", |s, out| {
        s.workers(out, |row| row.sessions.used)
    }),
    gauge("natgate_sessions_limit", WORKER, "Sessions that fit into the table.", |s, out| {
        s.workers(out, |row| row.sessions.capacity)
    }),
    gauge(
        "node_nf_conntrack_entries",
        &[],
        "Sessions in the table, under the name that the kernel's table has in node_exporter.",
        |s, out| out.put(&[], s.status.sessions.used),
    ),
    gauge(
        "node_nf_conntrack_entries_limit",
        &[],
        "Sessions that fit into the table, under the name that the kernel's table has in node_exporter.",
        |s, out| out.put(&[], s.status.sessions.capacity),
    ),
    gauge(
        "natgate_sessions_by_class",
        &["class"],
        "Sessions by what they are worth when the table is full: never answered, closing, proved conversations, ...",
        Scrape::by_class,
    ),
    gauge(
        "natgate_sessions_half_open",
        WORKER,
        "TCP connections in the table before the end of their handshake.",
        |s, out| s.counters(out, |worker| worker.half_open.get()),
    ),
    counter("natgate_sessions_created_total", WORKER, "Sessions made.", |s, out| {
        s.workers(out, |row| row.counts.sessions_created)
    }),
    counter(
        "natgate_sessions_removed_total",
        WORKER,
        "Sessions that ended, for whatever reason.",
        |s, out| s.workers(out, |row| row.counts.sessions_removed),
    ),
    counter(
        "natgate_sessions_evicted_total",
        &["reason"],
        "Sessions that had to make room for others, by what they were. They count as removed too.",
        Scrape::evicted,
    ),
    counter(
        "natgate_alg_events_total",
        &["event"],
        "What application level gateways did, or did not do (see alg.md).",
        Scrape::alg_events,
    ),
    gauge(
        "natgate_sessions_level",
        &["level"],
        "1 for the watermark that the table has reached.",
        |s, out| {
            let Some(pressure) = &s.status.pressure else { return Ok(()) };
            let mut levels = ["normal", "low", "high", "full"].into_iter();
            levels.try_for_each(|level| out.put(&[level], level == pressure.level))
        },
    ),
    gauge(
        "natgate_sessions_full_at",
        &[],
        "From how many sessions on the table is full for all but management sources.",
        |s, out| s.status.pressure.iter().try_for_each(|pressure| out.put(&[], pressure.full_at)),
    ),
    gauge(
        "natgate_sessions_time_to_full_seconds",
        &[],
        "How long it takes until the table is full at the pace of the last ten seconds. Absent: it does not grow.",
        |s, out| {
            let seconds = s.status.pressure.as_ref().and_then(|pressure| pressure.seconds_to_full);
            seconds.iter().try_for_each(|seconds| out.put(&[], *seconds))
        },
    ),
    gauge(
        "natgate_sessions_sustainable_per_second",
        &["protocol"],
        "New sessions a second that the table sustains: TCP connections that are closed at once, UDP of one packet.",
        |s, out| {
            s.status.pressure.iter().try_for_each(|pressure| {
                out.put(&["tcp"], pressure.sustainable_tcp_per_second)?;
                out.put(&["udp"], pressure.sustainable_udp_per_second)
            })
        },
    ),
    // Timers and messages.
    gauge("natgate_timers_armed", WORKER, "Timers of sessions that run.", |s, out| {
        s.timers(out, |row| row.armed)
    }),
    gauge(
        "natgate_timers_pending",
        WORKER,
        "Timers that ran out and were not looked at yet, counted up to 10,000.",
        |s, out| s.timers(out, |row| row.pending),
    ),
    gauge("natgate_timers_lag_seconds", WORKER, "How late the latest of them is.", |s, out| {
        s.timers.iter().try_for_each(|row| out.put(&[&row.worker.to_string()], row.lag_seconds))
    }),
    counter(
        "natgate_timers_posts_lost_total",
        WORKER,
        "Sessions that could not be announced to the timers because the ring was full. A sweep makes up for them.",
        |s, out| s.timers(out, |row| row.posts_lost),
    ),
    gauge(
        "natgate_timers_sweep_seconds",
        WORKER,
        "How long the last sweep over the whole table took. Absent before the first one is over.",
        |s, out| {
            let swept = |row: &api::WorkerTimers| Some((row.worker, row.last_sweep_seconds?));
            let mut swept = s.timers.iter().filter_map(swept);
            swept.try_for_each(|(worker, seconds)| out.put(&[&worker.to_string()], seconds))
        },
    ),
    counter(
        "natgate_messages_lost_total",
        WORKER,
        "Messages to the management core that found the ring full. They come again.",
        |s, out| s.workers(out, |row| row.counts.messages_lost),
    ),
    counter(
        "natgate_session_events_lost_total",
        WORKER,
        "What happened to sessions and no watcher was told, because the ring to the management core was full.",
        |s, out| s.counters(out, |worker| worker.session_events_lost.get()),
    ),
    // Rules.
    counter(
        "natgate_rule_sessions_total",
        &["kind", "number", "rule"],
        "Sessions that a rule made, by its place among those of its kind, from 1, and the first words of what it says.",
        Scrape::rule_sessions,
    ),
    // Notrack classes.
    counter(
        "natgate_notrack_packets_total",
        CLASS_WAY,
        "Packets that passed by a notrack class without a session, from clients to the service (there) and back.",
        |s, out| s.classes_each_way(out, |class, way| Some(class.packets[way])),
    ),
    counter(
        "natgate_notrack_bytes_total",
        CLASS_WAY,
        "Their bytes: IPv4 packets, without link headers.",
        |s, out| s.classes_each_way(out, |class, way| Some(class.bytes[way])),
    ),
    counter(
        "natgate_notrack_dropped_total",
        CLASS_WAY,
        "Packets that a notrack class dropped, whatever the reason: see those that begin with notrack_.",
        |s, out| s.classes_each_way(out, |class, way| Some(class.dropped[way])),
    ),
    gauge(
        "natgate_notrack_last_packet_timestamp_seconds",
        CLASS_WAY,
        "When the last packet of a notrack class came, since 1970-01-01 UTC. Absent before the first one.",
        Scrape::last_packets,
    ),
    gauge(
        "natgate_notrack_asymmetric",
        &["class"],
        "1 while packets of a notrack class go one way only. Always 0 for one that drops, or is not symmetric.",
        |s, out| s.classes(out, |_, known| known.silent.is_some()),
    ),
    gauge(
        "natgate_notrack_settling",
        &["class"],
        "1 while sessions go on that were there before the notrack class.",
        |s, out| s.classes(out, |class, _| class.settling.load(Relaxed)),
    ),
    // Pools.
    gauge("natgate_pool_addresses", &["pool", "kind"], "Addresses that sources become.", |s, out| {
        s.pools.iter().try_for_each(|pool| out.put(&[&pool.name, &pool.kind], pool.addresses))
    }),
    gauge(
        "natgate_pool_ports_usable",
        PORTS,
        "External ports that may be given to sessions, of a pool or an interface that is translated to.",
        |s, out| s.ports(out, |pool| pool.usable),
    ),
    gauge("natgate_pool_ports_used", PORTS, "External ports that sessions hold.", |s, out| {
        s.ports(out, |pool| pool.used)
    }),
    gauge(
        "natgate_pool_blocks",
        &["pool", "kind"],
        "Blocks of ports that the pool has; only of pools with `port_blocks`.",
        |s, out| s.blocks(out, |blocks| blocks.total),
    ),
    gauge(
        "natgate_pool_blocks_used",
        &["pool", "kind"],
        "Blocks of ports that subscribers have.",
        |s, out| s.blocks(out, |blocks| blocks.used),
    ),
    gauge(
        "natgate_pool_fullest_address_ratio",
        &["pool", "kind"],
        "The largest part of its ports of one protocol that an address of the pool has in use, as a part of 1.",
        Scrape::fullest,
    ),
    gauge(
        "natgate_pool_time_to_exhaustion_seconds",
        PORTS,
        "How long the free ports last at the pace of the last minute. Absent: their use does not grow.",
        Scrape::time_to_exhaustion,
    ),
    // Workers.
    counter("natgate_worker_turns_total", WORKER, "Turns of the worker's loop.", |s, out| {
        s.workers(out, |row| row.polls)
    }),
    counter("natgate_worker_busy_turns_total", WORKER, "Turns with something to do.", |s, out| {
        s.workers(out, |row| row.busy_polls)
    }),
    counter("natgate_worker_busy_seconds_total", WORKER, "How long these took.", |s, out| {
        s.seconds(out, |worker| worker.busy_nanos.get())
    }),
    gauge(
        "natgate_worker_longest_turn_seconds",
        WORKER,
        "The longest of these since the start.",
        |s, out| s.seconds(out, |worker| worker.longest_turn_nanos.get()),
    ),
    Metric {
        name: "natgate_worker_burst_frames",
        kind: Kind::Histogram,
        labels: WORKER,
        help: "Frames in a burst from a device. 32 is a full one: more were waiting.",
        read: Scrape::bursts,
    },
    gauge(
        "natgate_tsc_hertz",
        &[],
        "Frequency of the time stamp counter: turns a worker's seconds into cycles. Absent if it is not known.",
        |s, out| s.status.tsc_hertz.iter().try_for_each(|hertz| out.put(&[], *hertz)),
    ),
    // Reloads.
    counter(
        "natgate_reloads_total",
        &["result"],
        "Changes of the configuration that were applied, refused, or rolled back because nobody confirmed them.",
        |s, out| {
            out.put(&["applied"], s.reloads.applied)?;
            out.put(&["refused"], s.reloads.refused)?;
            out.put(&["rolled_back"], s.reloads.rolled_back)
        },
    ),
    gauge("natgate_config_revision", &[], "The revision of the configuration that runs.", |s, out| {
        out.put(&[], s.reloads.revision)
    }),
    gauge("natgate_config_on_trial", &[], "1 while that waits to be confirmed.", |s, out| {
        out.put(&[], s.reloads.on_trial)
    }),
    gauge(
        "natgate_config_last_reload_successful",
        &[],
        "1 if the last change that was tried was applied, or none was tried.",
        |s, out| out.put(&[], s.reloads.last_succeeded),
    ),
    gauge(
        "natgate_config_last_reload_success_timestamp_seconds",
        &[],
        "When the last change was applied, since 1970-01-01 UTC. Absent before the first one.",
        |s, out| {
            let since = s.reloads.last_applied.and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
            since.iter().try_for_each(|since| out.put(&[], since.as_secs_f64()))
        },
    ),
    gauge(
        "natgate_config_last_reload_duration_seconds",
        &[],
        "How long that took, from the request until the last worker ran it.",
        |s, out| out.put(&[], s.reloads.last_took.as_secs_f64()),
    ),
    gauge(
        "natgate_config_last_reload_handover_seconds",
        &[],
        "Of that, from the moment that it was given to the workers.",
        |s, out| out.put(&[], s.reloads.last_adopt.as_secs_f64()),
    ),
    gauge(
        "natgate_worker_config_generation",
        WORKER,
        "Configurations that the worker took since its first one: the same for all workers but for an instant.",
        |s, out| s.counters(out, |worker| worker.revision.load(Relaxed)),
    ),
    gauge(
        "natgate_worker_adopt_turn_seconds",
        WORKER,
        "The turn in which the worker took the configuration that it runs; 0 before the first reload.",
        |s, out| s.seconds(out, |worker| worker.adopt_turn_nanos.get()),
    ),
    gauge("natgate_worker_adopt_longest_turn_seconds", WORKER, "The longest of these.", |s, out| {
        s.seconds(out, |worker| worker.adopt_turn_max_nanos.get())
    }),
];
