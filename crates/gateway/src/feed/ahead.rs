//! Reads the next page of a feed while the one before is sent.

use std::{mem, sync::Arc};

use tokio_util::task::AbortOnDropHandle;

use super::{
    pace::PAGE_LENGTH,
    reader::{FeedReader, Page},
};
use crate::{
    problem::{Code, Problem},
    state::AppState,
};

/// A reader, and the page that it reads ahead.
pub(super) struct ReadAhead {
    state: Arc<AppState>,
    next: Next,
}

/// The page that follows.
enum Next {
    /// It is read when it is asked for.
    Unread(Box<FeedReader>),
    /// It is being read.
    Reading(AbortOnDropHandle<(Box<FeedReader>, Result<Page, Problem>)>),
    /// Whoever asked for it did not wait for it, or reading it panicked.
    Lost,
}

impl ReadAhead {
    /// Reads with that reader, when the first page is asked for.
    pub(super) fn new(state: Arc<AppState>, reader: FeedReader) -> Self {
        Self { state, next: Next::Unread(Box::new(reader)) }
    }

    /// The next page. While it is sent the one behind it is read, unless this one is the last for now.
    pub(super) async fn page(&mut self) -> Result<Page, Problem> {
        let state = self.state.clone();
        let (reader, page) = match mem::replace(&mut self.next, Next::Lost) {
            Next::Unread(reader) => read(state, reader).await,
            Next::Reading(reading) => reading.await.map_err(|error| Problem::internal(&error))?,
            Next::Lost => {
                let detail = "a page of events was lost: connect again";
                return Err(Problem::new(Code::Unavailable, detail));
            }
        };
        let has_more = page.as_ref().is_ok_and(|page| !page.is_at_end);
        self.next = if has_more {
            let reading = tokio::spawn(read(self.state.clone(), reader));
            Next::Reading(AbortOnDropHandle::new(reading))
        } else {
            Next::Unread(reader)
        };
        page
    }
}

async fn read(
    state: Arc<AppState>,
    mut reader: Box<FeedReader>,
) -> (Box<FeedReader>, Result<Page, Problem>) {
    let mut page = reader.page();
    let read = state.feeds.read(&mut reader, &mut page, PAGE_LENGTH).await;
    (reader, read.map(|()| page))
}
