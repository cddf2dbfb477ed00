//! Records of a fixed size in a temporary file, so that the auditor's memory does not grow with what
//! it reads. Records with the same key are in the same bucket; a bucket at a time is read back.

use std::{
    fs::File,
    hash::{DefaultHasher, Hash, Hasher},
    io,
    os::unix::fs::FileExt,
};

/// Buckets of one kind of records: of ten million records, some 160,000 are in memory at a time.
const BUCKETS: usize = 64;
/// The bytes of a bucket that are written at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// Records of `SIZE` bytes by key.
#[derive(Debug)]
pub(crate) struct Scratch<const SIZE: usize> {
    buckets: Vec<Bucket>,
    /// Made with the first chunk.
    file: Option<File>,
    /// The chunks in the file.
    written: u64,
    failure: Option<io::Error>,
}

/// Records with some of the keys.
#[derive(Debug, Default, Clone)]
struct Bucket {
    /// The numbers of its chunks in the file.
    chunks: Vec<u64>,
    /// The records after these.
    rest: Vec<u8>,
}

impl<const SIZE: usize> Default for Scratch<SIZE> {
    fn default() -> Self {
        let buckets = vec![Bucket::default(); BUCKETS];
        Self { buckets, file: None, written: 0, failure: None }
    }
}

impl<const SIZE: usize> Scratch<SIZE> {
    /// The bytes of a chunk: whole records.
    const CHUNK: usize = CHUNK_BYTES / SIZE * SIZE;

    /// Adds a record. A failure to write is reported when the records are read back.
    pub(crate) fn push(&mut self, key: u64, record: &[u8; SIZE]) {
        if self.failure.is_some() {
            return;
        }
        let number = Self::number(key);
        let bucket = &mut self.buckets[number];
        bucket.rest.reserve_exact(Self::CHUNK - bucket.rest.len());
        bucket.rest.extend_from_slice(record);
        if bucket.rest.len() == Self::CHUNK {
            self.failure = self.write_chunk(number).err();
        }
    }

    fn write_chunk(&mut self, bucket: usize) -> io::Result<()> {
        let file = match &self.file {
            Some(file) => file,
            None => self.file.insert(tempfile::tempfile()?),
        };
        let bucket = &mut self.buckets[bucket];
        file.write_all_at(&bucket.rest, self.written * Self::CHUNK as u64)?;
        bucket.chunks.push(self.written);
        bucket.rest.clear();
        self.written += 1;
        Ok(())
    }

    /// The buckets by number.
    pub(crate) fn numbers() -> impl Iterator<Item = usize> {
        0..BUCKETS
    }

    /// The bucket of a key.
    pub(crate) fn number(key: u64) -> usize {
        key as usize % BUCKETS
    }

    /// Hands over the records of a bucket, in the order in which they were added.
    pub(crate) fn each(
        &mut self,
        bucket: usize,
        mut each: impl FnMut(&[u8; SIZE]),
    ) -> io::Result<()> {
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        let Bucket { chunks, rest } = &self.buckets[bucket];
        let mut chunk = vec![0; Self::CHUNK];
        if let Some(file) = &self.file {
            for number in chunks {
                file.read_exact_at(&mut chunk, number * Self::CHUNK as u64)?;
                chunk.as_chunks::<SIZE>().0.iter().for_each(&mut each);
            }
        }
        rest.as_chunks::<SIZE>().0.iter().for_each(each);
        Ok(())
    }

    /// The records of a bucket, read by `read`, in the order in which they were added.
    pub(crate) fn read<T>(
        &mut self,
        bucket: usize,
        mut read: impl FnMut(&[u8; SIZE]) -> T,
    ) -> io::Result<Vec<T>> {
        let mut records = Vec::new();
        self.each(bucket, |record| records.push(read(record)))?;
        Ok(records)
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
        // Several chunks for each key, and a rest.
        for number in 0..500_000_u64 {
            scratch.push(number % 100, &number.to_le_bytes());
        }
        let mut count = 0;
        for bucket in Scratch::<8>::numbers() {
            let numbers = scratch.read(bucket, |record| u64::from_le_bytes(*record));
            let numbers = numbers.expect("are read");
            assert!(numbers.is_sorted(), "{numbers:?}");
            assert!(numbers.iter().all(|it| Scratch::<8>::number(it % 100) == bucket));
            count += numbers.len();
        }
        assert_eq!(count, 500_000);
        assert!(scratch.written > 30, "{} chunks are in the file", scratch.written);
    }
}
