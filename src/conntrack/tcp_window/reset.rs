//! RSTs, and whether they are believed (RFC 5961 section 3.2, RFC 7857 section 2.2).

use super::{ACKED, RESET, Windows, after};
use crate::conntrack::session::Direction;
use crate::conntrack::tcp_segment::Segment;

/// How a RST fits in (RFC 5961 section 3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::conntrack) enum ResetFit {
    /// Its number is the one that its receiver waits for, as far as is known: it ends the connection.
    Exact,
    /// In the window: its receiver answers with a challenge.
    Inside,
    /// The receiver ignores it.
    Outside,
}

impl Windows {
    /// How a RST fits in, once both sides have been seen. Its receiver judges the sequence number alone.
    pub(in crate::conntrack) fn reset_fit(&self, direction: Direction, segment: &Segment) -> ResetFit {
        let (sender, receiver) = self.sides(direction);
        let seq = segment.seq;
        // The latter: sent behind data that has not been acknowledged yet.
        if (receiver.has(ACKED) && seq == receiver.max_ack) || seq == sender.end {
            return ResetFit::Exact;
        }
        if after(seq, sender.max_end) {
            return ResetFit::Outside;
        }
        let from =
            if receiver.has(ACKED) { receiver.max_ack } else { sender.end.wrapping_sub(receiver.window()) };
        match after(from, seq) {
            true => ResetFit::Outside,
            // Where its receiver is, nobody knows: this may be it.
            false if !receiver.has(ACKED) => ResetFit::Exact,
            false => ResetFit::Inside,
        }
    }

    /// Remembers who ended an open connection by a RST.
    pub(in crate::conntrack) fn note_reset(&mut self, direction: Direction) {
        self.sides_mut(direction).0.flags |= RESET;
    }

    /// Whether a side ended the open connection by a RST, or somebody else did so in its name.
    pub(in crate::conntrack) fn has_reset(&self, direction: Direction) -> bool {
        self.sides(direction).0.has(RESET)
    }

    /// The RST was not what it seemed.
    pub(in crate::conntrack) fn forget_reset(&mut self) {
        self.original.flags &= !RESET;
        self.reply.flags &= !RESET;
    }
}

#[cfg(test)]
#[path = "reset_tests.rs"]
mod tests;
