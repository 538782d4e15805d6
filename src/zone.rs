//! Zones: address spaces that may overlap. Each interface lies in one, by a number that the operator gives it (0 if
//! none); an internal address means something only within its zone.
//!
//! A [`ZoneMap`] holds what a snapshot knows of each zone. Most gateways have one zone and few have more than a
//! handful, so it is a list, and finding a zone costs a comparison for each one before it.

/// Something for every zone of a snapshot.
#[derive(Clone, Debug)]
pub struct ZoneMap<T> {
    /// Every number once.
    numbers: Box<[u16]>,
    values: Box<[T]>,
}

impl<T> ZoneMap<T> {
    /// Makes the value of each zone. What is named twice counts once.
    pub fn new(zones: impl IntoIterator<Item = u16>, mut make: impl FnMut(u16) -> T) -> ZoneMap<T> {
        let mut numbers: Vec<u16> = Vec::new();
        for zone in zones {
            if !numbers.contains(&zone) {
                numbers.push(zone);
            }
        }
        ZoneMap { values: numbers.iter().map(|zone| make(*zone)).collect(), numbers: numbers.into() }
    }

    /// The value of a zone; `None` if the snapshot has no such zone.
    #[inline]
    pub fn get(&self, zone: u16) -> Option<&T> {
        self.values.get(self.numbers.iter().position(|number| *number == zone)?)
    }

    /// The value of every zone.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.values.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_zone_has_its_value_and_no_other_zone_has_one() {
        let mut made = 0;
        let map = ZoneMap::new([0, 65535, 7, 0, 7], |zone| {
            made += 1;
            u32::from(zone) + 1
        });
        assert_eq!(
            [0, 65535, 7, 8].map(|zone| map.get(zone).copied()),
            [Some(1), Some(65536), Some(8), None]
        );
        assert_eq!((made, map.values().count()), (3, 3));
    }
}
