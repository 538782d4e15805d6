//! Values that are written as text: lengths of time, sizes, shares, rates, ports, prefixes, addresses. Pure functions
//! from the text to the value or to a [`ValueError`] that says what to write instead.

use crate::conntrack::policy::Share;
use ipnet::{Ipv4AddrRange, Ipv4Net};
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

/// Longest timeout: far from the wrap of a session's tick.
pub const MAX_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 3600);
/// Shortest timeout.
pub const MIN_TIMEOUT: Duration = Duration::from_secs(1);

/// A text that is not the value that it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// No length of time at all.
    #[error("\"{0}\" is not a length of time")]
    Duration(String),
    /// A number without a unit where a length of time belongs.
    #[error("{0} has no unit")]
    DurationWithoutUnit(String),
    /// An `M`, which is a month to humantime and a minute to most readers.
    #[error("the M in \"{0}\" could be a minute or a month")]
    Months(String),
    /// Out of bounds.
    #[error("\"{0}\" is not between 1 second and 365 days")]
    DurationRange(String),
    /// No size at all.
    #[error("\"{0}\" is not a size")]
    Size(String),
    /// A number without a unit where a size belongs.
    #[error("{0} has no unit")]
    SizeWithoutUnit(String),
    /// Out of bounds.
    #[error("\"{0}\" is not between 16MiB and 1TiB")]
    SizeRange(String),
    /// No percentage at all.
    #[error("\"{0}\" is not a percentage")]
    Share(String),
    /// A number without a percent sign where a share belongs.
    #[error("{0} has no percent sign")]
    ShareWithoutSign(String),
    /// Finer than a share can be.
    #[error("\"{0}\" has more than two decimals")]
    SharePrecision(String),
    /// More than all.
    #[error("\"{0}\" is more than 100%")]
    ShareRange(String),
    /// No rate at all.
    #[error("\"{0}\" is not a rate")]
    Rate(String),
    /// A number without a unit where a rate belongs.
    #[error("{0} does not say how long it takes")]
    RateWithoutUnit(String),
    /// Per minute, say.
    #[error("\"{0}\" is not a rate per second")]
    RatePeriod(String),
    /// Out of bounds.
    #[error("\"{0}\" is not between 1/s and 100000000/s")]
    RateRange(String),
    /// Not a number of 32 bits.
    #[error("\"{0}\" is not a number of 32 bits")]
    Mark(String),
    /// Not a port and not a range of them.
    #[error("\"{0}\" is not a port or a range of ports from 1 to 65535")]
    Port(String),
    /// Begins after its end.
    #[error("the range \"{0}\" begins after its end")]
    Reversed(String),
    /// Not an IPv4 address.
    #[error("\"{0}\" is not an IPv4 address")]
    Address(String),
    /// IPv6 where only IPv4 is supported.
    #[error("\"{0}\" is IPv6, which natgate does not translate yet")]
    Ipv6(String),
    /// Not a prefix.
    #[error("\"{0}\" is not an IPv4 prefix")]
    Prefix(String),
    /// Neither a prefix nor the name of a set.
    #[error("\"{0}\" is neither an IPv4 prefix nor a set")]
    Member(String),
    /// An interface's address without a prefix length.
    #[error("\"{0}\" has no prefix length")]
    PrefixLength(String),
    /// A prefix with bits set behind its length.
    #[error("\"{given}\" has bits set behind its prefix length")]
    HostBits {
        /// As written.
        given: String,
        /// The prefix that it lies in.
        network: Ipv4Net,
    },
    /// Not an address, range or prefix.
    #[error("\"{0}\" is not an address, a range or a prefix")]
    Range(String),
    /// Not a backend.
    #[error("\"{0}\" is not a backend address")]
    Backend(String),
    /// Not an address and port to listen on.
    #[error("\"{0}\" is not an address and port to listen on")]
    Listener(String),
}

impl ValueError {
    /// What to write instead.
    pub fn cure(&self) -> String {
        match self {
            ValueError::Duration(_) | ValueError::DurationWithoutUnit(_) => {
                "timeouts are written with a unit, such as \"5m\", \"90s\" or \"2h4m\"".into()
            }
            ValueError::Months(_) => "write \"m\" for minutes, \"d\" for days".into(),
            ValueError::DurationRange(_) => "choose a timeout in that range, such as \"5m\"".into(),
            ValueError::Size(_) | ValueError::SizeWithoutUnit(_) => {
                "sizes are written with a unit, such as \"512MiB\" or \"2GiB\"".into()
            }
            ValueError::SizeRange(_) => "choose a size in that range, such as \"512MiB\"".into(),
            ValueError::Share(_) | ValueError::ShareWithoutSign(_) => {
                "shares of the table are written with a percent sign, such as \"1%\" or \"0.25%\"".into()
            }
            ValueError::SharePrecision(_) => "round it to hundredths of a percent, such as \"0.25%\"".into(),
            ValueError::ShareRange(_) => "choose a share from \"0%\" to \"100%\"".into(),
            ValueError::Rate(_) | ValueError::RateWithoutUnit(_) | ValueError::RatePeriod(_) => {
                "rates are written per second, such as \"100/s\"".into()
            }
            ValueError::RateRange(_) => "choose a rate in that range, such as \"100/s\"".into(),
            ValueError::Mark(_) => "write a number from 0 to 4294967295, or \"0x0\" to \"0xffffffff\"".into(),
            ValueError::Port(_) => "write a port such as 8080, or a range such as \"8000-8010\"".into(),
            ValueError::Reversed(_) => "swap the two ends".into(),
            ValueError::Address(_) => "write four numbers from 0 to 255, such as \"192.168.1.1\"".into(),
            ValueError::Ipv6(_) => "use an IPv4 address".into(),
            ValueError::Prefix(_) => {
                "write an address, a slash and a length from 0 to 32, such as \"192.168.1.0/24\"".into()
            }
            ValueError::Member(_) => {
                "write a prefix such as \"192.168.1.0/24\", or \"set.NAME\" for the prefixes of [set.NAME]"
                    .into()
            }
            ValueError::PrefixLength(text) => format!("add the length of the network, such as \"{text}/24\""),
            ValueError::HostBits { network, given } => {
                let host = given.split('/').next().unwrap_or(given);
                format!("write \"{network}\" for the network, or \"{host}/32\" for the single address")
            }
            ValueError::Range(_) => {
                "write \"203.0.113.20\", \"203.0.113.10-203.0.113.12\" or \"203.0.113.64/28\"".into()
            }
            ValueError::Listener(_) => {
                "write an address of this machine and a port, such as \"127.0.0.1:9469\" or \"[::1]:9469\""
                    .into()
            }
            ValueError::Backend(_) => {
                "write an address, or an address and a port: \"192.168.1.10\" or \"192.168.1.10:80\"".into()
            }
        }
    }
}

/// A timeout such as `5m` or `2h4m`.
pub fn duration(text: &str) -> Result<Duration, ValueError> {
    let owned = || text.to_owned();
    if !text.is_empty() && text.trim().chars().all(|c| c.is_ascii_digit() || c == '.' || c == '-') {
        return Err(ValueError::DurationWithoutUnit(format!("\"{text}\"")));
    }
    if text.contains('M') {
        return Err(ValueError::Months(owned()));
    }
    let length = humantime::parse_duration(text).map_err(|_| ValueError::Duration(owned()))?;
    if (MIN_TIMEOUT..=MAX_TIMEOUT).contains(&length) {
        Ok(length)
    } else {
        Err(ValueError::DurationRange(owned()))
    }
}

/// A size such as `512MiB`, in MiB rounded up.
pub fn mebibytes(text: &str) -> Result<u32, ValueError> {
    const MEBIBYTE: u64 = 1 << 20;
    if !text.is_empty() && text.chars().all(|c| c.is_ascii_digit()) {
        return Err(ValueError::SizeWithoutUnit(format!("\"{text}\"")));
    }
    let size: bytesize::ByteSize = text.parse().map_err(|_| ValueError::Size(text.to_owned()))?;
    let mebibytes = size.as_u64().div_ceil(MEBIBYTE);
    u32::try_from(mebibytes)
        .ok()
        .filter(|size| (16..=1 << 20).contains(size))
        .ok_or_else(|| ValueError::SizeRange(text.to_owned()))
}

/// Largest rate: more than any gateway opens.
const MAX_RATE: u32 = 100_000_000;

fn all_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A share such as `1%` or `0.25%`.
pub fn share(text: &str) -> Result<Share, ValueError> {
    let owned = || text.to_owned();
    let Some(number) = text.trim().strip_suffix('%') else {
        let bare = text.trim().parse::<f64>().is_ok();
        let quoted = || ValueError::ShareWithoutSign(format!("\"{text}\""));
        return Err(if bare { quoted() } else { ValueError::Share(owned()) });
    };
    let (whole, decimals) = number.trim_end().split_once('.').unwrap_or((number.trim_end(), "0"));
    if !all_digits(whole) || !all_digits(decimals) {
        return Err(ValueError::Share(owned()));
    }
    if decimals.len() > 2 {
        return Err(ValueError::SharePrecision(owned()));
    }
    // Hundredths of a percent are basis points.
    let points: Option<u32> = format!("{whole}{decimals:0<2}").parse().ok();
    let points = points.filter(|points| *points <= u32::from(Share::WHOLE.basis_points()));
    let points = points.and_then(|points| u16::try_from(points).ok());
    points.map(Share::from_basis_points).ok_or_else(|| ValueError::ShareRange(owned()))
}

/// A rate such as `100/s`, a second.
pub fn rate(text: &str) -> Result<u32, ValueError> {
    let owned = || text.to_owned();
    let (number, period) = match text.split_once('/') {
        Some((number, period)) => (number.trim(), period.trim()),
        None if all_digits(text.trim()) => return Err(ValueError::RateWithoutUnit(format!("\"{text}\""))),
        None => return Err(ValueError::Rate(owned())),
    };
    if !all_digits(number) || period.is_empty() {
        return Err(ValueError::Rate(owned()));
    }
    if period != "s" {
        return Err(ValueError::RatePeriod(owned()));
    }
    let rate = number.parse().ok().filter(|rate| (1..=MAX_RATE).contains(rate));
    rate.ok_or_else(|| ValueError::RateRange(owned()))
}

/// A mark such as `0x2a` or `42`.
pub fn mark(text: &str) -> Result<u32, ValueError> {
    let mark = match text.strip_prefix("0x") {
        // `from_str_radix` would take a sign.
        Some(digits) if digits.starts_with('+') => None,
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => all_digits(text).then(|| text.parse().ok()).flatten(),
    };
    mark.ok_or_else(|| ValueError::Mark(text.to_owned()))
}

/// A port from 1 to 65535.
fn port(text: &str) -> Option<u16> {
    // `parse` would take a sign.
    all_digits(text).then(|| text.parse().ok()).flatten().filter(|port| *port != 0)
}

/// A port such as `80`, or a range such as `8000-8010`.
pub fn ports(text: &str) -> Result<RangeInclusive<u16>, ValueError> {
    let bad = || ValueError::Port(text.to_owned());
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let range = port(first.trim()).ok_or_else(bad)?..=port(last.trim()).ok_or_else(bad)?;
    if range.is_empty() { Err(ValueError::Reversed(text.to_owned())) } else { Ok(range) }
}

/// An IPv4 address.
pub fn address(text: &str) -> Result<Ipv4Addr, ValueError> {
    text.parse().map_err(|_| otherwise(text, ValueError::Address))
}

fn otherwise(text: &str, error: impl FnOnce(String) -> ValueError) -> ValueError {
    let owned = text.to_owned();
    if text.split('/').next().is_some_and(|head| head.parse::<std::net::Ipv6Addr>().is_ok()) {
        ValueError::Ipv6(owned)
    } else {
        error(owned)
    }
}

/// An address with the length of its network, such as `192.168.1.1/24`.
pub fn interface_address(text: &str) -> Result<Ipv4Net, ValueError> {
    if text.parse::<Ipv4Addr>().is_ok() {
        return Err(ValueError::PrefixLength(text.to_owned()));
    }
    text.parse().map_err(|_| otherwise(text, ValueError::Prefix))
}

/// A network such as `10.0.0.0/8`; a single address is a /32.
pub fn prefix(text: &str) -> Result<Ipv4Net, ValueError> {
    if let Ok(address) = text.parse::<Ipv4Addr>() {
        return Ok(Ipv4Net::from(address));
    }
    let net: Ipv4Net = text.parse().map_err(|_| otherwise(text, ValueError::Prefix))?;
    if net.addr() == net.network() {
        Ok(net)
    } else {
        Err(ValueError::HostBits { given: text.to_owned(), network: net.trunc() })
    }
}

/// As [`prefix`], where a set would do too.
pub fn member(text: &str) -> Result<Ipv4Net, ValueError> {
    prefix(text).map_err(|error| match error {
        ValueError::Prefix(text) => ValueError::Member(text),
        other => other,
    })
}

/// First and last address of `203.0.113.20`, `203.0.113.10-203.0.113.12` or `203.0.113.64/28` (all of it).
pub fn address_range(text: &str) -> Result<(Ipv4Addr, Ipv4Addr), ValueError> {
    if let Some((first, last)) = text.split_once('-') {
        let range = (address(first.trim())?, address(last.trim())?);
        return if range.0 <= range.1 { Ok(range) } else { Err(ValueError::Reversed(text.to_owned())) };
    }
    if text.contains('/') {
        return prefix(text).map(|net| (net.network(), net.broadcast()));
    }
    text.parse().map(|address| (address, address)).map_err(|_| otherwise(text, ValueError::Range))
}

/// How many addresses lie from `first` to `last`.
pub fn count(first: Ipv4Addr, last: Ipv4Addr) -> u64 {
    (u64::from(u32::from(last)) + 1).saturating_sub(u64::from(u32::from(first)))
}

/// The addresses from `first` to `last`.
pub fn expand(first: Ipv4Addr, last: Ipv4Addr) -> Ipv4AddrRange {
    Ipv4AddrRange::new(first, last)
}

/// A backend: an address, and a port if it is given.
pub fn backend(text: &str) -> Result<(Ipv4Addr, Option<u16>), ValueError> {
    let (host, number) = match text.split_once(':') {
        Some((host, number)) => (host, Some(number)),
        None => (text, None),
    };
    let host = host.parse().map_err(|_| otherwise(text, ValueError::Backend))?;
    match number.map(port) {
        None => Ok((host, None)),
        Some(Some(number)) => Ok((host, Some(number))),
        Some(None) => Err(ValueError::Backend(text.to_owned())),
    }
}

/// An address of this machine and a port to listen on, of either IP version.
pub fn listener(text: &str) -> Result<SocketAddr, ValueError> {
    let address: Option<SocketAddr> = text.parse().ok();
    address.filter(|address| address.port() != 0).ok_or_else(|| ValueError::Listener(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_of_time_has_a_unit_and_bounds() {
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(duration("2h4m"), Ok(Duration::from_secs(7440)));
        assert_eq!(duration("5 days"), Ok(Duration::from_secs(432_000)));
        assert_eq!(duration("300"), Err(ValueError::DurationWithoutUnit("\"300\"".into())));
        assert_eq!(duration("5M"), Err(ValueError::Months("5M".into())));
        assert_eq!(duration("soon"), Err(ValueError::Duration("soon".into())));
        assert_eq!(duration(""), Err(ValueError::Duration(String::new())));
        assert_eq!(duration("0s"), Err(ValueError::DurationRange("0s".into())));
        assert_eq!(duration("2y"), Err(ValueError::DurationRange("2y".into())));
    }

    #[test]
    fn a_size_has_a_unit_and_is_rounded_up_to_mebibytes() {
        assert_eq!(mebibytes("512MiB"), Ok(512));
        assert_eq!(mebibytes("2GiB"), Ok(2048));
        assert_eq!(mebibytes("100MB"), Ok(96));
        assert_eq!(mebibytes("512"), Err(ValueError::SizeWithoutUnit("\"512\"".into())));
        assert_eq!(mebibytes("1KiB"), Err(ValueError::SizeRange("1KiB".into())));
        assert_eq!(mebibytes("lots"), Err(ValueError::Size("lots".into())));
        assert!(mebibytes("99999999999999999999999TiB").is_err());
    }

    #[test]
    fn a_share_is_a_percentage_with_at_most_two_decimals() {
        let points = |text| share(text).map(Share::basis_points);
        assert_eq!(points("1%"), Ok(100));
        assert_eq!(points("0.25%"), Ok(25));
        assert_eq!(points("99.9 %"), Ok(9990));
        assert_eq!(points("0%"), Ok(0));
        assert_eq!(points("100%"), Ok(10_000));
        assert_eq!(points("100.00%"), Ok(10_000));
        assert_eq!(points("0.5"), Err(ValueError::ShareWithoutSign("\"0.5\"".into())));
        assert_eq!(points("0.255%"), Err(ValueError::SharePrecision("0.255%".into())));
        for large in ["100.01%", "101%", "99999999999999999999%"] {
            assert_eq!(points(large), Err(ValueError::ShareRange(large.into())));
        }
        for bad in ["", "%", "half", "-1%", "+1%", "1.%", ".5%", "1,5%", "1.2.3%", "1 0%"] {
            assert_eq!(points(bad), Err(ValueError::Share(bad.into())), "{bad}");
        }
    }

    #[test]
    fn every_share_is_read_back_as_it_is_printed() {
        for points in 0..=10_000 {
            let printed = Share::from_basis_points(points).to_string();
            assert_eq!(share(&printed), Ok(Share::from_basis_points(points)), "{printed}");
        }
    }

    #[test]
    fn a_rate_is_a_whole_number_per_second() {
        assert_eq!(rate("100/s"), Ok(100));
        assert_eq!(rate("1 / s"), Ok(1));
        assert_eq!(rate("100"), Err(ValueError::RateWithoutUnit("\"100\"".into())));
        assert_eq!(rate("6000/min"), Err(ValueError::RatePeriod("6000/min".into())));
        assert_eq!(rate("0/s"), Err(ValueError::RateRange("0/s".into())));
        assert_eq!(rate("99999999999/s"), Err(ValueError::RateRange("99999999999/s".into())));
        for bad in ["", "/s", "1/", "-1/s", "+1/s", "0.5/s", "fast", "1/s/s"] {
            assert!(matches!(rate(bad), Err(ValueError::Rate(_) | ValueError::RatePeriod(_))), "{bad}");
        }
    }

    #[test]
    fn a_mark_is_decimal_or_hexadecimal_and_has_32_bits() {
        assert_eq!(mark("42"), Ok(42));
        assert_eq!(mark("0x2a"), Ok(42));
        assert_eq!(mark("0xFFFFFFFF"), Ok(u32::MAX));
        for bad in ["", "0x", "0x100000000", "4294967296", "-1", "+1", "0x+1", "2a", "0b1"] {
            assert_eq!(mark(bad), Err(ValueError::Mark(bad.into())), "{bad}");
        }
    }

    #[test]
    fn a_port_range_is_ordered_and_has_no_port_zero() {
        assert_eq!(ports("80"), Ok(80..=80));
        assert_eq!(ports("1024-65535"), Ok(1024..=65535));
        assert_eq!(ports("8010-8000"), Err(ValueError::Reversed("8010-8000".into())));
        for bad in ["0", "65536", "1-2-3", "-1", "+5", "http", "", "80-"] {
            assert_eq!(ports(bad), Err(ValueError::Port(bad.into())), "{bad}");
        }
    }

    #[test]
    fn a_prefix_has_no_host_bits_and_an_interface_address_has_a_length() {
        assert_eq!(prefix("10.0.0.0/8").map(|net| net.to_string()), Ok("10.0.0.0/8".into()));
        assert_eq!(prefix("10.0.0.1").map(|net| net.to_string()), Ok("10.0.0.1/32".into()));
        assert!(matches!(prefix("10.0.0.1/8"), Err(ValueError::HostBits { .. })));
        assert_eq!(prefix("10.0.0.0/33"), Err(ValueError::Prefix("10.0.0.0/33".into())));
        assert_eq!(prefix("2001:db8::/32"), Err(ValueError::Ipv6("2001:db8::/32".into())));
        assert_eq!(interface_address("10.0.0.1"), Err(ValueError::PrefixLength("10.0.0.1".into())));
    }

    #[test]
    fn pool_addresses_are_single_ranges_or_whole_prefixes() {
        let a = |last| Ipv4Addr::new(203, 0, 113, last);
        assert_eq!(address_range("203.0.113.20"), Ok((a(20), a(20))));
        assert_eq!(address_range("203.0.113.10 - 203.0.113.12"), Ok((a(10), a(12))));
        assert_eq!(address_range("203.0.113.64/28"), Ok((a(64), a(79))));
        assert_eq!(count(a(10), a(12)), 3);
        assert_eq!(expand(a(10), a(12)).collect::<Vec<_>>(), [a(10), a(11), a(12)]);
        assert!(matches!(address_range("203.0.113.12-203.0.113.10"), Err(ValueError::Reversed(_))));
        assert!(matches!(address_range("public"), Err(ValueError::Range(_))));
    }

    #[test]
    fn a_listener_has_an_address_and_a_port() {
        assert_eq!(listener("127.0.0.1:9469").map(|at| at.to_string()), Ok("127.0.0.1:9469".into()));
        assert_eq!(listener("[::1]:9469").map(|at| at.to_string()), Ok("[::1]:9469".into()));
        for bad in ["127.0.0.1", ":9469", "9469", "127.0.0.1:0", "localhost:9469", "::1:9469x", ""] {
            assert_eq!(listener(bad), Err(ValueError::Listener(bad.into())), "{bad}");
        }
    }

    #[test]
    fn a_backend_may_leave_the_port_to_the_client() {
        let host = Ipv4Addr::new(192, 168, 1, 10);
        assert_eq!(backend("192.168.1.10:80"), Ok((host, Some(80))));
        assert_eq!(backend("192.168.1.10"), Ok((host, None)));
        for bad in ["192.168.1.10:0", "192.168.1.10:", "web:80", "192.168.1.10:80:80"] {
            assert_eq!(backend(bad), Err(ValueError::Backend(bad.into())), "{bad}");
        }
    }
}
