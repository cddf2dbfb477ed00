//! Sends the batches of an upload, several at once.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use futures::{
    Stream, StreamExt,
    stream::{self, FuturesOrdered},
};
use protocol::subject::Lane;
use tokio::time::{Instant, sleep_until};

use super::{
    Upload,
    section::{LineName, LineOutcome, Section, section},
};
use crate::{
    extract::RequestContext,
    problem::{Code, FieldError, Problem},
    services::Reply,
    state::AppState,
};

/// The most commands of an upload that are sent and not yet answered: together as many lines as a
/// service handles in two batches.
const MAX_COMMANDS_IN_FLIGHT: usize = 20;
/// How long the answer to a command of an upload is waited for. Longer than for other commands,
/// which are handled first.
const BULK_ANSWER_TIMEOUT: Duration = Duration::from_mins(1);
/// The part of the time of a request in which a report must be complete. The rest is for commands that are
/// being written to the inbox at the end of it, and for sending the report.
const REPORT_SHARE: f64 = 0.8;

/// A line that is not sent, because it is wrong.
#[derive(Debug)]
pub(crate) struct Refused<K> {
    /// What is wrong with it.
    pub(crate) errors: Vec<FieldError>,
    /// What is kept of it: it is sent with the lines beside it.
    pub(crate) kept: Option<K>,
}

/// A line that was read, or what is wrong with it.
pub(crate) type ReadLine<U> = Result<<U as Upload>::Line, Refused<<U as Upload>::Invalid>>;

/// Lines that are sent in one command.
pub(super) struct Batch<U: Upload> {
    /// The number of its first line, which tells the commands of a request apart; `None` when it is the
    /// only one. The same file has the same commands, also when it is sent from a later line on.
    pub(super) part: Option<usize>,
    /// The number of each line, and the line or what is wrong with it.
    pub(super) lines: Vec<(usize, ReadLine<U>)>,
}

/// Lines that were not sent because they are wrong, and the names of the others.
type Names = Vec<(usize, Result<LineName, Vec<FieldError>>)>;
type Batches<U> = Pin<Box<dyn Stream<Item = Result<Batch<U>, Problem>> + Send>>;
type SectionUnderWay = Pin<Box<dyn Future<Output = Section> + Send>>;

/// When the report on an upload must be complete: before its request has taken too long.
pub(crate) fn report_deadline(state: &AppState, context: &RequestContext) -> Instant {
    context.received + state.limits.request_timeout.mul_f64(REPORT_SHARE)
}

/// Sends each batch, several at once, up to the deadline. The results come in order: those of all lines that
/// were sent, and last why no further ones were read, if not all were. Once a batch cannot be sent, or is refused, or
/// the key of the upload is accepted no more or its shop suspended, no more are.
pub(super) fn send_all<U: Upload>(
    state: Arc<AppState>,
    context: RequestContext,
    (lane, deadline): (Lane, Option<Instant>),
    batches: impl Stream<Item = Result<Batch<U>, Problem>> + Send + 'static,
) -> impl Stream<Item = Result<Section, Problem>> + Send + 'static {
    let sending = Sending::<U> {
        state,
        context: Arc::new(context),
        lane,
        deadline,
        batches: Some(Box::pin(batches)),
        under_way: FuturesOrdered::new(),
        end: None,
    };
    stream::unfold(sending, |mut sending| async move {
        let next = sending.next().await?;
        Some((next, sending))
    })
}

/// An upload that is being sent.
struct Sending<U: Upload> {
    state: Arc<AppState>,
    context: Arc<RequestContext>,
    lane: Lane,
    deadline: Option<Instant>,
    /// What is not read yet; `None` when no more is.
    batches: Option<Batches<U>>,
    under_way: FuturesOrdered<SectionUnderWay>,
    /// Why no more is read. It takes its turn behind the commands that are under way, whose lines have results.
    end: Option<Problem>,
}

impl<U: Upload> Sending<U> {
    async fn next(&mut self) -> Option<Result<Section, Problem>> {
        let section = loop {
            let has_room = self.under_way.len() < MAX_COMMANDS_IN_FLIGHT;
            match &mut self.batches {
                // A branch that is dropped before it is ready has taken nothing.
                Some(batches) if has_room => tokio::select! {
                    biased;
                    Some(section) = self.under_way.next() => break section,
                    () = over(self.deadline) => self.stop_reading(Some(took_too_long())),
                    batch = batches.next() => match batch {
                        Some(Ok(batch)) => match check_admission(&self.state, &self.context).await {
                            Ok(()) => self.send(batch),
                            Err(problem) => self.stop_reading(Some(problem)),
                        },
                        Some(Err(problem)) => self.stop_reading(Some(problem)),
                        None => self.stop_reading(None),
                    },
                },
                _ => match self.under_way.next().await {
                    Some(section) => break section,
                    None => return self.end.take().map(Err),
                },
            }
        };
        if section.failure.is_some() {
            self.batches = None;
        }
        Some(Ok(section))
    }

    fn stop_reading(&mut self, problem: Option<Problem>) {
        self.batches = None;
        self.end = problem;
    }

    fn send(&mut self, batch: Batch<U>) {
        let (state, context) = (self.state.clone(), self.context.clone());
        let to = (self.lane, self.deadline);
        let sent = async move { send_batch::<U>(&state, &context, to, batch).await };
        self.under_way.push_back(Box::pin(sent));
    }
}

/// Refuses to go on with an upload whose key is accepted no more, or whose shop is suspended: it may run for hours.
async fn check_admission(state: &AppState, context: &RequestContext) -> Result<(), Problem> {
    let AppState { services, managed_keys, shops, clock, .. } = state;
    managed_keys.check(services, &context.caller, clock.now()).await?;
    shops.require(services, &context.shop, 0).await?;
    Ok(())
}

async fn over(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

fn took_too_long() -> Problem {
    let detail = "the upload took too long for one report: go on from next_line, or send it with `Accept: \
        application/x-ndjson`, which has no such limit";
    Problem::new(Code::TimedOut, detail)
}

async fn send_batch<U: Upload>(
    state: &AppState,
    context: &RequestContext,
    (lane, deadline): (Lane, Option<Instant>),
    batch: Batch<U>,
) -> Section {
    let mut valid = Vec::with_capacity(batch.lines.len());
    let (mut invalid, mut first_kept) = (Vec::new(), None);
    let mut names = Vec::with_capacity(batch.lines.len());
    for (number, line) in batch.lines {
        match line {
            Ok(read) => {
                names.push((number, Ok(U::name(&read))));
                valid.push(read);
            }
            Err(Refused { errors, kept }) => {
                names.push((number, Err(errors)));
                if let Some(kept) = kept {
                    first_kept.get_or_insert(number);
                    invalid.push((valid.len(), kept));
                }
            }
        }
    }
    if valid.is_empty() && invalid.is_empty() {
        let section = section(&names, &[], (None, None));
        return section.unwrap_or_else(|problem| failed(&names, first_kept, (problem, None)));
    }

    let count = valid.len();
    let command = context.command(batch.part, U::command(context, valid, invalid));
    let command_id = command.id.clone();
    let id = Some(&*command_id);
    let timeout = match lane {
        Lane::Live => state.answer_timeout,
        Lane::Bulk => BULK_ANSWER_TIMEOUT,
    };
    let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
    let timeout = left.map_or(timeout, |left| left.min(timeout));
    let handled = match state.services.send::<U::Answer>(context, lane, command, timeout).await {
        Ok(Reply::Answered(answer)) => U::outcomes(answer.body)
            .map_err(Problem::from)
            .and_then(|outcomes| section(&names, &outcomes, (Some(answer.replayed), id))),
        Ok(Reply::Pending(_)) => {
            section(&names, &vec![LineOutcome::PENDING; count], (Some(false), id))
        }
        Err(problem) => Err(problem),
    };
    handled.unwrap_or_else(|problem| failed(&names, first_kept, (problem, id)))
}

/// The results of a batch of which it is not known what became of its command. `first_kept` is the first of its
/// invalid lines that should have been kept: it may not be, so that it is to be sent again.
fn failed(
    names: &Names,
    first_kept: Option<usize>,
    (problem, command_id): (Problem, Option<&str>),
) -> Section {
    let sent = names.iter().filter(|(_, name)| name.is_ok()).count();
    // What can be named can be written.
    let outcomes = vec![LineOutcome::UNANSWERED; sent];
    let mut section = section(names, &outcomes, (None, command_id)).unwrap_or_default();
    section.first_open = section.first_open.into_iter().chain(first_kept).min();
    section.failure = Some(problem);
    section
}
