//! Whom a new session may take the place of, declared once: the variant, the name in metrics and output, the help text.

macro_rules! evictions {
    ($($variant:ident, $name:literal, $help:literal;)+) => {
        /// As what a session was removed to make room for another one (early drop).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Eviction {
            $(#[doc = $help] $variant,)+
        }

        impl Eviction {
            /// All of them, in the order of their numbers.
            pub const ALL: &'static [Eviction] = &[$(Eviction::$variant),+];
            /// How many there are.
            pub const COUNT: usize = Self::ALL.len();

            /// The name in metrics and output.
            pub fn name(self) -> &'static str {
                match self { $(Eviction::$variant => $name),+ }
            }

            /// What it means, in a sentence.
            pub fn help(self) -> &'static str {
                match self { $(Eviction::$variant => $help),+ }
            }
        }
    };
}

// At a full table the order is that of the last three.
evictions! {
    HalfOpen, "half_open", "The oldest TCP connection before the end of its handshake: those were at their share of the table.";
    Unreplied, "unreplied", "The table was full: the oldest session that nobody had answered.";
    Closing, "closing", "The table was full and none was unreplied: the session that had been closing for the longest time.";
    Unassured, "unassured", "The table was full, none was unreplied or closing: the oldest that had not proved to be a real conversation.";
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_eviction_has_its_own_name_and_a_help_text() {
        let names: HashSet<_> = Eviction::ALL.iter().map(|eviction| eviction.name()).collect();
        assert_eq!(names.len(), Eviction::COUNT);
        for (number, eviction) in Eviction::ALL.iter().enumerate() {
            assert_eq!(*eviction as usize, number);
            assert!(eviction.help().ends_with('.'), "{}", eviction.name());
        }
    }
}
