//! `natgate completion`: a script for the shell that completes commands and flags.

use super::table::to_stdout;
use clap::CommandFactory;
use clap_complete::Shell;

/// Print a script that completes commands and flags in your shell
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples (where each shell looks for it; a new shell knows it):
  natgate completion bash > /usr/share/bash-completion/completions/natgate
  natgate completion zsh  > /usr/local/share/zsh/site-functions/_natgate
  natgate completion fish > ~/.config/fish/completions/natgate.fish

Or for this shell only: source <(natgate completion bash)

Exit codes: 0 printed, 1 the output can not be written, 2 wrong usage.")]
pub(super) struct Args {
    /// The shell
    shell: Shell,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let script = script(args.shell);
    to_stdout(|out| Ok(out.write_all(&script)?))
}

fn script(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut super::Cli::command(), "natgate", &mut script);
    script
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::tests::visible;
    use clap::ValueEnum;

    #[test]
    fn every_visible_command_is_completed() {
        for shell in Shell::value_variants() {
            let script = String::from_utf8(script(*shell)).unwrap();
            for command in visible() {
                assert!(script.contains(command.get_name()), "{shell}: {}", command.get_name());
            }
            assert!(script.contains("proto") && script.contains("watch"), "{shell}");
        }
    }
}
