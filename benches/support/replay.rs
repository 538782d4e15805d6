//! A feed that replays a list of frames, a burst at a time.

use super::{FRAME, Feed, Flow, Gateway, LAN, Loop, config, outbound, shuffled, udp};
use natgate::device::BURST;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Frames that come round and round, as many as there is credit for.
pub(crate) struct Replay {
    frames: Vec<[u8; FRAME]>,
    at: usize,
    credit: usize,
}

impl Replay {
    /// The first packets of `flows` flows from inside, in random order.
    pub(crate) fn new(flows: u32) -> Replay {
        let flows: Vec<_> = shuffled(flows).into_iter().map(outbound).collect();
        Replay::of(LAN, &flows)
    }

    /// A packet of each of these flows, in this order.
    pub(crate) fn of(vlan: u16, flows: &[Flow]) -> Replay {
        let frame = |flow| {
            let mut frame = [0; FRAME];
            udp(&mut frame, vlan, flow);
            frame
        };
        Replay::frames(flows.iter().map(frame).collect())
    }

    /// These frames, in this order.
    pub(crate) fn frames(frames: Vec<[u8; FRAME]>) -> Replay {
        Replay { frames, at: 0, credit: 0 }
    }

    /// A device of its own, to measure what the generator costs.
    pub(crate) fn alone(self) -> Loop<Replay> {
        Loop::new(&Arc::new(Mutex::new(self)))
    }

    /// One burst through the gateway.
    pub(crate) fn burst(gateway: &mut Gateway<Replay>) {
        gateway.feed.lock().expect("one thread").credit = BURST;
        gateway.worker.poll_once(std::hint::black_box(gateway.now));
    }
}

impl Loop<Replay> {
    /// One burst may come.
    pub(crate) fn credit(&mut self) {
        self.feed.lock().expect("one thread").credit = BURST;
    }
}

impl Feed for Replay {
    #[inline]
    fn next(&mut self, frame: &mut [u8]) -> bool {
        if self.credit == 0 {
            return false;
        }
        self.credit -= 1;
        frame.copy_from_slice(&self.frames[self.at]);
        self.at = if self.at + 1 == self.frames.len() { 0 } else { self.at + 1 };
        true
    }
}

/// A gateway that knows `flows` flows, which come in random order.
pub(crate) fn hitting(flows: u32) -> Gateway<Replay> {
    let config = config(&format!("[conntrack]\nmax_sessions = {}\nreserve = \"0%\"\n", flows.max(1024)));
    let mut gateway = Gateway::new(&config, Replay::new(flows));
    for _ in 0..flows.div_ceil(32) {
        Replay::burst(&mut gateway);
    }
    gateway
}

/// How long it takes to set up so many bursts of new sessions in an empty table for `flows`.
pub(crate) fn time_set_ups(flows: u32, bursts: u64) -> Duration {
    let config = config(&format!("[conntrack]\nmax_sessions = {flows}\nreserve = \"0%\"\n"));
    let mut gateway = Gateway::new(&config, Replay::new(flows));
    let mut took = Duration::ZERO;
    for done in (0..bursts).step_by(1000) {
        let start = Instant::now();
        for _ in done..bursts.min(done + 1000) {
            Replay::burst(&mut gateway);
        }
        took += start.elapsed();
        // The ring of timer posts never fills up while there is a management core.
        while gateway.management.poll_once(gateway.now) {}
    }
    gateway.assert_all_sent();
    assert_eq!(gateway.counters.sessions_created.get(), bursts * BURST as u64, "sessions");
    took
}
