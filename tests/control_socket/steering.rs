//! What the gateway says of steering: plans, shares, handoffs.

#![allow(clippy::unwrap_used, clippy::panic, reason = "clippy does not see that these are for tests only")]

use crate::gateway::{Gateway, steering};
use crate::live::Live;
use natgate::control::api;
use natgate::device::mem_nic::Habit;
use natgate::steering::plan::ProofState;
use natgate::telemetry::DropReason;
use std::process::{Command, Output};

fn read(gateway: &Gateway) -> api::Steering {
    gateway.client().get_json("/v1/steering").unwrap()
}

fn show(socket: &std::path::Path, args: &[&str]) -> Output {
    let mut natgate = Command::new(env!("CARGO_BIN_EXE_natgate"));
    natgate.args(["show", "steering"]).args(args).arg("--socket").arg(socket).output().unwrap()
}

#[test]
fn every_interface_says_its_plan_and_what_it_achieves() {
    let gateway = Gateway::new(0);
    let _server = gateway.start();
    let steering = read(&gateway);
    let [lan, wan] = &steering.interfaces[..] else { panic!("two interfaces") };
    assert_eq!((lan.name.as_str(), lan.plan.as_str(), &lan.state), ("lan", "C", &None));
    assert_eq!((lan.how.as_str(), lan.why_not.as_str()), ("by hand", "it has 1 receive queue for 2 workers"));
    assert_eq!((lan.packets, lan.handed_off, lan.handoff_ratio), (950_000, 380_000, Some(0.4)));
    assert_eq!((wan.name.as_str(), wan.plan.as_str(), wan.state.as_deref()), ("wan", "B", Some("holds")));
    assert_eq!((wan.packets, wan.handoff_ratio), (0, None), "a share of nothing is none");
}

#[test]
fn a_plan_that_does_not_hold_is_shown_as_c_with_the_reason() {
    let gateway = Gateway::new(0);
    let _server = gateway.start();
    let state_of = |proof| {
        gateway.state.published.steering.publish(steering(proof));
        read(&gateway).interfaces.remove(1)
    };
    assert_eq!(state_of(ProofState::Waiting).state.as_deref(), Some("proving"));
    let wan = state_of(ProofState::Broken { misplaced: 31, packets: 64 });
    assert_eq!((wan.plan.as_str(), wan.chosen.as_str(), wan.state.as_deref()), ("C", "B", Some("broken")));
    assert_eq!(wan.how, "workers hand packets over to their owners");
    assert!(wan.why_not.starts_with("plan B does not hold: 31 of 64 packets came to other queues"));
}

#[test]
fn handoffs_and_shares_are_counted_over_all_workers() {
    let gateway = Gateway::new(1);
    let _server = gateway.start();
    gateway.state.workers[1].drops[DropReason::HandoffFull as usize].set(3);
    let steering = read(&gateway);
    assert_eq!(
        (steering.packets, steering.handed_off, steering.handoff_ratio),
        (950_000, 380_000, Some(0.4))
    );
    let causes: Vec<_> =
        steering.handoffs.iter().map(|handoff| (handoff.cause.as_str(), handoff.packets)).collect();
    assert_eq!(causes, [("flow", 380_000), ("other", 10_000), ("fragment", 0), ("transmit", 0)]);
    assert_eq!((steering.spread.as_str(), steering.handoff_full), ("source", 3));

    let [a, b] = &steering.workers[..] else { panic!("two workers") };
    assert_eq!(
        (a.rx, a.rx_share, a.handed_off, a.handoffs["flow"]),
        (1_000_000, Some(1.0), 390_000, 380_000)
    );
    assert_eq!((b.rx_share, b.taken_over, b.processed), (Some(0.0), 390_000, 390_000));
    assert_eq!((a.sessions_share, b.sessions_share), (Some(1.0 / 3.0), Some(2.0 / 3.0)));
    assert_eq!((a.skewed, b.skewed), (true, false));
    let shares = a.processed_share.unwrap() + b.processed_share.unwrap();
    assert!((shares - 1.0).abs() < 1e-9, "{shares}");
}

#[test]
fn before_the_management_core_has_turned_there_are_counters_and_no_plans() {
    let gateway = Gateway::new(0);
    let _server = gateway.start();
    gateway.state.published.steering.publish(Default::default());
    let steering = read(&gateway);
    assert_eq!((steering.interfaces.len(), steering.workers.len(), steering.packets), (0, 2, 950_000));
}

#[test]
fn the_command_shows_text_or_the_answer_as_it_is() {
    let gateway = Gateway::new(1);
    let _server = gateway.start();
    let text = show(&gateway.socket(), &[]);
    assert!(text.status.success(), "{text:?}");
    let text = String::from_utf8(text.stdout).unwrap();
    for part in [
        "handoff   380,000 of 950,000 TCP and UDP packets went to another worker: 40.0 %\n",
        "interface  plan       packets  handed off   ratio\n",
        "lan        C          950,000     380,000  40.0 %\n",
        "wan        B (holds)        0           0\n",
        "worker   received    share  processed   share  sessions   share\n",
        "     0  1,000,000  100.0 %  1,000,000  71.9 %         1  33.3 %\n",
        "   all  380,000  10,000         0         0     390,000\n",
        "worker 0 carries far more than its share",
    ] {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
    assert!(text.lines().all(|line| line.len() <= 80), "{text}");
    let json = show(&gateway.socket(), &["--json"]);
    let shown: api::Steering = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(shown, read(&gateway));
}

#[test]
fn a_gateway_that_runs_counts_what_it_hands_over() {
    let live = Live::with(2, 1_000);
    // Every host's datagrams come to one queue after the other, whoever owns them.
    for host in 11..=18 {
        live.open(host, 2_000..2_020);
    }
    let steering: api::Steering = live.client().get_json("/v1/steering").unwrap();
    let ratio = steering.handoff_ratio.unwrap();
    assert!(steering.packets >= 160 && (0.4..0.6).contains(&ratio), "{steering:?}");
    let sessions: u64 = steering.workers.iter().map(|worker| worker.sessions).sum();
    assert_eq!(sessions, 160);
    let flow = steering.handoffs.iter().find(|handoff| handoff.cause == "flow").unwrap();
    assert_eq!(flow.packets, steering.handed_off);
}

/// Plan and state of both interfaces once the packets have told.
fn proved(live: &Live) -> [(String, Option<String>); 2] {
    for host in 11..=40 {
        live.open(host, 2_000..2_020);
    }
    let read = || live.client().get_json::<api::Steering>("/v1/steering").unwrap();
    let proving = |interface: &api::InterfaceSteering| interface.state.as_deref() == Some("proving");
    live.wait("both interfaces have proved their plans", || {
        live.answer();
        !read().interfaces.iter().any(proving)
    });
    let [lan, wan] = &read().interfaces[..] else { panic!("two interfaces") };
    [lan, wan].map(|interface| (interface.plan.clone(), interface.state.clone()))
}

#[test]
fn nics_that_keep_to_their_plans_leave_nothing_to_hand_over() {
    let live = Live::on_nics(4, [Habit::Honest; 2]);
    let holds = |plan: &str| (plan.to_owned(), Some("holds".to_owned()));
    assert_eq!(proved(&live), [holds("A"), holds("B")]);
    let steering: api::Steering = live.client().get_json("/v1/steering").unwrap();
    assert_eq!((steering.handed_off, steering.handoff_ratio), (0, Some(0.0)));
    assert!(steering.workers.iter().all(|worker| worker.rx > 0 && worker.sessions > 0), "{steering:?}");
}

#[test]
fn a_nic_that_does_not_keep_to_its_plan_is_an_event() {
    let live = Live::on_nics(4, [Habit::Honest, Habit::StopsHashingInSecret]);
    let [lan, wan] = proved(&live);
    assert_eq!((lan.1.as_deref(), wan.0.as_str(), wan.1.as_deref()), (Some("holds"), "C", Some("broken")));
    let events: api::Events = live.client().get_json("/v1/events").unwrap();
    let broken: Vec<_> = events.events.iter().filter(|event| event.kind == "steering_broken").collect();
    assert_eq!(broken.len(), 1, "{events:?}");
    assert!(broken[0].text.starts_with("steering: wan: plan B does not hold: "), "{}", broken[0].text);
}

#[test]
fn one_worker_has_nothing_to_steer() {
    let live = Live::with(1, 1_000);
    live.open(11, 2_000..2_020);
    let steering: api::Steering = live.client().get_json("/v1/steering").unwrap();
    assert_eq!((steering.workers.len(), steering.handoff_ratio), (1, None));
    let shown = show(&live.socket(), &[]);
    assert_eq!(shown.stdout, b"One worker owns every packet: there is nothing to steer.\n");
}
