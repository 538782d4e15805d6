//! The flags that say which sessions are meant. They are made from the one list of [`control::filter`], which also
//! checks their values; what is sent to the gateway is the text as it was typed.
//!
//! [`control::filter`]: crate::control::filter

use crate::control::filter::{PARAMETERS, Parameter};
use clap::{Arg, ArgMatches, Command, error::Error};

const HEADING: &str = "Which sessions (all that is said must hold)";

/// What was said about the sessions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FilterArgs {
    /// Parameter and value.
    given: Vec<(&'static str, String)>,
}

impl FilterArgs {
    /// Whether nothing was said: all sessions are meant.
    pub fn is_empty(&self) -> bool {
        self.given.is_empty()
    }

    /// The parameters with their values, for a query.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.given.iter().map(|(name, value)| (*name, value.as_str()))
    }
}

fn flag(parameter: &'static Parameter) -> Arg {
    let check = |text: &str| parameter.check(text).map(|()| text.to_owned());
    let flag = Arg::new(parameter.name)
        .long(parameter.name)
        .value_name(parameter.value)
        .help(parameter.help)
        .help_heading(HEADING)
        .value_parser(check);
    if parameter.is_flag() {
        flag.num_args(0..=1).require_equals(true).default_missing_value("true")
    } else {
        flag
    }
}

impl clap::Args for FilterArgs {
    fn augment_args(command: Command) -> Command {
        command.args(PARAMETERS.iter().map(flag))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl clap::FromArgMatches for FilterArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let value = |parameter: &Parameter| {
            matches.get_one::<String>(parameter.name).map(|value| (parameter.name, value.clone()))
        };
        Ok(FilterArgs { given: PARAMETERS.iter().filter_map(value).collect() })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Args, FromArgMatches, error::ErrorKind};

    fn parse(line: &str) -> Result<FilterArgs, Error> {
        let command = FilterArgs::augment_args(Command::new("list"));
        command.clone().debug_assert();
        FilterArgs::from_arg_matches(&command.try_get_matches_from(line.split(' '))?)
    }

    #[test]
    fn a_flag_becomes_the_parameter_of_its_name() {
        let args = parse("list --proto tcp,udp --src 10.0.0.0/8 --unreplied --assured=false").unwrap();
        let pairs: Vec<_> = args.pairs().collect();
        let expected =
            [("proto", "tcp,udp"), ("src", "10.0.0.0/8"), ("unreplied", "true"), ("assured", "false")];
        assert_eq!(pairs, expected);
        assert!(parse("list").unwrap().is_empty());
    }

    #[test]
    fn a_bad_value_ends_with_the_flag_the_value_and_what_is_allowed() {
        let error = parse("list --dport http").unwrap_err();
        assert_eq!((error.kind(), error.exit_code()), (ErrorKind::ValueValidation, 2));
        let text = error.to_string();
        assert!(text.contains("--dport") && text.contains("http") && text.contains("1 to 65535"), "{text}");
    }
}
