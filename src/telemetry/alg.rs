//! What application level gateways do, declared once: the variant, the name in metrics and output, the help text.

macro_rules! events {
    ($($variant:ident, $name:literal, $help:literal;)+) => {
        /// Something that an application level gateway did, or did not do.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum AlgEvent {
            $(#[doc = $help] $variant,)+
        }

        impl AlgEvent {
            /// All of them, in the order of their numbers.
            pub const ALL: &'static [AlgEvent] = &[$(AlgEvent::$variant),+];
            /// How many there are.
            pub const COUNT: usize = Self::ALL.len();

            /// The name in metrics and output.
            pub fn name(self) -> &'static str {
                match self { $(AlgEvent::$variant => $name),+ }
            }

            /// What it means, in a sentence.
            pub fn help(self) -> &'static str {
                match self { $(AlgEvent::$variant => $help),+ }
            }
        }
    };
}

events! {
    Rewritten, "rewritten", "An endpoint in a command or reply was replaced by what it is outside.";
    Opened, "opened", "Somebody outside is expected to open a session, for a while.";
    Used, "used", "He has.";
    Expired, "expired", "He has not, and is not expected any more.";
    Ended, "ended", "He is not expected any more: another configuration has not the address.";
    Unreadable, "unreadable", "A line that should name an endpoint could not be read, or was not there as a whole in one segment; it passed as it was.";
    NotFtp, "not_ftp", "A client on a port of `[alg.ftp]` said what no FTP client says: nothing that follows is read.";
    ForeignEndpoint, "refused_foreign", "A line named another host than the one that spoke, or a port below 1024; it passed as it was.";
    NoMapping, "refused_unmapped", "The external address gives no host a port of its own (mapping and filtering both `address-and-port-dependent`, or full NAT), so that nobody could be let in; the line passed as it was.";
    NoPort, "refused_port", "There was no external port, or the port is forwarded to another host; the line passed as it was.";
    Full, "refused_full", "As many were expected as `alg.max_expectations` allows; the line passed as it was.";
    SessionsFull, "refused_session", "As many sessions were watched as `alg.max_sessions` allows: another one was not.";
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_event_has_its_own_name_and_a_help_text() {
        let names: HashSet<_> = AlgEvent::ALL.iter().map(|event| event.name()).collect();
        assert_eq!(names.len(), AlgEvent::COUNT);
        for (number, event) in AlgEvent::ALL.iter().enumerate() {
            assert_eq!(*event as usize, number);
            assert!(event.help().ends_with('.'), "{}", event.name());
        }
    }

    #[test]
    fn every_event_is_in_the_manual() {
        let manual = include_str!("../../docs/alg.md");
        for event in AlgEvent::ALL {
            let row = format!("| `{}` | {} |", event.name(), event.help());
            assert!(manual.contains(&row), "docs/alg.md lacks {row}");
        }
    }
}
