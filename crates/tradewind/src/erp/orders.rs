//! Pushes the purchase orders of an EDI file: one request each, which names its document, so that an order
//! that comes again is placed once.

use std::{
    collections::BTreeMap,
    fs::File,
    io::BufReader,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use client::{Client, Error};
use node::say;
use reqwest::StatusCode;
use tokio::{sync::mpsc, task::spawn_blocking, time::sleep};

use super::{
    edi::{self, Documents, Found, Order, OrderLines},
    file::{DocumentLine, FileLine, Original, Unreadable},
    mapping::{Elements, Mapping},
    push::Pushed,
    rejects::Rejects,
};

/// The orders that are read ahead.
const ORDERS_AHEAD: usize = 8;
/// How often it is asked for the answer to an order that was stored, and the pause between two requests.
const MAX_REQUESTS: u32 = 30;
const ANSWER_PAUSE: Duration = Duration::from_secs(1);

/// A file of orders that is pushed.
pub(super) struct OrderPush {
    pub(super) client: Client,
    pub(super) file: PathBuf,
    pub(super) mapping: Mapping,
    /// Where the list of rejected orders is written.
    pub(super) rejects: PathBuf,
}

/// A file of orders that is open.
struct Source {
    documents: Documents<BufReader<File>>,
    mapping: Mapping,
    elements: Elements,
}

/// An order of the file, or why it cannot be sent.
struct Document {
    line: FileLine,
    order: Result<Order, String>,
}

impl OrderPush {
    /// Pushes it to its end, and says what became of its orders.
    pub(super) async fn push(&self) -> Result<Pushed> {
        let (file, mapping) = (self.file.clone(), self.mapping.clone());
        let opening = spawn_blocking(move || open(&file, mapping));
        let source = opening.await.context("open the file")?.context(Unreadable)?;
        // The list of an earlier run is there until the file can be read.
        let mut rejects = Rejects::new(&self.rejects, &self.file, &self.mapping)?;
        let (documents_in, mut documents) = mpsc::channel(ORDERS_AHEAD);
        let reading = spawn_blocking(move || read(source, &documents_in));
        let mut results: BTreeMap<&str, u64> = BTreeMap::new();
        let (mut count, mut rejected) = (0, 0);
        while let Some(Document { line, order }) = documents.recv().await {
            let placed = match order {
                Ok(order) => self.place(&order).await?,
                Err(reason) => Err(reason),
            };
            count += 1;
            let result = match placed {
                Ok(result) => result,
                Err(reason) => {
                    rejected += 1;
                    rejects.add(&line, &reason)?;
                    "rejected"
                }
            };
            *results.entry(result).or_default() += 1;
        }
        reading.await.context("read the file")?.context(Unreadable)?;
        rejects.finish()?;
        let results: Vec<_> = results.iter().map(|(result, n)| format!("{n} {result}")).collect();
        let results = if results.is_empty() { "nothing".to_owned() } else { results.join(", ") };
        say!("{}: {count} orders: {results}", self.file.display());
        Ok(Pushed { lines: count, rejected })
    }

    /// Places an order. Yields what became of it, or why it was rejected; fails when that cannot be known,
    /// and for what is not about the order.
    async fn place(
        &self,
        Order { idempotency_key, body }: &Order,
    ) -> Result<Result<&'static str, String>> {
        for _ in 0..MAX_REQUESTS {
            let answer = self.client.place(body, idempotency_key, None).await?;
            match answer.status {
                // Stored, and not answered in time: the same request is answered once it is handled.
                StatusCode::ACCEPTED => sleep(ANSWER_PAUSE).await,
                status if status.is_success() && answer.replayed => return Ok(Ok("repeated")),
                status if status.is_success() => return Ok(Ok("placed")),
                _ => {
                    let Err(error) = answer.succeeded() else { continue };
                    let is_of_order = matches!(&error, Error::Problem(problem)
                        if matches!(problem.status, 400 | 409 | 413 | 422));
                    return if is_of_order { Ok(Err(reason(&error))) } else { Err(error.into()) };
                }
            }
        }
        bail!("an order was stored and is not answered: push {} again", self.file.display())
    }
}

/// Why an order was rejected.
fn reason(error: &Error) -> String {
    let Some(problem) = error.problem() else { return error.to_string() };
    let errors = problem.errors.iter().map(|error| format!("{}: {}", error.field, error.detail));
    let errors: Vec<_> = errors.collect();
    let detail = if errors.is_empty() { problem.detail.clone() } else { errors.join("; ") };
    format!("{}: {detail}", problem.code)
}

/// Opens a file that is complete.
fn open(file: &Path, mapping: Mapping) -> Result<Source> {
    let Some(elements) = mapping.elements.clone() else {
        bail!("orders are read from EDI files: name a mapping with --mapping");
    };
    let opened = || {
        let opened = File::open(file).with_context(|| format!("open {}", file.display()));
        opened.map(BufReader::new)
    };
    edi::check(opened()?, &elements.message, false)?;
    let documents = Documents::open(opened()?, &elements.message)?;
    Ok(Source { documents, mapping, elements })
}

/// Reads the orders of a file.
fn read(source: Source, orders: &mpsc::Sender<Document>) -> Result<()> {
    let Source { mut documents, mapping, elements } = source;
    let of = (&mapping, &elements);
    let mut lines = OrderLines::default();
    while let Some(found) = documents.next()? {
        let end = match found {
            Found::Line(line) => {
                lines.add(&documents, &line, of);
                continue;
            }
            Found::End(end) => end,
        };
        let order = std::mem::take(&mut lines).order(&documents, of);
        let (document, segment) = (documents.name(), documents.text(&end.begin));
        let original = Original::Segment(DocumentLine { document, segment });
        let number = end.begin.position;
        let line = FileLine { number, original, sent: Vec::new(), note: None };
        if orders.blocking_send(Document { line, order }).is_err() {
            return Ok(());
        }
    }
    Ok(())
}
