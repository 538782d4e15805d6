//! Some of the interfaces.

use crate::ids::{InterfaceId, MAX_INTERFACES};

/// Some interfaces: bit n stands for number n.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct InterfaceMask(pub u64);

const _: () = assert!(MAX_INTERFACES <= 64);

impl InterfaceMask {
    /// Every interface.
    pub const ALL: InterfaceMask = InterfaceMask(u64::MAX);

    /// Whether an interface is one of them.
    #[inline]
    pub fn contains(self, id: InterfaceId) -> bool {
        self.0 >> (id.0 & 63) & 1 == 1
    }

    /// Those of both.
    #[must_use]
    pub fn and(self, other: InterfaceMask) -> InterfaceMask {
        InterfaceMask(self.0 & other.0)
    }
}

impl FromIterator<InterfaceId> for InterfaceMask {
    fn from_iter<I: IntoIterator<Item = InterfaceId>>(ids: I) -> Self {
        InterfaceMask(ids.into_iter().fold(0, |mask, id| mask | 1 << (id.0 & 63)))
    }
}
