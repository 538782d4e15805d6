//! `natgate man`: the manual as pages for man(1), made from the help texts.

use super::table::to_stdout;
use anyhow::Context;
use clap::{Command, CommandFactory};
use clap_mangen::Man;
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

/// Print the manual page of natgate, or write those of all commands
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  natgate man | man -l -                       read it
  natgate man --out /usr/local/share/man/man1  natgate.1, natgate-run.1, ...

Exit codes: 0 done, 1 a file can not be written, 2 wrong usage.")]
pub(super) struct Args {
    /// Write a page for each command into this directory, which is made if need be
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let pages = pages()?;
    let Some(directory) = &args.out else {
        return to_stdout(|out| Ok(pages.iter().take(1).try_for_each(|(_, page)| out.write_all(page))?));
    };
    fs::create_dir_all(directory).with_context(|| format!("can not make {}", directory.display()))?;
    for (name, page) in pages {
        let file = directory.join(name);
        fs::write(&file, page).with_context(|| format!("can not write {}", file.display()))?;
    }
    Ok(())
}

/// File names and texts, that of natgate first.
fn pages() -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut root = super::Cli::command().disable_help_subcommand(true);
    root.build();
    let mut pages = Vec::new();
    collect(&root, &mut pages)?;
    Ok(pages)
}

fn collect(command: &Command, pages: &mut Vec<(String, Vec<u8>)>) -> io::Result<()> {
    let man = Man::new(command.clone()).source(super::NAME_AND_VERSION).manual("natgate manual");
    pages.push((man.get_filename(), page(&man, command)?));
    let visible = command.get_subcommands().filter(|command| !command.is_hide_set());
    visible.into_iter().try_for_each(|command| collect(command, pages))
}

fn page(man: &Man, command: &Command) -> io::Result<Vec<u8>> {
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.get_subcommands().any(|command| !command.is_hide_set()) {
        man.render_subcommands_section(&mut page)?;
    }
    if let Some(notes) = command.get_after_help() {
        write_notes(&mut page, &notes.to_string())?;
    }
    Ok(page)
}

/// Examples and exit codes, line by line as they are: filling would run the examples into one another.
fn write_notes(page: &mut Vec<u8>, notes: &str) -> io::Result<()> {
    writeln!(page, ".SH NOTES\n.nf")?;
    for line in notes.lines() {
        let escaped = line.replace('\\', "\\e").replace('-', "\\-");
        // A dot or an apostrophe at the start of a line would be a command.
        let guard = if escaped.starts_with(['.', '\'']) { "\\&" } else { "" };
        writeln!(page, "{guard}{escaped}")?;
    }
    writeln!(page, ".fi")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::tests::visible;
    use std::collections::BTreeSet;

    #[test]
    fn every_visible_command_has_a_page_and_no_other() {
        let names: BTreeSet<String> = pages().unwrap().into_iter().map(|(name, _)| name).collect();
        let commands = visible().into_iter().map(|command| {
            let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
            format!("{name}.1")
        });
        assert_eq!(names, commands.collect());
        assert!(names.contains("natgate.1") && names.contains("natgate-sessions-top.1"));
        assert!(!names.iter().any(|name| name.contains("peer")));
    }

    #[test]
    fn examples_stand_line_by_line() {
        let mut page = Vec::new();
        write_notes(&mut page, "Examples:\n  natgate show -s x\n.hidden \\n").unwrap();
        assert_eq!(
            String::from_utf8(page).unwrap(),
            ".SH NOTES\n.nf\nExamples:\n  natgate show \\-s x\n\\&.hidden \\en\n.fi\n"
        );
    }
}
