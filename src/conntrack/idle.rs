//! What decides when a session ends: how long it may be idle and how long it has been.

use super::class::Class;
use super::key::FlowKey;
use super::session::Session;
use crate::time::Tick;

/// The part of a session that decides when it ends, as it was at some moment of its reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Idle {
    /// Which user of its slot the session is.
    pub generation: u32,
    /// When the last packet came that counts as activity.
    pub last_seen: Tick,
    /// Idle timeout in ticks.
    pub timeout_ticks: u32,
    /// What it is worth when room is needed.
    pub class: Class,
}

impl Idle {
    /// Reads it, but for the generation.
    pub(super) fn copy<K: FlowKey>(session: &Session<K>) -> Idle {
        // The timeout first: whoever sees a new one then sees the `last_seen` stored before it.
        let timeout_ticks = session.timeout_ticks();
        Idle { generation: 0, last_seen: session.last_seen(), timeout_ticks, class: session.class() }
    }

    /// Ticks from `now` until it has been idle for longer than `timeout` ticks, by the rule of [`Session::is_expired`].
    /// `Err` if it has been already: for how many ticks.
    pub fn ends_in(&self, now: Tick, timeout: u32) -> Result<u32, u32> {
        let age = now.since(self.last_seen);
        if age > timeout { Err(age - timeout - 1) } else { Ok((timeout - age).saturating_add(1)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_ends_one_tick_after_its_timeout_and_the_wrap_of_the_tick_does_not_matter() {
        for last_seen in [1000, u32::MAX - 20, u32::MAX] {
            let idle = Idle {
                generation: 2,
                last_seen: Tick(last_seen),
                timeout_ticks: 30,
                class: Class::Unreplied,
            };
            let after = |ticks: u32| idle.ends_in(Tick(last_seen.wrapping_add(ticks)), idle.timeout_ticks);
            assert_eq!((after(0), after(29), after(30)), (Ok(31), Ok(2), Ok(1)));
            assert_eq!((after(31), after(40)), (Err(0), Err(9)));
            // A packet that came after the clock was read.
            assert_eq!(after(u32::MAX), Ok(31));
            assert_eq!(idle.ends_in(Tick(last_seen), u32::MAX), Ok(u32::MAX));
        }
    }
}
