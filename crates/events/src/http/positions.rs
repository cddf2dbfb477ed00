//! The headers by which a client reads what it wrote through another gateway, or after a restart.

use std::{collections::BTreeMap, fmt, str::FromStr};

/// The header of an answer: how much of the services' logs it tells of.
pub const POSITION_HEADER: &str = "tradewind-position";
/// The header of a request: how much of the logs its client has seen.
pub const AFTER_HEADER: &str = "tradewind-after";

/// The longest text that is read as positions, in characters.
const MAX_LENGTH: usize = 512;
/// The longest name of a service in it.
const MAX_SERVICE_LENGTH: usize = 32;

/// How much of the services' logs was seen: by service and partition, the sequence of an event.
///
/// ```text
/// positions = position *( "," position )
/// position  = service "." partition "=" sequence
/// service   = 1*32( "a"-"z" / "_" )
/// ```
///
/// Partition (32 bit) and sequence (64 bit) are decimal; there may be spaces around a position. All
/// of it has at most 512 characters. Of several positions in one log, the last event counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Positions(BTreeMap<(String, u32), u64>);

/// A text that is no positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be positions of earlier answers, such as catalog.0=12,order.0=40")]
pub struct PositionsError;

impl Positions {
    /// Adds that the log of a service in a partition was seen up to `sequence`; never takes anything
    /// back.
    pub fn add(&mut self, service: &str, partition: u32, sequence: u64) {
        let known = self.0.entry((service.to_owned(), partition)).or_default();
        *known = sequence.max(*known);
    }

    /// Adds all that other positions say.
    pub fn add_all(&mut self, other: &Self) {
        for (service, partition, sequence) in other.iter() {
            self.add(service, partition, sequence);
        }
    }

    /// Whether nothing was seen.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Service, partition and sequence of each.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u32, u64)> {
        self.0.iter().map(|((service, partition), sequence)| (&**service, *partition, *sequence))
    }
}

impl fmt::Display for Positions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (service, partition, sequence)) in self.iter().enumerate() {
            let separator = if number == 0 { "" } else { "," };
            write!(f, "{separator}{service}.{partition}={sequence}")?;
        }
        Ok(())
    }
}

impl FromStr for Positions {
    type Err = PositionsError;

    fn from_str(text: &str) -> Result<Self, PositionsError> {
        let mut positions = Self::default();
        if text.len() > MAX_LENGTH {
            return Err(PositionsError);
        }
        for part in text.split(',') {
            let (service, partition, sequence) = position(part.trim()).ok_or(PositionsError)?;
            positions.add(service, partition, sequence);
        }
        Ok(positions)
    }
}

/// Reads `service.partition=sequence`.
fn position(text: &str) -> Option<(&str, u32, u64)> {
    let (log, sequence) = text.split_once('=')?;
    let (service, partition) = log.split_once('.')?;
    let is_name = (1..=MAX_SERVICE_LENGTH).contains(&service.len())
        && service.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    is_name.then_some((service, number(partition)?, number(sequence)?))
}

/// Reads digits; Rust would take a sign as well.
fn number<T: FromStr>(text: &str) -> Option<T> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, shown: &str) {
        let read: Positions = text.parse().expect("it is good");
        assert_eq!(read.to_string(), shown);
    }

    #[test]
    fn positions_are_read_as_they_are_shown() {
        for text in ["catalog.0=12", "catalog.3=1,order.3=18446744073709551615", "new_one.0=0"] {
            check(text, text);
        }
        assert_eq!(Positions::default().to_string(), "");
    }

    #[test]
    fn of_several_positions_in_a_log_the_last_event_counts() {
        check("order.0=7, catalog.0=2,catalog.0=9 ,order.0=3", "catalog.0=9,order.0=7");
        let mut seen: Positions = "catalog.0=9,order.0=3".parse().expect("it is good");
        seen.add_all(&"order.0=7,order.1=1,catalog.0=2".parse().expect("it is good"));
        assert_eq!(seen.to_string(), "catalog.0=9,order.0=7,order.1=1");
    }

    #[test]
    fn a_text_that_is_no_positions_is_refused() {
        let long_name = format!("{}.0=1", "a".repeat(MAX_SERVICE_LENGTH + 1));
        let long = ["order.0=1"; 52].join(",");
        assert!(long.len() > MAX_LENGTH);
        for wrong in [
            "",
            "7",
            "order",
            "order.0",
            "order=7",
            "order.0=",
            "order.0=x",
            "order.0=-1",
            "order.0=+1",
            "order.+0=1",
            ".0=1",
            "ORDER.0=1",
            "order.0=1,",
            "order.0=1;x",
            "order.4294967296=1",
            "order.0=18446744073709551616",
            &long_name,
            &long,
        ] {
            assert_eq!(wrong.parse::<Positions>(), Err(PositionsError), "{wrong:?}");
        }
    }
}
