//! What the readers of the feed share.

use std::time::Duration;

use tokio::{sync::Semaphore, time::timeout};

use super::{
    kept::KeptReaders,
    reader::{FeedReader, Page},
    tail::Tails,
};
use crate::problem::{Code, Problem};

/// The most pages that are read at once: what is in memory of them is bounded.
const MAX_READING: usize = 64;
/// How long a page waits for its turn to be read.
const TURN_TIMEOUT: Duration = Duration::from_secs(5);

/// What the readers of the feed share.
#[derive(Debug)]
pub(crate) struct Feeds {
    /// The pages that may be read at once.
    reading: Semaphore,
    pub(super) tails: Tails,
    pub(super) kept: KeptReaders,
}

impl Default for Feeds {
    fn default() -> Self {
        Self {
            reading: Semaphore::new(MAX_READING),
            tails: Tails::default(),
            kept: KeptReaders::default(),
        }
    }
}

impl Feeds {
    /// Reads on when it is the reader's turn.
    pub(super) async fn read(
        &self,
        reader: &mut FeedReader,
        page: &mut Page,
        limit: usize,
    ) -> Result<(), Problem> {
        let turn = timeout(TURN_TIMEOUT, self.reading.acquire()).await;
        let Ok(Ok(_turn)) = turn else {
            let detail = "too many pages of events are read at once: send it again in a moment";
            return Err(Problem::new(Code::Overloaded, detail));
        };
        Ok(reader.read(page, limit).await?)
    }
}
