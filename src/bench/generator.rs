//! The loop that sends and receives: see the order in the module's head.
//!
//! A [`Generator`] owns both sides, all spare frames and the flows. [`Generator::run`] is one run: it sends what a [`Load`]
//! asks for, waits for what is still on its way, and returns what came out in a [`Tally`]. A frame is sent when the device
//! took it.

use super::addresses::Addresses;
use super::check::{Checker, Datagram, Seen};
use super::flows::{Arrival, Flows};
use super::frame::{HEAD, Stamp, Template};
use super::load::{Load, Source, Tally};
use super::port::{Gateway, Port, resize};
use super::report::Frame;
use super::sizes::{self, place};
use super::{BenchError, Expect, Way};
use crate::device::{BURST, Burst, Device};
use crate::ids::MacAddr;
use crate::packet::PacketBuf;
use arrayvec::ArrayVec;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Frames that wait to be written anew.
pub const SPARE: usize = 1024;
/// Turns between two looks at the stop flag.
const TURNS: u32 = 4096;
/// How long nobody may answer ARP, and how often is asked, in nanoseconds.
const ARP_WAIT: u64 = 10_000_000_000;
const ARP_AGAIN: u64 = 100_000_000;
/// A frame after which nothing came for so long was the last one, in nanoseconds.
pub const SETTLE: u64 = 300_000_000;
/// How long a run without an end goes on when nothing moves: the device under test is gone.
const STUCK: u64 = 2_000_000_000;

/// What time it is. A test's clock also turns the device under test.
pub trait Pulse {
    /// Nanoseconds since some moment; never less than before.
    fn now(&mut self) -> u64;
}

/// The clock on the wall.
#[derive(Clone, Copy, Debug)]
pub struct Wall(Instant);

impl Default for Wall {
    fn default() -> Wall {
        Wall(Instant::now())
    }
}

impl Pulse for Wall {
    #[inline]
    fn now(&mut self) -> u64 {
        u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// Both sides, and what is known of the flows between them.
pub struct Generator<D: Device, P> {
    /// Inside and outside.
    pub ports: [Port<D>; 2],
    /// The clock.
    pub pulse: P,
    /// Ends a run early.
    pub stop: Arc<AtomicBool>,
    /// The flows of the trial.
    pub flows: Flows,
    checker: Checker,
    templates: [Vec<Template>; 2],
    spare: ArrayVec<D::Buf, SPARE>,
    asked: bool,
}

impl<D: Device, P: Pulse> Generator<D, P> {
    /// A generator that knows no flows yet. [`Generator::meet`] comes next.
    pub fn new(ports: [Port<D>; 2], pulse: P, (addresses, expect): (Addresses, Expect)) -> Self {
        let checker = Checker { expect, addresses, sizes: Frame::Bytes(64), run: 0 };
        let asked = ports.iter().all(|port| matches!(port.gateway, Gateway::Ask(_)));
        Generator {
            ports,
            pulse,
            stop: Arc::default(),
            flows: Flows::new(0, 0),
            checker,
            templates: [Vec::new(), Vec::new()],
            spare: ArrayVec::new(),
            asked,
        }
    }

    /// Finds the device under test on both sides.
    ///
    /// # Errors
    /// It does not answer.
    pub fn meet(&mut self) -> Result<(), BenchError> {
        let begin = self.pulse.now();
        let mut next = begin;
        let mut tally = Tally::default();
        loop {
            let now = self.pulse.now();
            let missing = |port: &Port<D>| match port.gateway {
                Gateway::Ask(address) => Some(address),
                Gateway::Known(_) => None,
            };
            let Some((way, address)) =
                Way::BOTH.into_iter().find_map(|way| Some((way, missing(&self.ports[way.index()])?)))
            else {
                return Ok(());
            };
            if now.saturating_sub(begin) > ARP_WAIT {
                return Err(BenchError::NoGateway { side: way.from_side(), address });
            }
            if now >= next {
                next = now + ARP_AGAIN;
                for port in &mut self.ports {
                    if let Some(address) = missing(port) {
                        let buf = port.device.alloc().ok_or(BenchError::NoFrame)?;
                        port.ask(buf, address);
                    }
                }
            }
            for way in Way::BOTH {
                self.receive(way, now, false, &mut tally)?;
            }
            self.look_at_stop()?;
        }
    }

    /// The sizes of frames from now on.
    pub fn set_sizes(&mut self, sizes: Frame) {
        self.checker.sizes = sizes;
        for way in Way::BOTH {
            let port = &self.ports[way.index()];
            let Gateway::Known(gateway) = port.gateway else { continue };
            let template = |size: &u16| Template::new(port.identity.mac.0, gateway.0, *size);
            self.templates[way.index()] = sizes::pattern(&sizes).iter().map(template).collect();
        }
    }

    /// Whose flows these are.
    pub fn addresses(&self) -> &Addresses {
        &self.checker.addresses
    }

    /// What the device under test is expected to do.
    pub fn expect(&self) -> Expect {
        self.checker.expect
    }

    /// Sends a load and takes back what comes out.
    ///
    /// # Errors
    /// A wrong frame, frames out of order, no frames, or Ctrl-C.
    pub fn run(&mut self, load: Load) -> Result<Tally, BenchError> {
        self.checker.run = self.checker.run.wrapping_add(1);
        let begin = self.pulse.now();
        let mut tally = Tally::default();
        let flows = &self.flows;
        let mut sources = load.streams.map(|stream| stream.map(|stream| Source::new(stream, begin, flows)));
        let (mut turns, mut last) = (0, begin);
        loop {
            let now = self.pulse.now();
            for way in Way::BOTH {
                if self.receive(way, now, load.latency, &mut tally)? {
                    last = now;
                }
            }
            let is_over = load.nanos.is_some_and(|nanos| now.saturating_sub(begin) >= nanos);
            let (mut busy, before) = (false, tally.all_sent());
            for (way, source) in Way::BOTH.into_iter().zip(&mut sources) {
                if let Some(source) = source {
                    self.send(way, source, now, &mut tally)?;
                    busy |= !source.is_over() || !self.ports[way.index()].waiting.is_empty();
                }
            }
            if tally.all_sent() > before {
                last = now;
            }
            let is_stuck = load.nanos.is_none() && now.saturating_sub(last) > STUCK;
            if is_over || !busy || is_stuck {
                tally.nanos = now.saturating_sub(begin);
                break;
            }
            turns += 1;
            if turns % TURNS == 0 {
                self.look_at_stop()?;
            }
        }
        self.settle(load.latency, &mut tally)?;
        if tally.duplicates + tally.reordered > 0 {
            let Tally { duplicates, reordered, first, .. } = tally;
            return Err(BenchError::Order { duplicates, reordered, first: first.unwrap_or_default() });
        }
        Ok(tally)
    }

    /// Waits for what is still on its way. Frames that the device did not take were not sent.
    fn settle(&mut self, latency: bool, tally: &mut Tally) -> Result<(), BenchError> {
        for port in &mut self.ports {
            let unsent = port.waiting.take();
            self.spare.extend(unsent.into_iter().take(self.spare.remaining_capacity()));
        }
        let mut last = self.pulse.now();
        while tally.lost() > 0 {
            let now = self.pulse.now();
            for way in Way::BOTH {
                if self.receive(way, now, latency, tally)? {
                    last = now;
                }
            }
            if now.saturating_sub(last) > SETTLE {
                break;
            }
            self.look_at_stop()?;
        }
        Ok(())
    }

    fn look_at_stop(&self) -> Result<(), BenchError> {
        if self.stop.load(Ordering::Relaxed) { Err(BenchError::Interrupted) } else { Ok(()) }
    }

    /// Sends the frames of one direction that are due, a burst at the most.
    #[inline]
    fn send(&mut self, way: Way, source: &mut Source, now: u64, tally: &mut Tally) -> Result<(), BenchError> {
        let port = &mut self.ports[way.index()];
        if port.waiting.is_empty() {
            let due = source.pacer.due(now).min(source.ahead.len() as u64);
            let due = usize::try_from(due).unwrap_or(BURST);
            for number in source.ahead.drain(..due) {
                let Some(flow) = self.flows.get_mut(number) else { continue };
                let (client, server) =
                    (self.checker.addresses.client(number), self.checker.addresses.server(number));
                let (from, to) = match (way, flow.external()) {
                    (Way::Out, _) => (client, server),
                    (Way::Back, Some(external)) => (server, external),
                    // There is nobody to answer to.
                    (Way::Back, None) => continue,
                };
                let stamp = Stamp { run: self.checker.run, flow: number, seq: flow.send(way), nanos: now };
                let templates = &self.templates[way.index()];
                let Some(template) = templates.get(place(number, stamp.seq, templates.len())) else {
                    continue;
                };
                let mut buf = match self.spare.pop() {
                    Some(buf) => buf,
                    None => port.device.alloc().ok_or(BenchError::NoFrame)?,
                };
                if !resize(&mut buf, template.len()) {
                    return Err(BenchError::Room(template.len()));
                }
                template.write(buf.data_mut(), from, to, stamp);
                port.waiting.push(buf);
            }
            source.pacer.spend(due as u64);
            source.refill(&self.flows);
        }
        let before = port.waiting.len();
        if before > 0 {
            port.device.tx_burst(&mut port.waiting);
            tally.sent[way.index()] += (before - port.waiting.len()) as u64;
        }
        Ok(())
    }

    /// Takes a burst of frames of one direction and checks it. Returns whether any came.
    #[inline]
    fn receive(&mut self, way: Way, now: u64, latency: bool, tally: &mut Tally) -> Result<bool, BenchError> {
        let side = way.reverse().index();
        let mut burst = Burst::new();
        self.ports[side].device.rx_burst(&mut burst);
        for buf in &burst {
            if let Some(stamp) = buf.data().first_chunk::<HEAD>().and_then(Stamp::read) {
                self.flows.prefetch(stamp.flow);
            }
        }
        let came = !burst.is_empty();
        let mac = self.ports[side].expected_mac(self.asked);
        for buf in burst {
            match self.checker.read(mac, buf.data()).map_err(|wrong| BenchError::Wrong(way, wrong))? {
                Seen::Ours(datagram) => {
                    self.accept(way, &datagram, buf.data(), tally)?;
                    if latency {
                        tally.latency[way.index()].add(now.saturating_sub(datagram.stamp.nanos));
                    }
                }
                Seen::Arp(message) => {
                    self.learn(side, &message);
                    self.ports[side].answer(buf, &message);
                    continue;
                }
                Seen::Icmp => tally.icmp += 1,
                Seen::Late | Seen::Stray => tally.strays += 1,
            }
            if !self.spare.is_full() {
                self.spare.push(buf);
            }
        }
        Ok(came)
    }

    /// One of our frames, read and not judged yet.
    #[inline]
    fn accept(
        &mut self,
        way: Way,
        datagram: &Datagram,
        bytes: &[u8],
        tally: &mut Tally,
    ) -> Result<(), BenchError> {
        let stamp = datagram.stamp;
        let before = self.flows.get(stamp.flow).is_some_and(|flow| flow.external().is_some());
        let flow = self.flows.get_mut(stamp.flow);
        let arrival =
            self.checker.judge(way, datagram, flow, bytes).map_err(|wrong| BenchError::Wrong(way, wrong))?;
        match way {
            Way::Out if !before => self.flows.established += 1,
            Way::Out => {}
            Way::Back => {
                let first = self.flows.get_mut(stamp.flow).is_some_and(super::flows::Flow::answer);
                self.flows.answered += u32::from(first);
            }
        }
        let what = match arrival {
            Arrival::InOrder => {
                tally.received[way.index()] += 1;
                return Ok(());
            }
            Arrival::Duplicate => {
                tally.duplicates += 1;
                "came twice"
            }
            Arrival::Reordered => {
                tally.received[way.index()] += 1;
                tally.reordered += 1;
                "came after a later one"
            }
        };
        if tally.first.is_none() {
            tally.first =
                Some(format!("{} packet {} of flow {}, which {what}", way.name(), stamp.seq, stamp.flow));
        }
        Ok(())
    }

    /// Takes an answer to a question of ours.
    fn learn(&mut self, side: usize, message: &crate::wire::arp::ArpMessage) {
        let port = &mut self.ports[side];
        if let Gateway::Ask(address) = port.gateway
            && message.operation.get() == crate::wire::arp::REPLY
            && message.sender_ip() == address
        {
            port.gateway = Gateway::Known(MacAddr(message.sender_mac));
        }
    }
}
