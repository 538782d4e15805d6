//! The windows of a TCP connection: which sequence numbers can be, judged from the middle.
//!
//! The method is that of Linux's `nf_conntrack_proto_tcp`, after Guido van Rooij, *Real Stateful TCP Packet Filtering in
//! IP Filter* (2000). Of each side is kept
//!
//! | | |
//! |---|---|
//! | `end` | the highest sequence number that it sent, and one: what its next new byte has |
//! | `max_end` | the highest sequence number that the other side's window allows it |
//! | `max_ack` | the highest number that it acknowledged |
//! | `window` | the largest window that it advertised |
//!
//! and a segment is what its sender may send now, if
//!
//! - I: it does not begin beyond `max_end` of its sender,
//! - II: it does not end before `end` of its sender by more than the `window` of its receiver,
//! - III: it does not acknowledge more than `end` of its receiver,
//! - IV: nor less than that by more than the `window` of its sender, or 66,000.
//!
//! Here II and IV give way to what was acknowledged, which the kernel does not compare with: a segment is not old if it ends
//! at or behind what its receiver acknowledged last, and an acknowledgement is not old if it is the latest. Between
//! honest ends that never matters. But if a segment with wrong numbers got into the window (the checksum is not verified,
//! which would take the whole payload), `end` may be far too high, and everything that is right would look old for long.
//!
//! # What does not fit
//!
//! - Against II and IV (`Fit::Old`): an old segment, delayed or sent again. It may be real, and the receiver's answer to
//!   it may be needed, so it passes; it just teaches nothing.
//! - Against I by less than a window (`Fit::Beyond`): there are senders that overdraw the window, and what they send is
//!   acknowledged. It passes, and only `end` follows.
//! - Else (`Fit::Outside`): no end that keeps to RFC 9293 sends it. RFC 5382 REQ-2 protects valid sequences; this
//!   is none.
//!
//! # What is not looked at
//!
//! *SACK blocks.* They lie between the acknowledgement number and `end` of the receiver, so where the former fulfils III,
//! they do. As for IV, the acknowledgement number alone lags behind `end` by no more than what its receiver had in
//! flight, and that was at most the `window` of the acknowledging side. The kernel reads them, and pays for each segment.
//! *Timestamps*: PAWS (RFC 7323 section 5) is for the ends, which know more.
//!
//! # A liberal connection
//!
//! One that was picked up in the middle (nobody saw the window scales), and one whose segments come in fragments (the first
//! of which does not tell the length of the segment). Nothing is outside of its window, and what passes is learnt
//! from, acknowledged data that was not seen included, so that RSTs can still be judged.
//!
//! # Arithmetic
//!
//! Sequence numbers wrap; one is after another if it is at most 2^31 ahead. All numbers of a sequence space move
//! on together, with what is sent and acknowledged, so a connection of any length keeps them close. A window is at
//! most 2^30 (65,535 shifted by 14).
//!
//! # Memory
//!
//! 35 bytes a session, in [`TrackWords`]: the seven numbers of [`Windows`], the windows in units of the scale (so
//! rounded up), the scales, and the flags. Written by the worker alone; load and store go around each packet.

mod handshake;
mod reset;

pub(super) use reset::ResetFit;

use super::session::{Direction, TrackWords};
use super::tcp_segment::{Segment, SegmentKind};

/// How far acknowledgements may lag behind at least, whatever the window: as in Linux, after van Rooij.
const MAX_ACK_WINDOW: u32 = 66_000;

/// From this number of retransmissions in a row on a connection counts as stuck, as in Linux (`tcp_max_retrans`).
const STUCK: u32 = 3;

// Flags of a side, in four bits.
/// It offered window scaling.
const SCALING: u32 = 1;
/// `max_ack` is known.
const ACKED: u32 = 2;
/// It sent something new that was not acknowledged to its end yet.
const UNACKNOWLEDGED: u32 = 4;
/// It sent the RST that ended an open connection.
const RESET: u32 = 8;

// Flags of the connection, above the 4 bits of each side.
const LIBERAL: u32 = 1 << 8;
/// Retransmissions in a row, in two bits.
const RETRANSMISSION: u32 = 1 << 9;
const RETRANSMISSIONS: u32 = 3 << 9;
/// `syn` is of another connection than this one.
const PENDING: u32 = 1 << 11;
/// Where the scale that came with it is, in four bits.
const PENDING_SCALE: u32 = 12;

/// Whether one sequence number is after another. Half of the number space away it is, both ways round.
#[inline]
fn after(one: u32, other: u32) -> bool {
    matches!(one.wrapping_sub(other), 1..=0x8000_0000)
}

/// Whether a sequence number is in a range, both ends included.
#[inline]
fn within(number: u32, from: u32, to: u32) -> bool {
    number.wrapping_sub(from) <= to.wrapping_sub(from)
}

/// The later of two sequence numbers.
#[inline]
fn later(one: u32, other: u32) -> u32 {
    if after(other, one) { other } else { one }
}

/// What is known of one side; see the module's head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Side {
    end: u32,
    max_end: u32,
    max_ack: u32,
    flags: u32,
    /// In units of `1 << scale`. 0: nothing was seen of this side yet.
    window: u16,
    scale: u8,
}

impl Side {
    /// After its SYN or SYN/ACK.
    fn opened_by(syn: &Segment) -> Side {
        let mut side = Side { end: syn.end(), max_end: syn.end(), ..Side::default() };
        side.take_scale(syn);
        side.widen(u32::from(syn.window));
        side
    }

    fn take_scale(&mut self, syn: &Segment) {
        if let Some(scale) = syn.scale {
            // What is known of the window is in the old unit.
            let window = self.window();
            (self.scale, self.window) = (scale, 0);
            self.flags |= SCALING;
            if window > 0 {
                self.widen(window);
            }
        }
    }

    #[inline]
    fn has(&self, flags: u32) -> bool {
        self.flags & flags != 0
    }

    #[inline]
    fn seen(&self) -> bool {
        self.window != 0
    }

    /// The largest window that it advertised, in bytes.
    #[inline]
    fn window(&self) -> u32 {
        u32::from(self.window) << self.scale
    }

    /// It has had a window of so many bytes.
    #[inline]
    fn widen(&mut self, bytes: u32) {
        let unit = (1 << self.scale) - 1;
        let window = u16::try_from(bytes.saturating_add(unit) >> self.scale).unwrap_or(u16::MAX);
        self.window = self.window.max(window).max(1);
    }

    /// The other side allows it to send up to here.
    #[inline]
    fn allow(&mut self, ack: u32, window: u32) {
        let allowed = ack.wrapping_add(window);
        if !after(self.max_end, allowed) {
            // Into a window of nothing one byte is sent, to see whether it still is (RFC 9293 3.8.6.1).
            self.max_end = allowed.wrapping_add(u32::from(window == 0));
        }
    }

    /// Whether it has acknowledged more than this, as far as is known.
    #[inline]
    fn is_beyond(&self, number: u32) -> bool {
        !self.has(ACKED) || after(self.max_ack, number)
    }

    #[inline]
    fn acknowledge(&mut self, ack: u32) {
        self.max_ack = if self.has(ACKED) { later(self.max_ack, ack) } else { ack };
        self.flags |= ACKED;
    }
}

/// How a segment fits in; see the module's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    Inside,
    Old,
    Beyond,
    Outside,
}

/// The windows of a connection; see the module's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    original: Side,
    reply: Side,
    /// The number after a SYN of the original side: of the one that opened this connection, or ([`PENDING`]) of one
    /// that passed without effect and may be the first of another.
    syn: u32,
    flags: u32,
}

impl Windows {
    /// Takes them out of a session.
    #[inline]
    pub fn load(track: &TrackWords) -> Windows {
        let [end, max_end, max_ack, reply_end, reply_max_end, reply_max_ack, syn, windows] = track.words;
        let (high, low) = (windows >> 16, windows & 0xffff);
        let flags = u32::from(track.flags);
        Windows {
            original: Side {
                end,
                max_end,
                max_ack,
                window: u16::try_from(low).unwrap_or(u16::MAX),
                scale: track.scales & 15,
                flags: flags & 15,
            },
            reply: Side {
                end: reply_end,
                max_end: reply_max_end,
                max_ack: reply_max_ack,
                window: u16::try_from(high).unwrap_or(u16::MAX),
                scale: track.scales >> 4,
                flags: flags >> 4 & 15,
            },
            syn,
            flags: flags & !0xff,
        }
    }

    /// As a session stores them.
    #[inline]
    pub fn store(&self) -> TrackWords {
        let Windows { original, reply, .. } = self;
        let flags = self.flags | reply.flags << 4 | original.flags;
        TrackWords {
            words: [
                original.end,
                original.max_end,
                original.max_ack,
                reply.end,
                reply.max_end,
                reply.max_ack,
                self.syn,
                u32::from(reply.window) << 16 | u32::from(original.window),
            ],
            // 16 bits are in use.
            flags: u16::try_from(flags).unwrap_or(u16::MAX),
            scales: reply.scale << 4 | original.scale,
        }
    }

    /// Of a connection that this SYN opens.
    pub fn opened_by(syn: &Segment) -> Windows {
        let flags = if syn.whole { 0 } else { LIBERAL };
        Windows { original: Side::opened_by(syn), reply: Side::default(), syn: syn.after_syn(), flags }
    }

    /// Of a connection whose beginning nobody saw, from a segment with ACK of the original side.
    pub fn picked_up(segment: &Segment) -> Windows {
        let (end, window) = (segment.end(), u32::from(segment.window));
        let mut original = Side { end, max_end: end, ..Side::default() };
        original.widen(window);
        original.acknowledge(segment.ack);
        original.max_end = end.wrapping_add(original.window());
        let mut reply = Side { end: segment.ack, max_end: segment.ack, ..Side::default() };
        reply.allow(segment.ack, window);
        Windows { original, reply, syn: end, flags: LIBERAL }
    }

    #[inline]
    fn sides(&self, direction: Direction) -> (&Side, &Side) {
        match direction {
            Direction::Original => (&self.original, &self.reply),
            Direction::Reply => (&self.reply, &self.original),
        }
    }

    /// The sender's and the receiver's side.
    #[inline]
    fn sides_mut(&mut self, direction: Direction) -> (&mut Side, &mut Side) {
        match direction {
            Direction::Original => (&mut self.original, &mut self.reply),
            Direction::Reply => (&mut self.reply, &mut self.original),
        }
    }

    /// Whether something was seen of both sides.
    #[inline]
    pub(super) fn both_seen(&self) -> bool {
        self.original.seen() && self.reply.seen()
    }

    /// Whether a number is the one behind all that a side sent.
    #[inline]
    pub(super) fn is_all_of(&self, direction: Direction, number: u32) -> bool {
        self.sides(direction).0.end == number
    }

    /// Whether nothing is outside of its windows.
    #[inline]
    pub(super) fn is_liberal(&self) -> bool {
        self.flags & LIBERAL != 0
    }

    /// Whether a side has acknowledged anything.
    #[inline]
    pub(super) fn has_acknowledged(&self, direction: Direction) -> bool {
        self.sides(direction).0.has(ACKED)
    }

    /// Whether a side waits for an acknowledgement.
    #[inline]
    pub(super) fn is_unacknowledged(&self) -> bool {
        (self.original.flags | self.reply.flags) & UNACKNOWLEDGED != 0
    }

    /// Whether segments were sent again and again, and nothing else happened.
    #[inline]
    pub(super) fn is_stuck(&self) -> bool {
        (self.flags & RETRANSMISSIONS) / RETRANSMISSION >= STUCK
    }

    /// The window that a segment advertises, in bytes. Windows are scaled if both sides offered it (RFC 7323 2.2).
    #[inline]
    fn advertised(&self, direction: Direction, segment: &Segment) -> u32 {
        let scaling = self.original.flags & self.reply.flags & SCALING != 0 && !segment.is_syn();
        let scale = if scaling { self.sides(direction).0.scale } else { 0 };
        u32::from(segment.window) << scale
    }

    /// How a segment with ACK fits in, once both sides have been seen.
    #[inline]
    pub(super) fn fit(&self, direction: Direction, segment: &Segment) -> Fit {
        let (sender, receiver) = self.sides(direction);
        let (end, ack) = (segment.end(), segment.ack);
        let lag = sender.window().max(MAX_ACK_WINDOW);
        if after(ack, receiver.end) {
            return Fit::Outside;
        }
        let old = (after(sender.end.wrapping_sub(receiver.window()), end) && receiver.is_beyond(end))
            || (after(receiver.end.wrapping_sub(lag), ack) && sender.is_beyond(ack));
        if !after(segment.seq, sender.max_end) {
            return if old { Fit::Old } else { Fit::Inside };
        }
        let beyond = end.wrapping_sub(sender.max_end);
        if !old && beyond <= receiver.window() { Fit::Beyond } else { Fit::Outside }
    }

    /// What is left of an effect of a segment that passed although it does not fit.
    pub(super) fn overrun(&mut self, direction: Direction, segment: &Segment) {
        let (sender, _) = self.sides_mut(direction);
        if after(segment.end(), sender.end) {
            sender.end = segment.end();
            sender.flags |= UNACKNOWLEDGED;
        }
    }

    /// A segment with ACK that fits in, or that passes because the connection is treated liberally.
    #[inline]
    pub(super) fn accept(&mut self, direction: Direction, segment: &Segment, liberally: bool) {
        let window = self.advertised(direction, segment);
        let (sender, receiver) = self.sides_mut(direction);
        let (end, ack) = (segment.end(), segment.ack);
        let news = after(end, sender.end);
        let progress = news || !sender.has(ACKED) || after(ack, sender.max_ack);
        if news {
            sender.end = end;
            sender.flags |= UNACKNOWLEDGED;
        }
        if receiver.seen() && after(end, sender.max_end) {
            // The receiver's window must have been larger than was seen.
            receiver.widen(receiver.window().saturating_add(end.wrapping_sub(sender.max_end)));
        }
        sender.widen(window);
        sender.acknowledge(ack);
        receiver.allow(ack, window);
        if liberally {
            receiver.end = later(receiver.end, ack);
        }
        let all = ack == receiver.end;
        if all {
            receiver.flags &= !UNACKNOWLEDGED;
        }
        if !segment.whole {
            self.flags |= LIBERAL;
        }
        if progress || (all && segment.len == 0) {
            self.flags &= !RETRANSMISSIONS;
        } else if segment.kind == SegmentKind::Ack && segment.len > 0 && !self.is_stuck() {
            self.flags += RETRANSMISSION;
        }
    }

    /// Whether a segment brings new data, or acknowledges what was not acknowledged before.
    pub(super) fn is_progress(&self, direction: Direction, segment: &Segment) -> bool {
        let (sender, _) = self.sides(direction);
        after(segment.end(), sender.end) || (sender.has(ACKED) && after(segment.ack, sender.max_ack))
    }
}

#[cfg(test)]
mod tests;
