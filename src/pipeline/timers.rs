//! Posts to the timer wheel on the management core.
//!
//! Two things are posted, and only the session's index: that a session is new, and that its timeout got shorter.
//! Packets that keep a session alive are not: the wheel finds them in the session when its timer runs out.
//!
//! A full ring loses the post, never the session: the loss is counted, and the management core, which watches the
//! counter, goes through the whole table at once.

use super::worker::Core;
use crate::conntrack::table::SessionId;
use crate::device::Device;
use std::sync::atomic::{Ordering, fence};

impl<D: Device> Core<D> {
    /// Tells the management core to look at when this session ends.
    #[inline]
    pub(super) fn post_timer(&mut self, id: SessionId) {
        if self.timers.push(id.index()).is_err() {
            // Whoever sees the counter grow also sees the session as it is now.
            fence(Ordering::Release);
            self.counters.timer_posts_lost.increment();
        }
    }
}
