//! The text of `natgate show routes`.

use super::table::{Align, Table, grouped};
use crate::control::api;
use std::io::{self, Write};

/// Writes the routes, by zone. The Ethernet address of a router is in `natgate show neighbors`.
pub fn write_routes(out: &mut dyn Write, list: &api::Routes) -> io::Result<()> {
    let mut table = Table::new(&[
        ("zone", Align::Right),
        ("to", Align::Left),
        ("interface", Align::Left),
        ("via", Align::Left),
        ("state", Align::Left),
    ]);
    for route in &list.routes {
        let to = if route.to == "0.0.0.0/0" { "default".to_owned() } else { route.to.clone() };
        table.row([
            route.zone.to_string(),
            to,
            route.interface.clone(),
            route.via.map_or_else(|| "connected".to_owned(), |via| via.to_string()),
            route.state.clone().unwrap_or_else(|| "-".to_owned()),
        ]);
    }
    table.write(out)?;
    let shown = list.routes.len() as u64;
    if shown < list.total {
        writeln!(out, "\n{} more (--limit)", grouped(list.total - shown))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::table::COLUMNS;
    use std::net::Ipv4Addr;

    #[test]
    fn a_route_names_its_router_and_what_is_known_of_it() {
        let route = |to: &str, via: Option<Ipv4Addr>, state: Option<&str>| api::Route {
            zone: 65_535,
            to: to.into(),
            kind: if via.is_none() { "connected" } else { "static" }.into(),
            interface: "uplink".into(),
            realm: "external".into(),
            via,
            mac: (state == Some("reachable")).then(|| "02:00:00:00:00:fe".into()),
            state: state.map(Into::into),
        };
        let router = Some(Ipv4Addr::new(203, 0, 113, 255));
        let routes = vec![
            route("203.0.113.0/24", None, None),
            route("0.0.0.0/0", router, Some("reachable")),
            route("198.51.100.128/25", router, Some("incomplete")),
        ];
        let mut out = Vec::new();
        write_routes(&mut out, &api::Routes { total: 5, routes }).unwrap();
        let text = String::from_utf8(out).unwrap();
        let expected = " zone  to                 interface  via            state
65535  203.0.113.0/24     uplink     connected      -
65535  default            uplink     203.0.113.255  reachable
65535  198.51.100.128/25  uplink     203.0.113.255  incomplete

2 more (--limit)
";
        assert_eq!(text, expected);
        assert!(text.lines().all(|line| line.len() <= COLUMNS), "{text}");
    }
}
