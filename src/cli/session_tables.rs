//! The tables of `natgate sessions count` and `natgate sessions top`.

use super::table::{Align, Table, grouped, percent, size};
use crate::control::api;
use std::io::{self, Write};

/// Writes the text of `natgate sessions count`.
pub fn write_count(out: &mut dyn Write, count: &api::SessionCount) -> io::Result<()> {
    let mut table = Table::new(&[
        ("worker", Align::Left),
        ("sessions", Align::Right),
        ("capacity", Align::Right),
        ("used", Align::Right),
    ]);
    let rows = (0u64..).map(|worker| worker.to_string()).zip(&count.workers);
    for (worker, usage) in rows.chain([("all".into(), &count.total)]) {
        table.row([
            worker,
            grouped(usage.used),
            grouped(usage.capacity),
            percent(usage.used, usage.capacity),
        ]);
    }
    table.write(out)
}

/// Writes the text of `natgate sessions count --by …`: it ends with what is not shown and the sum.
pub fn write_groups(out: &mut dyn Write, groups: &api::SessionGroups) -> io::Result<()> {
    let heading = heading(&groups.by);
    let mut table =
        Table::new(&[(heading, Align::Left), ("sessions", Align::Right), ("share", Align::Right)]);
    for row in &groups.rows {
        table.row([row.key.clone(), grouped(row.sessions), percent(row.sessions, groups.sessions)]);
    }
    let (more, sessions) = not_shown(groups);
    if more > 0 {
        let name = format!("{} more", grouped(more));
        table.row([name, grouped(sessions), percent(sessions, groups.sessions)]);
    }
    table.row(["all".into(), grouped(groups.sessions)]);
    table.write(out)
}

/// Writes the text of `natgate sessions top`.
pub fn write_top(out: &mut dyn Write, groups: &api::SessionGroups) -> io::Result<()> {
    let mut table = Table::new(&[
        (heading(&groups.by), Align::Left),
        ("sessions", Align::Right),
        ("share", Align::Right),
        ("new/s", Align::Right),
        ("bytes", Align::Right),
    ]);
    for row in &groups.rows {
        table.row([
            row.key.clone(),
            grouped(row.sessions),
            percent(row.sessions, groups.sessions),
            format!("{:.1}", row.new_per_second),
            size(row.bytes),
        ]);
    }
    table.write(out)?;
    let (more, sessions) = not_shown(groups);
    if more > 0 {
        writeln!(out, "and {} more with {} sessions", grouped(more), grouped(sessions))?;
    }
    writeln!(out, "{} sessions in all", grouped(groups.sessions))
}

/// Groups without a row, and the sessions in them.
fn not_shown(groups: &api::SessionGroups) -> (u64, u64) {
    let shown = groups.rows.iter().map(|row| row.sessions).sum();
    (groups.groups.saturating_sub(groups.rows.len() as u64), groups.sessions.saturating_sub(shown))
}

fn heading(by: &str) -> &'static str {
    // A column's heading lives as long as the program.
    crate::control::tally::By::parse(by).map_or("", |by| by.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> String {
        let mut out = Vec::new();
        write(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_count_ends_with_the_sum() {
        let usage = |used| api::Usage { used, capacity: 1_000 };
        let count = api::SessionCount {
            total: api::Usage { used: 30, capacity: 2_000 },
            workers: vec![usage(10), usage(20)],
        };
        let text = text(|out| write_count(out, &count));
        assert_eq!(text.lines().last(), Some("all           30     2,000  1.5 %"), "{text}");
    }

    fn groups() -> api::SessionGroups {
        let row = |key: &str, sessions, new_per_second, bytes| api::SessionGroup {
            key: key.into(),
            sessions,
            new_per_second,
            packets: 1,
            bytes,
        };
        let rows = vec![row("10.0.0.5", 1_500, 12.25, 3 << 30), row("10.0.0.77", 300, 0.0, 100)];
        api::SessionGroups { by: "source".into(), sessions: 2_000, groups: 14, rows }
    }

    #[test]
    fn groups_say_what_is_not_shown() {
        let expected = "\
source     sessions   share
10.0.0.5      1,500  75.0 %
10.0.0.77       300  15.0 %
12 more         200  10.0 %
all           2,000
";
        assert_eq!(text(|out| write_groups(out, &groups())), expected);
    }

    #[test]
    fn the_top_has_entries_rate_and_bytes() {
        let expected = "\
source     sessions   share  new/s    bytes
10.0.0.5      1,500  75.0 %   12.2  3.0 GiB
10.0.0.77       300  15.0 %    0.0    100 B
and 12 more with 200 sessions
2,000 sessions in all
";
        assert_eq!(text(|out| write_top(out, &groups())), expected);
    }

    #[test]
    fn full_tables_fit_in_eighty_columns() {
        let usage = api::Usage { used: 4_294_967_295, capacity: 4_294_967_295 };
        let count = api::SessionCount { total: usage, workers: vec![usage; 4] };
        let row = |key: &str| api::SessionGroup {
            key: key.into(),
            sessions: 4_294_967_295,
            new_per_second: 10_000_000.0,
            packets: u64::MAX,
            bytes: u64::MAX,
        };
        let rows = vec![row("255.255.255.255 zone=65535"), row("udplite/65535")];
        let groups =
            api::SessionGroups { by: "source".into(), sessions: 4_294_967_295, groups: 4_294_967_295, rows };
        for shown in [
            text(|out| write_count(out, &count)),
            text(|out| write_groups(out, &groups)),
            text(|out| write_top(out, &groups)),
        ] {
            assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
        }
    }

    #[test]
    fn the_longest_mapping_fits_in_eighty_columns() {
        let key = "tcp 192.168.100.100:65535 203.0.113.200:65535".to_owned();
        let row = api::SessionGroup { key, sessions: 9, new_per_second: 0.0, packets: 1, bytes: 1 << 19 };
        let groups = api::SessionGroups { by: "mapping".into(), sessions: 999, groups: 1, rows: vec![row] };
        let text = text(|out| write_top(out, &groups));
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    }
}
