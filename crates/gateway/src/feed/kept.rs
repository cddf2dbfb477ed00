//! Readers that are kept between two pages, with what they have read of the logs.
//!
//! A page takes part of what is read of each log. Who asks for the page behind it soon gets the rest of that without
//! reading it again. Whoever comes later, or to another gateway, reads from the cursor on.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use protocol::id::Shop;
use tokio::time::Instant;

use super::{cursor::Cursor, reader::FeedReader, types::WantedTypes};

/// The most readers that are kept.
const MAX_KEPT: usize = 64;
/// The bytes of events that all of them may have read.
const MAX_KEPT_BYTES: usize = 32 << 20;
/// How long one is kept.
const KEPT_FOR: Duration = Duration::from_secs(10);

/// The readers that are kept, that which was kept first at the front.
#[derive(Debug, Default)]
pub(super) struct KeptReaders(Mutex<VecDeque<Kept>>);

struct Kept {
    shop: Shop,
    types: WantedTypes,
    cursor: Cursor,
    reader: FeedReader,
    bytes: usize,
    until: Instant,
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { shop, bytes, .. } = self;
        f.debug_struct("Kept").field("shop", shop).field("bytes", bytes).finish_non_exhaustive()
    }
}

impl KeptReaders {
    /// Takes the reader that is at this cursor, if there is one.
    pub(super) fn take(
        &self,
        shop: &Shop,
        types: &WantedTypes,
        cursor: &Cursor,
    ) -> Option<FeedReader> {
        let mut kept = self.lock();
        let is_it = |it: &Kept| it.shop == *shop && it.types == *types && it.cursor == *cursor;
        let index = kept.iter().position(is_it)?;
        kept.remove(index).map(|it| it.reader)
    }

    /// Keeps a reader that has read more than it gave out.
    pub(super) fn keep(&self, shop: Shop, types: WantedTypes, cursor: Cursor, reader: FeedReader) {
        let bytes = reader.bytes_ahead();
        if bytes == 0 || bytes > MAX_KEPT_BYTES {
            return;
        }
        let until = Instant::now() + KEPT_FOR;
        let mut kept = self.lock();
        kept.push_back(Kept { shop, types, cursor, reader, bytes, until });
        let mut all: usize = kept.iter().map(|it| it.bytes).sum();
        while let Some(first) = kept.front() {
            let is_over = first.until <= Instant::now();
            if !is_over && kept.len() <= MAX_KEPT && all <= MAX_KEPT_BYTES {
                break;
            }
            all -= first.bytes;
            kept.pop_front();
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use testkit::TestServer;

    use super::{
        super::{cursor::LogPosition, reader::tests::reader},
        *,
    };

    fn shop(name: &str) -> Shop {
        Shop::parse(name).expect("a name")
    }

    fn types(text: &str) -> WantedTypes {
        WantedTypes::parse(text).expect("there are such types")
    }

    fn at(position: u64) -> Cursor {
        let at = LogPosition { position, created_ms: 0 };
        Cursor([("order".to_owned(), at)].into())
    }

    #[tokio::test]
    async fn a_reader_is_taken_once_by_who_reads_on_where_it_is() {
        let server = TestServer::start().await;
        let kept = KeptReaders::default();
        kept.keep(shop("acme"), types("order.*"), at(7), reader(&server).await);
        let is_there = |name: &str, wanted: &str, position: u64| {
            kept.take(&shop(name), &types(wanted), &at(position)).is_some()
        };
        for (name, wanted, position) in
            [("other", "order.*", 7), ("acme", "order.paid", 7), ("acme", "order.*", 8)]
        {
            assert!(!is_there(name, wanted, position), "{name} {wanted} {position}");
        }
        assert!(is_there("acme", "order.*", 7));
        assert!(!is_there("acme", "order.*", 7));
    }

    #[tokio::test]
    async fn no_more_are_kept_than_may_be_and_none_for_long() {
        let server = TestServer::start().await;
        let kept = KeptReaders::default();
        let count = MAX_KEPT as u64;
        for position in 0..=count {
            kept.keep(shop("acme"), types("*"), at(position), reader(&server).await);
        }
        assert!(kept.take(&shop("acme"), &types("*"), &at(0)).is_none(), "it was kept first");
        assert!(kept.take(&shop("acme"), &types("*"), &at(1)).is_some());
        kept.lock().iter_mut().for_each(|it| it.until = Instant::now());
        kept.keep(shop("acme"), types("*"), at(count + 1), reader(&server).await);
        assert_eq!(kept.lock().len(), 1);
    }
}
