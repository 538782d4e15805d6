//! Clients inside and a server outside that hold TCP connections through the gateway.

use super::{FRAME, Feed, Flow, Gateway, L4, LAN, Segment, WAN, arp_answer, flow_of, tcp};
use natgate::wire::tcp::ACK;
use std::time::{Duration, Instant};

/// What clients and server send now, and what came out of it. Routers answer ARP.
#[derive(Default)]
pub(crate) struct Talk {
    /// Taken from the end.
    pub(crate) incoming: Vec<[u8; FRAME]>,
    /// Frames that came out.
    pub(crate) outgoing: Vec<[u8; FRAME]>,
}

impl Feed for Talk {
    fn next(&mut self, frame: &mut [u8]) -> bool {
        let Some(next) = self.incoming.pop() else { return false };
        frame.copy_from_slice(&next);
        true
    }

    fn sent(&mut self, frame: &[u8]) {
        if frame[16..18] == [0x08, 0x06] {
            self.incoming.extend(arp_answer(frame));
            return;
        }
        let mut bytes = [0; FRAME];
        let len = frame.len().min(FRAME);
        bytes[..len].copy_from_slice(&frame[..len]);
        self.outgoing.push(bytes);
    }
}

/// One connection: how its client sees it, how the server does, and whether any of its segments was lost.
#[derive(Clone, Copy)]
pub(crate) struct Connection {
    pub(crate) inside: Flow,
    pub(crate) outside: Option<Flow>,
    pub(crate) failed: bool,
}

impl Connection {
    /// One of which nothing was sent yet.
    pub(crate) fn new(inside: Flow) -> Connection {
        Connection { inside, outside: None, failed: false }
    }
}

/// Sequence numbers of two connections of a batch lie this far apart: they tell whose frame came out.
const APART: u32 = 100_000;

/// Who sends, flags, sequence and acknowledgement number, bytes of data.
pub(crate) type Step = (bool, u8, u32, u32, usize);

/// Every connection takes the step: its segment goes in and has to come out on the other side. Returns how long the worker
/// took for it.
pub(crate) fn step(gateway: &mut Gateway<Talk>, batch: &mut [Connection], step: Step) -> Duration {
    let (from_client, flags, seq, ack, len) = step;
    {
        let mut feed = gateway.feed.lock().expect("one thread");
        for (connection, base) in batch.iter().zip((0..).step_by(APART as usize)) {
            if connection.failed {
                continue;
            }
            let mut frame = [0; FRAME];
            let ack = if flags & ACK == 0 { 0 } else { base + ack };
            let segment = Segment { flags, seq: base + seq, ack, len };
            match connection.outside {
                Some(outside) if !from_client => {
                    let back = Flow { from: outside.to, to: outside.from };
                    tcp(&mut frame, WAN, &back, &segment);
                }
                _ => tcp(&mut frame, LAN, &connection.inside, &segment),
            }
            feed.incoming.push(frame);
        }
        // They are taken from the end.
        feed.incoming.reverse();
    }
    let start = Instant::now();
    gateway.drain();
    let took = start.elapsed();
    let outgoing = std::mem::take(&mut gateway.feed.lock().expect("one thread").outgoing);
    let mut passed = vec![false; batch.len()];
    for frame in &outgoing {
        let number = u32::from_be_bytes([frame[L4 + 4], frame[L4 + 5], frame[L4 + 6], frame[L4 + 7]]);
        let at = ((number - seq) / APART) as usize;
        let flow = flow_of(frame);
        if from_client {
            batch[at].outside.get_or_insert(flow);
        } else {
            assert_eq!(flow.to, batch[at].inside.from, "the answer reaches its client");
        }
        passed[at] = true;
    }
    for (connection, passed) in batch.iter_mut().zip(passed) {
        connection.failed |= !passed;
    }
    took
}
