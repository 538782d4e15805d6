//! What was replaced in one direction of a TCP stream, and which byte of the sender's is which of the receiver's. Pure.
//!
//! An [`Edit`] puts a text in the place of some bytes. Byte by byte the first of both correspond; what the text has more of
//! goes with the last byte replaced, and what it has less of is gone. So any segment, however it is cut or sent again, has one
//! form for the receiver ([`Stream::rewrite`]), and any acknowledgement one for the sender, which never claims more than
//! the receiver has.
//!
//! ```text
//!   sender    .. P O R T   1 0 , 0 , ..  \r\n R E ..
//!                          |----- old -|  |
//!   receiver  .. P O R T   2 0 3 , 0 , 1 1 3 , .. \r\n R E ..
//!                          |------- text -------|  |
//! ```
//!
//! # Bounds
//!
//! The last [`EDITS`] are kept. An older one is forgotten only when its text was acknowledged: what is sent again of it then
//! lands on what the receiver has, and it does not look at that. Numbers are compared modulo 2^32, so one that lies far back is
//! forgotten too.

use crate::packet::{NoRoom, PacketBuf};
use arrayvec::ArrayVec;

/// Edits that are kept.
pub const EDITS: usize = 4;
/// The longest text, in bytes: `|1|255.255.255.255|65535|` is 25 of them.
pub const TEXT: usize = 28;
/// Edits that lie so far back are forgotten.
const FAR: u32 = 1 << 30;

/// What is put in the place of something.
pub type Text = ArrayVec<u8, TEXT>;

/// Whether a number is behind another one.
fn before(one: u32, other: u32) -> bool {
    one.wrapping_sub(other) > u32::MAX / 2
}

fn number(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// A text in the place of some bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// The sender's number of the first byte that is replaced.
    pub at: u32,
    /// Bytes that are replaced; at least one.
    pub old: u32,
    /// What the receiver gets.
    pub text: Text,
}

impl Edit {
    fn len(&self) -> u32 {
        number(self.text.len())
    }

    fn growth(&self) -> u32 {
        self.len().wrapping_sub(self.old)
    }

    fn end(&self) -> u32 {
        self.at.wrapping_add(self.old)
    }

    /// Where in the text the byte is that is so many bytes behind the first.
    fn place(&self, behind: u32) -> u32 {
        if behind < self.old { behind.min(self.len()) } else { self.len() }
    }
}

/// One direction of a stream.
#[derive(Clone, Debug, Default)]
pub struct Stream {
    /// In the order of the stream; they do not overlap.
    edits: ArrayVec<Edit, EDITS>,
    /// Receiver's number minus sender's, before the first of them.
    shift: u32,
    /// The receiver has everything before this number of the sender's. Only known while there are edits.
    acknowledged: u32,
}

impl Stream {
    /// Whether both ends count alike.
    #[inline]
    pub fn is_plain(&self) -> bool {
        self.shift == 0 && self.edits.is_empty()
    }

    /// The receiver's number of a byte of the sender's.
    pub fn to_receiver(&self, sent: u32) -> u32 {
        let mut shift = self.shift;
        for edit in &self.edits {
            if before(sent, edit.at) {
                break;
            }
            if before(sent, edit.end()) {
                return edit.at.wrapping_add(shift).wrapping_add(edit.place(sent.wrapping_sub(edit.at)));
            }
            shift = shift.wrapping_add(edit.growth());
        }
        sent.wrapping_add(shift)
    }

    /// The last byte of the sender's that comes to this number of the receiver's or to one before.
    pub fn to_sender(&self, received: u32) -> u32 {
        let mut shift = self.shift;
        for edit in &self.edits {
            let start = edit.at.wrapping_add(shift);
            if before(received, start) {
                break;
            }
            let behind = received.wrapping_sub(start);
            if behind < edit.len() {
                return edit.at.wrapping_add(behind.min(edit.old.saturating_sub(1)));
            }
            shift = shift.wrapping_add(edit.growth());
        }
        received.wrapping_sub(shift)
    }

    /// The receiver has everything before this number of the sender's.
    pub fn acknowledge(&mut self, sent: u32) {
        if self.edits.is_empty() || !before(self.acknowledged, sent) {
            return;
        }
        self.acknowledged = sent;
        while self
            .edits
            .first()
            .is_some_and(|first| sent.wrapping_sub(first.end()) > FAR && !before(sent, first.end()))
        {
            self.forget();
        }
    }

    fn forget(&mut self) {
        if let Some(first) = self.edits.pop_at(0) {
            self.shift = self.shift.wrapping_add(first.growth());
        }
    }

    /// Whether there is room for another edit behind all others.
    pub fn has_room(&self) -> bool {
        !self.edits.is_full()
            || self.edits.first().is_some_and(|first| !before(self.acknowledged, first.end()))
    }

    /// Notes an edit, of which nothing was passed on yet. Nothing happens if there is no room, or it is not behind all others.
    pub fn note(&mut self, edit: Edit) {
        if self.edits.last().is_some_and(|last| before(edit.at, last.end()))
            || edit.old == 0
            || !self.has_room()
        {
            return;
        }
        if self.edits.is_empty() {
            self.acknowledged = edit.at;
        }
        if self.edits.is_full() {
            self.forget();
        }
        // There is room now.
        let _ = self.edits.try_push(edit);
    }

    /// Where the first byte is that no edit is behind, if there is any edit.
    pub fn end(&self) -> Option<u32> {
        self.edits.last().map(Edit::end)
    }

    /// Whether these bytes of the sender's are others for the receiver: then the segment must be there as a whole.
    pub fn touches(&self, from: u32, len: u32) -> bool {
        let to = from.wrapping_add(len);
        self.edits.iter().any(|edit| before(edit.at, to) && before(from, edit.end()))
    }

    /// How many bytes longer these bytes of the sender's are for the receiver.
    pub fn growth(&self, from: u32, len: u32) -> i32 {
        let to = from.wrapping_add(len);
        self.to_receiver(to).wrapping_sub(self.to_receiver(from)).wrapping_sub(len).cast_signed()
    }

    /// Makes the last bytes of a frame, from offset `start` on, which are the sender's from number `from` on, what the
    /// receiver gets. Checksums are the caller's affair.
    ///
    /// # Errors
    /// The frame has no room for what is added; it may be longer then, and is not to be sent.
    pub fn rewrite<B: PacketBuf>(&self, buf: &mut B, start: usize, from: u32) -> Result<(), NoRoom> {
        let len = number(buf.data().len().saturating_sub(start));
        let to = from.wrapping_add(len);
        // The last one first: so the offsets of the others stay.
        for edit in self.edits.iter().rev() {
            if !(before(edit.at, to) && before(from, edit.end())) {
                continue;
            }
            let first = if before(edit.at, from) { from.wrapping_sub(edit.at) } else { 0 };
            let last = if before(to, edit.end()) { to.wrapping_sub(edit.at) } else { edit.old };
            let text = edit.text.get(index(edit.place(first))..index(edit.place(last))).unwrap_or_default();
            let at = start + index(edit.at.wrapping_add(first).wrapping_sub(from));
            splice(buf, at, index(last - first), text)?;
        }
        Ok(())
    }
}

/// Puts `text` in the place of the `old` bytes from offset `at` on.
fn splice<B: PacketBuf>(buf: &mut B, at: usize, old: usize, text: &[u8]) -> Result<(), NoRoom> {
    let len = buf.data().len();
    let (behind, new) = (at.saturating_add(old), at + text.len());
    if behind > len {
        return Err(NoRoom);
    }
    if text.len() > old {
        buf.grow_back(text.len() - old)?;
    }
    buf.data_mut().copy_within(behind..len, new);
    buf.data_mut().get_mut(at..new).ok_or(NoRoom)?.copy_from_slice(text);
    buf.truncate(new + (len - behind));
    Ok(())
}

#[cfg(test)]
mod tests;
