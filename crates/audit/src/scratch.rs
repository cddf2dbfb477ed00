//! Records of a fixed size in temporary files, so that the auditor's memory does not grow with what
//! it reads. Records with the same key are in the same bucket, and a bucket at a time is read back.

use std::{
    fs::File,
    hash::{DefaultHasher, Hash, Hasher},
    io::{self, BufWriter, Read, Seek, Write},
};

/// Buckets of one kind of records: at ten million records, some 160,000 are in memory at a time.
const BUCKETS: u64 = 64;

/// Records of `SIZE` bytes by key.
#[derive(Debug)]
pub(crate) struct Scratch<const SIZE: usize> {
    /// Made with their first record.
    buckets: [Option<BufWriter<File>>; BUCKETS as usize],
    failure: Option<io::Error>,
}

impl<const SIZE: usize> Default for Scratch<SIZE> {
    fn default() -> Self {
        Self { buckets: [const { None }; BUCKETS as usize], failure: None }
    }
}

impl<const SIZE: usize> Scratch<SIZE> {
    /// Adds a record. That it could not be written is told when the records are read back.
    pub(crate) fn push(&mut self, key: u64, record: &[u8; SIZE]) {
        if self.failure.is_none()
            && let Err(error) = self.write(key, record)
        {
            self.failure = Some(error);
        }
    }

    fn write(&mut self, key: u64, record: &[u8; SIZE]) -> io::Result<()> {
        let bucket = &mut self.buckets[(key % BUCKETS) as usize];
        let file = match bucket {
            Some(file) => file,
            None => bucket.insert(BufWriter::new(tempfile::tempfile()?)),
        };
        file.write_all(record)
    }

    /// The buckets by number, to be read back with [`Self::read`].
    pub(crate) fn numbers() -> impl Iterator<Item = u64> {
        0..BUCKETS
    }

    /// Takes the records of a bucket, in the order in which they were added.
    pub(crate) fn read(&mut self, bucket: u64) -> io::Result<Vec<[u8; SIZE]>> {
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        let Some(file) = self.buckets[bucket as usize].take() else { return Ok(Vec::new()) };
        let mut file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.rewind()?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(bytes.as_chunks::<SIZE>().0.to_vec())
    }
}

/// A number for what is compared. Two things of ten million have the same by chance in one run of
/// 300,000; a finding would then be false, and gone in the next run only if the logs had grown.
pub(crate) fn fingerprint(of: impl Hash) -> u64 {
    // The same in every run: its keys are fixed.
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_in_order_and_those_of_a_key_from_one_bucket() {
        let mut scratch = Scratch::<8>::default();
        for number in 0..1_000_u64 {
            scratch.push(number % 100, &number.to_le_bytes());
        }
        let mut read = 0;
        for bucket in Scratch::<8>::numbers() {
            let records = scratch.read(bucket).expect("are read");
            let numbers: Vec<_> = records.into_iter().map(u64::from_le_bytes).collect();
            assert!(numbers.is_sorted(), "{numbers:?}");
            assert!(numbers.iter().all(|number| number % 100 % BUCKETS == bucket));
            read += numbers.len();
        }
        assert_eq!(read, 1_000);
    }
}
