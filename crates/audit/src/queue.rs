//! Records of a fixed size that are read back in the order in which they were added, from a temporary
//! file, so that the auditor's memory does not grow with what it reads.

use std::{fs::File, io, os::unix::fs::FileExt};

/// The bytes that are written and read at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// Records of `SIZE` bytes, first in, first out.
#[derive(Debug, Default)]
pub(crate) struct Queue<const SIZE: usize> {
    /// Made with the first chunk.
    file: Option<File>,
    /// The chunks that were written, and how many of them were read.
    written: u64,
    read: u64,
    /// The chunk that is read now, and how much of it was taken.
    front: Vec<u8>,
    taken: usize,
    /// The records after those of the file.
    back: Vec<u8>,
    failure: Option<io::Error>,
}

impl<const SIZE: usize> Queue<SIZE> {
    /// The bytes of a chunk: whole records.
    const CHUNK: usize = CHUNK_BYTES / SIZE * SIZE;

    /// Adds a record. A failure to write is reported when a record is read back.
    pub(crate) fn push(&mut self, record: &[u8; SIZE]) {
        if self.failure.is_some() {
            return;
        }
        self.back.extend_from_slice(record);
        if self.back.len() == Self::CHUNK {
            self.failure = self.write_chunk().err();
        }
    }

    fn write_chunk(&mut self) -> io::Result<()> {
        let file = match &self.file {
            Some(file) => file,
            None => self.file.insert(tempfile::tempfile()?),
        };
        file.write_all_at(&self.back, self.written * Self::CHUNK as u64)?;
        self.back.clear();
        self.written += 1;
        Ok(())
    }

    /// The first record; none when there is none left.
    pub(crate) fn first(&mut self) -> io::Result<Option<[u8; SIZE]>> {
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        if self.taken == self.front.len() {
            self.taken = 0;
            match &self.file {
                Some(file) if self.read < self.written => {
                    self.front.resize(Self::CHUNK, 0);
                    file.read_exact_at(&mut self.front, self.read * Self::CHUNK as u64)?;
                    self.read += 1;
                }
                _ => self.front = std::mem::take(&mut self.back),
            }
        }
        Ok(self.front[self.taken..].first_chunk().copied())
    }

    /// Takes the first record away.
    pub(crate) fn take_first(&mut self) {
        self.taken = (self.taken + SIZE).min(self.front.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_in_the_order_in_which_they_were_added() {
        let mut queue = Queue::<8>::default();
        let mut expected = 0_u64;
        let mut take = |queue: &mut Queue<8>, count: u64| {
            for _ in 0..count {
                let record = queue.first().expect("is read").expect("is there");
                assert_eq!(u64::from_le_bytes(record), expected);
                queue.take_first();
                expected += 1;
            }
        };
        // Several chunks, read while others are added.
        (0..20_000_u64).for_each(|number| queue.push(&number.to_le_bytes()));
        take(&mut queue, 15_000);
        (20_000..50_000_u64).for_each(|number| queue.push(&number.to_le_bytes()));
        take(&mut queue, 35_000);
        assert_eq!(queue.first().expect("is read"), None);
        queue.push(&50_000_u64.to_le_bytes());
        take(&mut queue, 1);
        assert!(queue.written > 2, "{} chunks are in the file", queue.written);
    }
}
