//! Whether a PCI NIC can be taken over, asked of the kernel before DPDK is: DPDK's own answer is silence.

use super::DpdkError;
use std::fs::{self, OpenOptions};
use std::io::ErrorKind;
use std::path::Path;

/// Kernel drivers that hand a device to user space.
const USER_SPACE: [&str; 3] = ["vfio-pci", "igb_uio", "uio_pci_generic"];
/// Kernel drivers that keep the device and let DPDK at its queues.
const BIFURCATED: [&str; 3] = ["mlx5_core", "mlx4_core", "mana"];

/// Checks the driver and, under VFIO, that nobody else has the device. `sys` and `dev` are `/sys` and `/dev`.
pub(super) fn check(address: &str, sys: &Path, dev: &Path) -> Result<(), DpdkError> {
    let device = sys.join("bus/pci/devices").join(address);
    if !device.exists() {
        return Err(DpdkError::NoPciDevice(address.to_owned()));
    }
    let Some(driver) = link_name(&device.join("driver")) else {
        return Err(DpdkError::PciUnbound(address.to_owned()));
    };
    if BIFURCATED.contains(&driver.as_str()) {
        return Ok(());
    }
    if !USER_SPACE.contains(&driver.as_str()) {
        return Err(DpdkError::PciDriver { address: address.to_owned(), driver });
    }
    match link_name(&device.join("iommu_group")) {
        Some(group) if driver == "vfio-pci" => check_group(address, &group, &dev.join("vfio")),
        _ => Ok(()),
    }
}

/// A VFIO group opens for one process at a time.
fn check_group(address: &str, group: &str, vfio: &Path) -> Result<(), DpdkError> {
    let plain = vfio.join(group);
    let path = if plain.exists() { plain } else { vfio.join(format!("noiommu-{group}")) };
    match OpenOptions::new().read(true).write(true).open(&path) {
        Err(error) if error.kind() == ErrorKind::ResourceBusy => Err(DpdkError::PciBusy(address.to_owned())),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            Err(DpdkError::PciDenied { address: address.to_owned(), path: path.display().to_string() })
        }
        // Whatever else is wrong is DPDK's to name.
        _ => Ok(()),
    }
}

fn link_name(link: &Path) -> Option<String> {
    Some(fs::read_link(link).ok()?.file_name()?.to_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    const ADDRESS: &str = "0000:01:00.0";

    fn machine(driver: Option<&str>) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let device = root.path().join("bus/pci/devices").join(ADDRESS);
        fs::create_dir_all(&device).unwrap();
        if let Some(driver) = driver {
            symlink(Path::new("../../drivers").join(driver), device.join("driver")).unwrap();
        }
        symlink("../../../kernel/iommu_groups/7", device.join("iommu_group")).unwrap();
        root
    }

    fn checked(driver: Option<&str>) -> Result<(), DpdkError> {
        let root = machine(driver);
        check(ADDRESS, root.path(), root.path())
    }

    #[test]
    fn a_nic_under_a_user_space_or_bifurcated_driver_can_be_taken() {
        for driver in USER_SPACE.iter().chain(&BIFURCATED) {
            assert_eq!(checked(Some(driver)), Ok(()), "{driver}");
        }
    }

    #[test]
    fn a_nic_under_a_kernel_driver_names_it_and_the_cure() {
        let error = checked(Some("ixgbe")).unwrap_err().to_string();
        assert!(error.contains("ixgbe") && error.contains("scripts/bind-nic bind 0000:01:00.0"), "{error}");
    }

    #[test]
    fn a_nic_without_driver_or_a_wrong_address_is_told_apart() {
        assert_eq!(checked(None), Err(DpdkError::PciUnbound(ADDRESS.into())));
        let root = machine(None);
        let nowhere = check("0000:02:00.0", root.path(), root.path());
        assert_eq!(nowhere, Err(DpdkError::NoPciDevice("0000:02:00.0".into())));
    }
}
