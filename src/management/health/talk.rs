//! What there is to say of backends: each on its own, or when very many change at once, how many.

use super::{Asked, Service};
use crate::classify::Forward;
use crate::management::events::{Event, EventKind};
use crate::time::Time;
use humantime::format_duration;
use std::time::Duration;

/// Events said a second; of what happens beyond that the number is said.
const SAY_BUDGET: u32 = 16;

/// What was said in this second.
#[derive(Debug, Default)]
pub(super) struct Talk {
    since: Time,
    said: u32,
    /// Not said: backends that went down, and that came back.
    unsaid: [u32; 2],
}

impl Talk {
    /// A backend went down or came back; it was as before since then.
    pub(super) fn say(&mut self, now: Time, asked: &Asked, since: Time, say: &mut Vec<Event>) {
        let up = asked.vitals.up;
        if self.said >= SAY_BUDGET {
            self.unsaid[usize::from(up)] += 1;
            return;
        }
        self.said += 1;
        let who = asked.patient;
        let (kind, text) = if up {
            let down = Duration::from_secs(now.since(since).as_secs());
            (EventKind::BackendUp, format!("backend {who} is up again, after {}", format_duration(down)))
        } else {
            let why = asked.vitals.failure.map_or("", |(failure, _)| failure.words());
            let times = asked.patient.check.fall;
            let text = format!(
                "backend {who} is down: {why}, {times} times in a row. New sessions go to others; it keeps those that it has. `natgate show backends` shows all."
            );
            (EventKind::BackendDown, text)
        };
        say.push(Event { at: now, kind, text });
    }

    /// Says how much was not said, when the second is over.
    pub(super) fn catch_up(&mut self, now: Time, say: &mut Vec<Event>) {
        if now.since(self.since) < Duration::from_secs(1) {
            return;
        }
        let [down, up] = self.unsaid;
        if down + up > 0 {
            let kind = if down > 0 { EventKind::BackendDown } else { EventKind::BackendUp };
            let text = format!(
                "{down} more backends went down and {up} more came back. `natgate show backends` shows all."
            );
            say.push(Event { at: now, kind, text });
        }
        *self = Talk { since: now, ..Talk::default() };
    }
}

/// What there is to say of a forward none of whose backends is up, or has one again.
pub(super) fn about_service(service: &Service, forward: &Forward, now: Time) -> Event {
    let (address, _, port) = service.public;
    let name = format!("dnat {} ({address}:{port})", u64::from(forward.rule) + 1);
    let (kind, text) = if service.is_down {
        let text = format!(
            "no backend of {name} is up: new sessions are refused (backends_down). `natgate show backends` says why."
        );
        (EventKind::ServiceDown, text)
    } else {
        (EventKind::ServiceUp, format!("{name} has a backend that is up again"))
    };
    Event { at: now, kind, text }
}
