//! The handshake: from which numbers the windows start.
//!
//! The first SYN/ACK that acknowledges the SYN completes the picture. Until then a SYN may be a new attempt with another
//! number; and later on a SYN may come from a host that has forgotten the connection (RFC 9293 section 3.5.1). Such a SYN
//! is kept in mind, one of them (*pending*), and if the other side accepts it by a SYN/ACK, the windows start anew from
//! there. So an attempt that follows another too soon, an old duplicate (RFC 9293 figure 8) and a rebooted host all get
//! through, whichever of the two the server answers.

use super::{ACKED, Fit, LIBERAL, PENDING, PENDING_SCALE, SCALING, Side, Windows, later, within};
use crate::conntrack::session::Direction;
use crate::conntrack::tcp_segment::{MAX_SCALE, Segment};

/// More than the data that may come with a SYN, in bytes (RFC 7413).
const SYN_SPAN: u32 = 1 << 16;

/// How far back a SYN/ACK with a number below `end` of the server is taken for a duplicate: more than it sends before the
/// last duplicate has arrived, as a rule.
const RECENT: u32 = 1 << 24;

/// Stands for no scale with a pending SYN.
const NO_SCALE: u8 = 15;

impl Windows {
    #[inline]
    fn is_pending(&self) -> bool {
        self.flags & PENDING != 0
    }

    /// Keeps a SYN that is not of this connection in mind.
    fn set_pending(&mut self, after_syn: u32, scale: Option<u8>) {
        self.syn = after_syn;
        self.flags &= !(15 << PENDING_SCALE);
        self.flags |= PENDING | u32::from(scale.unwrap_or(NO_SCALE)) << PENDING_SCALE;
    }

    fn pending_scale(&self) -> Option<u8> {
        u8::try_from(self.flags >> PENDING_SCALE & 15).ok().filter(|scale| *scale <= MAX_SCALE)
    }

    /// The SYN that opened this connection is its last: none that is pending will be answered.
    pub(in crate::conntrack) fn confirm_syn(&mut self) {
        if self.is_pending() {
            self.syn = self.original.end;
            self.flags &= !PENDING;
        }
    }

    /// Whether a number acknowledges the SYN of the original side, with or without data that came with it, as long as
    /// that is all that it sent.
    pub(in crate::conntrack) fn is_of_syn(&self, number: u32) -> bool {
        let end = self.original.end;
        let from = if self.is_pending() { end.wrapping_sub(SYN_SPAN) } else { self.syn };
        within(number, from, end)
    }

    /// The same of a pending one.
    pub(in crate::conntrack) fn is_of_pending_syn(&self, number: u32) -> bool {
        self.is_pending() && within(number, self.syn, self.syn.wrapping_add(SYN_SPAN))
    }

    /// Whether a SYN/ACK acknowledges the SYN of the other side.
    pub(in crate::conntrack) fn answers_syn(&self, direction: Direction, segment: &Segment) -> bool {
        match direction {
            Direction::Reply => self.is_of_syn(segment.ack),
            Direction::Original => {
                let end = self.reply.end;
                self.reply.seen() && within(segment.ack, end.wrapping_sub(SYN_SPAN), end)
            }
        }
    }

    /// Another SYN of the original side before the other side acknowledged one: the same again, or the first of a new
    /// attempt. Of the attempt before, the answer may be on its way.
    pub(in crate::conntrack) fn syn_again(&mut self, syn: &Segment) {
        let end = self.original.end;
        let same = match self.is_pending() {
            true => within(syn.after_syn(), end.wrapping_sub(SYN_SPAN), end),
            false => syn.after_syn() == self.syn,
        };
        if same {
            self.original.end = later(self.original.end, syn.end());
            self.original.take_scale(syn);
            self.original.widen(syn.window.into());
            return;
        }
        let own = if self.is_pending() { end } else { self.syn };
        let scale = self.original.has(SCALING).then_some(self.original.scale);
        self.original = Side::opened_by(syn);
        if self.reply.seen() {
            self.original.allow(self.original.end, self.reply.window());
        }
        self.set_pending(own, scale);
    }

    /// Whether it is the SYN that opened this connection, as far as is known.
    pub(in crate::conntrack) fn is_own_syn(&self, syn: &Segment) -> bool {
        !self.is_pending() && syn.after_syn() == self.syn
    }

    /// Whether a SYN/ACK accepts a SYN that has the number of the one that opened this connection, and is no duplicate of
    /// what the server sent then: some clients always begin with the same number.
    pub(in crate::conntrack) fn answers_own_syn_again(&self, syn_ack: &Segment) -> bool {
        let end = self.reply.end;
        let old = self.reply.seen() && within(syn_ack.end(), end.wrapping_sub(RECENT), end);
        !self.is_pending() && syn_ack.ack == self.syn && !old
    }

    /// A SYN of the original side that passes without effect. It may be a duplicate; or the client has forgotten
    /// the connection, and the server, if it has so too, will accept it.
    pub(in crate::conntrack) fn note_syn(&mut self, syn: &Segment) {
        if !self.is_own_syn(syn) {
            self.set_pending(syn.after_syn(), syn.scale);
        }
    }

    /// The other side's SYN (simultaneous open) or either side's SYN/ACK.
    pub(in crate::conntrack) fn answer(&mut self, direction: Direction, segment: &Segment) {
        let (sender, receiver) = self.sides_mut(direction);
        let end = segment.end();
        if sender.seen() && within(end, sender.end.wrapping_sub(SYN_SPAN), sender.end.wrapping_add(SYN_SPAN))
        {
            sender.end = later(sender.end, end);
            sender.take_scale(segment);
            sender.widen(segment.window.into());
        } else {
            // The first, or of another attempt: what was acknowledged before was something else.
            *sender = Side::opened_by(segment);
            receiver.flags &= !ACKED;
        }
        // The window of the other side's SYN: data may follow a SYN/ACK at once (RFC 7413).
        sender.allow(sender.end, receiver.window());
        if segment.has_ack() {
            sender.acknowledge(segment.ack);
            receiver.allow(segment.ack, segment.window.into());
        } else {
            receiver.allow(receiver.end, segment.window.into());
        }
        if !segment.whole {
            self.flags |= LIBERAL;
        }
    }

    /// A SYN/ACK of a connection that is open here already. It may be the first that its receiver sees of them, so the
    /// window in it counts.
    pub(in crate::conntrack) fn answer_again(&mut self, direction: Direction, segment: &Segment) {
        if self.both_seen() && self.fit(direction, segment) == Fit::Inside {
            let (_, receiver) = self.sides_mut(direction);
            receiver.allow(segment.ack, segment.window.into());
        }
    }

    /// A SYN/ACK acknowledges the pending SYN (or, if none is, one with the same number as the first): both ends agree on a
    /// new connection, and this is it.
    pub(in crate::conntrack) fn renew(&mut self, syn_ack: &Segment) {
        let old = self.original;
        let old_scale = old.has(SCALING).then_some(old.scale);
        let scale = if self.is_pending() { self.pending_scale() } else { old_scale };
        let end = later(syn_ack.ack, self.syn);
        self.original = Side { end, max_end: end, ..Side::default() };
        if let Some(scale) = scale {
            self.original.scale = scale;
            self.original.flags = SCALING;
        }
        // The window that came with it was not kept; more than this it can not have been.
        self.original.widen(u16::MAX.into());
        self.reply = Side::default();
        self.flags = 0;
        self.set_pending(old.end, old_scale);
        self.answer(Direction::Reply, syn_ack);
    }
}

#[cfg(test)]
#[path = "handshake_tests.rs"]
mod tests;
