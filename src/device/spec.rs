//! How a device is written in the config.
//!
//! The text is the user's word for a NIC; what DPDK makes of it is `device::dpdk`'s business. A [`DeviceSpec`]
//! that was parsed is safe to put into DPDK's own comma-separated syntax: no name in it holds a comma but
//! where the form says so.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// A device as the config names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum DeviceSpec {
    /// `"0000:01:00.0"`: a PCI address, bound to vfio-pci or to a bifurcated driver.
    Pci(String),
    /// `"af_packet:eth1"`: a kernel interface through an AF_PACKET socket.
    AfPacket(String),
    /// `"af_xdp:eth1"`: a kernel interface through an AF_XDP socket.
    AfXdp(String),
    /// `"tap:nat0"`: a TAP interface that natgate creates.
    Tap(String),
    /// `"memif:/run/x.sock"` or `"memif:/run/x.sock,server"`: shared memory with another process.
    Memif {
        /// Path of the socket.
        socket: PathBuf,
        /// Whether natgate is the side that listens.
        server: bool,
    },
    /// `"vdev:net_ring0,…"`: any other virtual device, in DPDK's own words.
    Vdev(String),
}

/// Why a text names no device.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeviceSpecError {
    /// No form begins like this.
    #[error(
        "\"{0}\" names no device; write \"0000:01:00.0\" (PCI address), \"af_packet:eth1\", \"af_xdp:eth1\", \
         \"tap:nat0\", \"memif:/run/natgate.sock\", \"memif:/run/natgate.sock,server\" or \"vdev:net_ring0\""
    )]
    Form(String),
    /// The name of a kernel interface without saying how to reach it.
    #[error(
        "\"{0}\" does not say how to reach the interface; write \"af_packet:{0}\" (any interface), \
         \"af_xdp:{0}\" (faster), or the NIC's PCI address, such as \"0000:01:00.0\" (fastest)"
    )]
    BareInterface(String),
    /// The kernel allows no such interface name.
    #[error(
        "\"{0}\" cannot be the name of a network interface: 1 to 15 characters without spaces, \"/\", \":\" \
         and \",\""
    )]
    Interface(String),
    /// The socket's path can not be used.
    #[error(
        "\"{0}\" cannot be the path of a memif socket: it is absolute, has at most 107 bytes and no \",\""
    )]
    Socket(String),
    /// A word behind the socket's path that is not a role.
    #[error("\"{0}\" is no role of a memif device; write \"server\" (listens) or \"client\"")]
    Role(String),
    /// The name of a virtual device does not begin with its driver's.
    #[error(
        "\"{0}\" cannot be a DPDK virtual device: it begins with the driver and a number, such as \"net_ring0\", \
         and arguments follow after commas"
    )]
    Vdev(String),
}

impl FromStr for DeviceSpec {
    type Err = DeviceSpecError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(address) = pci_address(text) {
            return Ok(DeviceSpec::Pci(address));
        }
        match text.split_once(':') {
            Some(("af_packet", name)) => interface_name(name).map(DeviceSpec::AfPacket),
            Some(("af_xdp", name)) => interface_name(name).map(DeviceSpec::AfXdp),
            Some(("tap", name)) => interface_name(name).map(DeviceSpec::Tap),
            Some(("memif", rest)) => memif(rest),
            Some(("vdev", rest)) => vdev(rest),
            None if interface_name(text).is_ok() => Err(DeviceSpecError::BareInterface(text.to_owned())),
            _ => Err(DeviceSpecError::Form(text.to_owned())),
        }
    }
}

impl fmt::Display for DeviceSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeviceSpec::Pci(address) => f.write_str(address),
            DeviceSpec::AfPacket(name) => write!(f, "af_packet:{name}"),
            DeviceSpec::AfXdp(name) => write!(f, "af_xdp:{name}"),
            DeviceSpec::Tap(name) => write!(f, "tap:{name}"),
            DeviceSpec::Memif { socket, server } => {
                write!(f, "memif:{}{}", socket.display(), if *server { ",server" } else { "" })
            }
            DeviceSpec::Vdev(devargs) => write!(f, "vdev:{devargs}"),
        }
    }
}

/// `[dddd:]bb:dd.f` in hexadecimal, as the kernel writes it: with the domain and in lower case.
fn pci_address(text: &str) -> Option<String> {
    let (head, function) = text.split_once('.')?;
    let mut parts = head.split(':').rev();
    let device = hex(parts.next()?, 2, 0x1f)?;
    let bus = hex(parts.next()?, 2, 0xff)?;
    let domain = parts.next().map_or(Some(0), |domain| hex(domain, 4, 0xffff))?;
    let function = hex(function, 1, 7)?;
    match parts.next() {
        Some(_) => None,
        None => Some(format!("{domain:04x}:{bus:02x}:{device:02x}.{function}")),
    }
}

fn hex(digits: &str, length: usize, most: u32) -> Option<u32> {
    if digits.len() != length || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    u32::from_str_radix(digits, 16).ok().filter(|number| *number <= most)
}

fn interface_name(name: &str) -> Result<String, DeviceSpecError> {
    let well_formed = (1..=15).contains(&name.len())
        && !name.contains(|c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | ':' | ','))
        && name != "."
        && name != "..";
    if well_formed { Ok(name.to_owned()) } else { Err(DeviceSpecError::Interface(name.to_owned())) }
}

fn memif(rest: &str) -> Result<DeviceSpec, DeviceSpecError> {
    let (socket, role) = rest.split_once(',').unwrap_or((rest, "client"));
    // A socket's path has to fit `sun_path` with its terminating zero.
    if !socket.starts_with('/') || socket.len() > 107 || socket.contains(char::is_control) {
        return Err(DeviceSpecError::Socket(socket.to_owned()));
    }
    let server = match role {
        "server" => true,
        "client" => false,
        other => return Err(DeviceSpecError::Role(other.to_owned())),
    };
    Ok(DeviceSpec::Memif { socket: PathBuf::from(socket), server })
}

fn vdev(devargs: &str) -> Result<DeviceSpec, DeviceSpecError> {
    let name = devargs.split(',').next().unwrap_or_default();
    let well_formed = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
        && name.len() < 64
        && !devargs.contains(char::is_control);
    if well_formed {
        Ok(DeviceSpec::Vdev(devargs.to_owned()))
    } else {
        Err(DeviceSpecError::Vdev(devargs.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_reads_back_what_it_prints() {
        for text in [
            "0000:01:00.0",
            "ffff:ff:1f.7",
            "af_packet:eth1",
            "af_xdp:enp1s0f0",
            "tap:nat0",
            "memif:/run/x.sock",
            "memif:/run/x.sock,server",
            "vdev:net_ring0",
            "vdev:net_pcap0,iface=eth1",
        ] {
            assert_eq!(text.parse::<DeviceSpec>().map(|spec| spec.to_string()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn a_pci_address_gets_its_domain_and_lower_case() {
        assert_eq!("3b:00.1".parse(), Ok(DeviceSpec::Pci("0000:3b:00.1".to_owned())));
        assert_eq!("0000:AF:00.0".parse(), Ok(DeviceSpec::Pci("0000:af:00.0".to_owned())));
    }

    #[test]
    fn the_client_is_the_role_of_a_memif_device_that_names_none() {
        let client = DeviceSpec::Memif { socket: PathBuf::from("/run/x.sock"), server: false };
        assert_eq!("memif:/run/x.sock".parse(), Ok(client.clone()));
        assert_eq!("memif:/run/x.sock,client".parse(), Ok(client));
    }

    #[test]
    fn an_interface_without_a_way_to_it_gets_a_suggestion() {
        let error = "eth1".parse::<DeviceSpec>().unwrap_err();
        assert!(error.to_string().contains("\"af_packet:eth1\""), "{error}");
    }

    #[test]
    fn what_names_no_device_is_refused() {
        for (text, error) in [
            ("", DeviceSpecError::Form(String::new())),
            ("pci:0000:01:00.0", DeviceSpecError::Form("pci:0000:01:00.0".into())),
            ("0000:01:20.0", DeviceSpecError::Form("0000:01:20.0".into())),
            ("00000:01:00.0", DeviceSpecError::Form("00000:01:00.0".into())),
            ("af_packet:", DeviceSpecError::Interface(String::new())),
            ("af_packet:eth1,qpairs=9", DeviceSpecError::Interface("eth1,qpairs=9".into())),
            ("af_xdp:a-name-of-sixteen", DeviceSpecError::Interface("a-name-of-sixteen".into())),
            ("tap:..", DeviceSpecError::Interface("..".into())),
            ("memif:x.sock", DeviceSpecError::Socket("x.sock".into())),
            ("memif:/run/x.sock,master", DeviceSpecError::Role("master".into())),
            ("vdev:", DeviceSpecError::Vdev(String::new())),
            ("vdev:,iface=eth0", DeviceSpecError::Vdev(",iface=eth0".into())),
        ] {
            assert_eq!(text.parse::<DeviceSpec>(), Err(error), "{text}");
        }
    }
}
