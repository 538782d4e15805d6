//! Why frames are handed to another worker, declared once: the variant, the name in metrics and output, the help text.

macro_rules! causes {
    ($($variant:ident, $name:literal, $help:literal;)+) => {
        /// Why a frame was handed to another worker.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum HandoffCause {
            $(#[doc = $help] $variant,)+
        }

        impl HandoffCause {
            /// All of them, in the order of their numbers.
            pub const ALL: &'static [HandoffCause] = &[$(HandoffCause::$variant),+];
            /// How many there are.
            pub const COUNT: usize = Self::ALL.len();

            /// The name in metrics and output.
            pub fn name(self) -> &'static str {
                match self { $(HandoffCause::$variant => $name),+ }
            }

            /// What it means, in a sentence.
            pub fn help(self) -> &'static str {
                match self { $(HandoffCause::$variant => $help),+ }
            }
        }
    };
}

causes! {
    Flow, "flow", "A whole TCP or UDP packet that another worker owns: what a plan better than C avoids.";
    Other, "other", "A packet without ports that NICs read (ICMP, GRE, SCTP, ...) that another worker owns.";
    Fragment, "fragment", "A fragment, to the worker where those of its datagram meet or to the owner.";
    Transmit, "transmit", "Ready to be sent, by the worker that has a transmit queue of the device.";
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_cause_has_its_own_name_and_a_help_text() {
        let names: HashSet<_> = HandoffCause::ALL.iter().map(|cause| cause.name()).collect();
        assert_eq!(names.len(), HandoffCause::COUNT);
        for (number, cause) in HandoffCause::ALL.iter().enumerate() {
            assert_eq!(*cause as usize, number);
            assert!(cause.help().ends_with('.'), "{}", cause.name());
        }
    }
}
