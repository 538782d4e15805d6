//! How a device is written in the config, and what that means.

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

/// The text does not name a device.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// Neither a PCI address nor one of the known kinds.
    #[error("\"{0}\" is not a device")]
    Unknown(String),
    /// The kernel does not allow such an interface name.
    #[error("\"{0}\" is not a name of a kernel interface (1 to 15 characters without blanks, '/' and ',')")]
    InterfaceName(String),
    /// No absolute path of a socket, or an option other than `server`.
    #[error("\"{0}\" is not a memif socket (an absolute path, then \",server\" for the side that listens)")]
    Memif(String),
    /// Nothing behind `vdev:`.
    #[error("\"vdev:\" needs a device in DPDK's words, such as \"vdev:net_ring0\"")]
    Vdev,
}

impl FromStr for DeviceSpec {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let (kind, rest) = text.split_once(':').unwrap_or((text, ""));
        match kind {
            "af_packet" => kernel_interface(rest).map(DeviceSpec::AfPacket),
            "af_xdp" => kernel_interface(rest).map(DeviceSpec::AfXdp),
            "tap" => kernel_interface(rest).map(DeviceSpec::Tap),
            "memif" => memif(rest),
            "vdev" if rest.is_empty() => Err(SpecError::Vdev),
            "vdev" => Ok(DeviceSpec::Vdev(rest.to_owned())),
            _ => pci(text).map(DeviceSpec::Pci).ok_or_else(|| SpecError::Unknown(text.to_owned())),
        }
    }
}

fn kernel_interface(name: &str) -> Result<String, SpecError> {
    // IFNAMSIZ with its final zero; a comma would end the value in the EAL's arguments.
    let fits = (1..16).contains(&name.len()) && name != "." && name != "..";
    let clean = name.chars().all(|c| c.is_ascii_graphic() && c != '/' && c != ',' && c != ':');
    if fits && clean { Ok(name.to_owned()) } else { Err(SpecError::InterfaceName(name.to_owned())) }
}

fn memif(text: &str) -> Result<DeviceSpec, SpecError> {
    let (path, option) = text.split_once(',').unwrap_or((text, ""));
    let socket = PathBuf::from(path);
    match option {
        "" | "server" if socket.is_absolute() => Ok(DeviceSpec::Memif { socket, server: option == "server" }),
        _ => Err(SpecError::Memif(text.to_owned())),
    }
}

/// `domain:bus:device.function`, where the domain may be left out, in the form with the domain.
fn pci(text: &str) -> Option<String> {
    let (head, function) = text.split_once('.')?;
    let mut parts = head.rsplit(':');
    let (device, bus) = (parts.next()?, parts.next()?);
    let domain = parts.next().unwrap_or("0000");
    let hex = |part: &str, len| part.len() == len && part.chars().all(|c| c.is_ascii_hexdigit());
    let valid = parts.next().is_none()
        && hex(domain, 4)
        && hex(bus, 2)
        && hex(device, 2)
        && matches!(function.as_bytes(), [b'0'..=b'7']);
    valid.then(|| format!("{domain}:{bus}:{device}.{function}").to_ascii_lowercase())
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
            DeviceSpec::Vdev(text) => write!(f, "vdev:{text}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_reads_back_what_it_prints() {
        for text in [
            "0000:01:00.0",
            "af_packet:eth1",
            "af_xdp:eth1",
            "tap:nat0",
            "memif:/run/x.sock",
            "memif:/run/x.sock,server",
            "vdev:net_ring0,nodeaction=x",
        ] {
            assert_eq!(text.parse::<DeviceSpec>().map(|spec| spec.to_string()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn a_pci_address_without_its_domain_is_the_same_device() {
        assert_eq!("01:00.0".parse(), Ok(DeviceSpec::Pci("0000:01:00.0".into())));
        assert_eq!("0000:0A:00.0".parse(), Ok(DeviceSpec::Pci("0000:0a:00.0".into())));
    }

    #[test]
    fn what_names_no_device_is_refused() {
        for bad in [
            "",
            "eth1",
            "af_packet:",
            "af_packet:a-name-that-is-too-long",
            "tap:a/b",
            "memif:x.sock",
            "memif:/x,client",
            "vdev:",
            "0000:01:00.8",
            "0000:1:00.0",
            "0000:01:00",
        ] {
            assert!(bad.parse::<DeviceSpec>().is_err(), "{bad}");
        }
    }
}
