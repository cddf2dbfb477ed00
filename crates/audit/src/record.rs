//! Records of a fixed size: what the auditor writes to its temporary files, field by field.

use super::LogPosition;

/// Writes the fields of a record, one after the other; bytes that no field takes are zero.
pub(crate) struct Writer<const SIZE: usize> {
    bytes: [u8; SIZE],
    at: usize,
}

impl<const SIZE: usize> Writer<SIZE> {
    pub(crate) fn new() -> Self {
        Self { bytes: [0; SIZE], at: 0 }
    }

    fn bytes(mut self, bytes: &[u8]) -> Self {
        let end = self.at + bytes.len();
        self.bytes[self.at..end].copy_from_slice(bytes);
        self.at = end;
        self
    }

    pub(crate) fn u8(self, value: u8) -> Self {
        self.bytes(&[value])
    }

    pub(crate) fn u32(self, value: u32) -> Self {
        self.bytes(&value.to_le_bytes())
    }

    pub(crate) fn u64(self, value: u64) -> Self {
        self.bytes(&value.to_le_bytes())
    }

    pub(crate) fn u128(self, value: u128) -> Self {
        self.bytes(&value.to_le_bytes())
    }

    pub(crate) fn i64(self, value: i64) -> Self {
        self.bytes(&value.to_le_bytes())
    }

    pub(crate) fn position(self, position: PackedPosition) -> Self {
        let PackedPosition { log, sequence } = position;
        self.u32(log).u64(sequence)
    }

    pub(crate) fn finish(self) -> [u8; SIZE] {
        self.bytes
    }
}

/// Reads the fields of a record in the order in which they were written.
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(record: &'a [u8]) -> Self {
        Self(record)
    }

    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let (first, rest) = self.0.split_first_chunk().expect("a record has all its fields");
        self.0 = rest;
        *first
    }

    pub(crate) fn u8(&mut self) -> u8 {
        u8::from_le_bytes(self.bytes())
    }

    pub(crate) fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.bytes())
    }

    pub(crate) fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.bytes())
    }

    pub(crate) fn u128(&mut self) -> u128 {
        u128::from_le_bytes(self.bytes())
    }

    pub(crate) fn i64(&mut self) -> i64 {
        i64::from_le_bytes(self.bytes())
    }

    pub(crate) fn position(&mut self) -> PackedPosition {
        PackedPosition { log: self.u32(), sequence: self.u64() }
    }
}

/// A [`LogPosition`] as it is in a record: the log by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PackedPosition {
    log: u32,
    sequence: u64,
}

impl PackedPosition {
    /// The bytes that it takes in a record.
    pub(crate) const SIZE: usize = 12;
}

/// The logs by number.
#[derive(Debug, Default)]
pub(crate) struct LogNumbers(Vec<(&'static str, u32)>);

impl LogNumbers {
    /// A position as it goes into a record.
    pub(crate) fn pack(&mut self, position: LogPosition) -> PackedPosition {
        let LogPosition { service, partition, sequence } = position;
        let known = self.0.iter().position(|known| *known == (service, partition));
        let log = known.unwrap_or_else(|| {
            self.0.push((service, partition));
            self.0.len() - 1
        });
        PackedPosition { log: log as u32, sequence }
    }

    /// The position of a record.
    pub(crate) fn unpack(&self, PackedPosition { log, sequence }: PackedPosition) -> LogPosition {
        let (service, partition) = self.0[log as usize];
        LogPosition { service, partition, sequence }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_back_as_they_were_written() {
        let mut logs = LogNumbers::default();
        let [_, second] = ["order", "payment"]
            .map(|service| logs.pack(LogPosition { service, partition: 3, sequence: 9 }));
        let record: [u8; 49] =
            Writer::new().u8(7).u32(8).u64(9).u128(10).i64(-11).position(second).finish();
        let mut reader = Reader::new(&record);
        assert_eq!((reader.u8(), reader.u32(), reader.u64()), (7, 8, 9));
        assert_eq!((reader.u128(), reader.i64()), (10, -11));
        let LogPosition { service, partition, sequence } = logs.unpack(reader.position());
        assert_eq!((service, partition, sequence), ("payment", 3, 9));
    }
}
