//! What the service decides. No I/O, no clock, no async.

mod apply;
pub(crate) mod attempt;
mod decide;
pub(crate) mod endpoint;
pub(crate) mod health;
mod input;
pub(crate) mod ledger;
pub(crate) mod rendering;
pub(crate) mod rows;
pub(crate) mod schedule;
pub(crate) mod sequence;
#[cfg(test)]
mod tests;

use engine::{Aggregate, Decision, Recorded, Revision, Rules};
use protocol::time::Timestamp;

use self::rows::{SCHEDULE, State};
pub(crate) use self::{
    endpoint::{DisabledReason, Endpoint, NewSecret, SealedValue, Settings},
    input::{
        DisableRequest, Failed, Input, Published, PublishedEvent, ReplayProgress, Request, Round,
    },
    ledger::{Run, Selection},
    rendering::Rendering,
};
use crate::Notify;

/// The type of a test delivery.
pub(crate) const TEST_EVENT_TYPE: &str = "webhook.test";

/// Something happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The endpoint; empty for what is scheduled.
    pub endpoint_id: String,
    /// What happened.
    pub fact: Fact,
}

/// What can happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// The endpoint came into being.
    Created {
        /// How it works.
        settings: Settings,
        /// Its secret; none for mails.
        secret: Option<NewSecret>,
    },
    /// Its settings changed.
    Changed {
        /// How it worked.
        before: Settings,
        /// How it works from then on.
        after: Settings,
    },
    /// It is sent nothing any more.
    Disabled {
        /// Why.
        reason: DisabledReason,
        /// Why, for people.
        note: String,
    },
    /// It is sent to again.
    Enabled {
        /// Whether what was held meanwhile is delivered.
        deliver_held: bool,
    },
    /// It exists no more.
    Deleted,
    /// It has a new secret.
    SecretRotated {
        /// The new secret.
        secret: NewSecret,
        /// Until when the secrets before it sign as well.
        old_expire_at: Timestamp,
    },
    /// Values of it are encrypted with another key; they say the same.
    ValuesRewrapped {
        /// Each as it was, and as it is from then on.
        values: Vec<(SealedValue, SealedValue)>,
    },
    /// It will be disabled if it goes on to fail.
    FailureWarned {
        /// When the first of the failures was.
        since: Timestamp,
    },
    /// Events were scheduled for the endpoints that they match.
    Scheduled(Scheduled),
    /// Deliveries were attempted.
    Attempted(Attempted),
    /// A test delivery was scheduled.
    TestScheduled {
        /// Its `endpoint_seq`.
        seq: u64,
        /// How its body is made.
        rendering: Rendering,
    },
    /// Deliveries are sent once more.
    ReplayStarted {
        /// Identifies the replay.
        id: String,
        /// The first `endpoint_seq`.
        from: u64,
        /// The last `endpoint_seq`.
        to: u64,
        /// Which deliveries between them.
        selection: Selection,
        /// The most that it sends in a second; `None`: as many as the endpoint takes.
        max_per_second: Option<u32>,
    },
    /// A replay was cancelled.
    ReplayCancelled {
        /// The replay.
        id: String,
    },
    /// A delivery that waited is not attempted any more.
    DeliveryAborted {
        /// Which.
        seq: u64,
    },
    /// What became of the endpoint was scheduled for others.
    Announced {
        /// What became of it.
        news: EndpointNotice,
        /// To which endpoints it is delivered.
        to: Vec<Announcement>,
    },
}

/// A delivery of what became of another endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// The endpoint that it is delivered to.
    pub endpoint_id: String,
    /// Its `endpoint_seq` there.
    pub seq: u64,
    /// How its body is made there.
    pub rendering: Rendering,
}

/// What other endpoints are told of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndpointNotice {
    /// It was disabled, and not on request.
    Disabled {
        /// Why.
        reason: DisabledReason,
    },
    /// It has failed for half the time after which it is disabled.
    Failing {
        /// When the first of the failures was.
        since: Timestamp,
    },
}

impl EndpointNotice {
    /// The type of its deliveries.
    pub fn event_type(&self) -> &'static str {
        match self {
            Self::Disabled { .. } => "webhook.endpoint_disabled",
            Self::Failing { .. } => "webhook.endpoint_failing",
        }
    }
}

/// Events that were scheduled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scheduled {
    /// The service that wrote them.
    pub service: String,
    /// The positions of the events in its log, ascending.
    pub positions: Vec<u64>,
    /// The type of each.
    pub types: Vec<String>,
    /// The endpoints that they match.
    pub matches: Vec<Match>,
}

/// Which of the scheduled events match an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match {
    /// The endpoint.
    pub endpoint_id: String,
    /// The `endpoint_seq` of the first.
    pub first_seq: u64,
    /// Their indexes among the scheduled events, ascending.
    pub indexes: Vec<u32>,
    /// How their bodies are made.
    pub rendering: Rendering,
}

/// Deliveries that were attempted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempted {
    /// Counts these events of the endpoint, from 1.
    pub round: u64,
    /// What was delivered: runs of numbers, by the first and the last of each.
    pub delivered: Vec<(u64, u64)>,
    /// What failed.
    pub failures: Vec<Failure>,
    /// What has to wait behind an earlier delivery of the same aggregate.
    pub behind: Vec<(u64, String)>,
    /// How far replays have got.
    pub replays: Vec<ReplayProgress>,
    /// Whether the endpoint is overloaded.
    pub is_overloaded: bool,
}

/// An attempt that failed, and what follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Which delivery.
    pub seq: u64,
    /// Counts its attempts, from 1.
    pub attempt: u32,
    /// What went wrong.
    pub error_class: String,
    /// The HTTP status, or for a mail the reply code of SMTP; 0 without an answer.
    pub status: u16,
    /// When it is tried again; `None` when it is not.
    pub due_at: Option<Timestamp>,
    /// Whether it is not sent again though its schedule is not at its end: the endpoint asked for that, it was aborted on
    /// request, or there is nobody that a mail could be sent to.
    pub is_aborted: bool,
    /// The replay that has asked for it: what is tried again is still of that.
    pub replay: Option<String>,
    /// The aggregate whose later events wait for it; empty where none do.
    pub key: String,
}

/// What the sender of a command is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// What became of it.
    pub outcome: Outcome,
    /// The endpoint from then on; `None` when there is none.
    pub endpoint: Option<(String, Endpoint)>,
    /// The `endpoint_seq` of the test delivery; 0 without one.
    pub seq: u64,
}

/// What became of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The endpoint is new.
    Created,
    /// It is done.
    Changed,
    /// It was so already.
    Unchanged,
    /// There is one of that id.
    Exists,
    /// There is no such endpoint, replay or delivery.
    Unknown,
    /// It has another version than was expected.
    OtherVersion,
    /// There are as many already as there may be.
    TooMany,
    /// It is disabled, so that nothing can be sent to it.
    Disabled,
}

impl Rules for Notify {
    type State = State;

    fn aggregate(event: &Event) -> Aggregate {
        match event.fact {
            Fact::Scheduled(_) => Aggregate::new("schedule", SCHEDULE),
            _ => Aggregate::new("endpoint", &event.endpoint_id),
        }
    }

    fn revision(state: &State, event: &Event) -> Revision {
        let revision = match event.fact {
            Fact::Scheduled(_) => {
                state.schedule.get(&SCHEDULE.to_owned()).map(|schedule| schedule.revision)
            }
            _ => state.endpoints.get(&event.endpoint_id).map(|row| row.endpoint.revision),
        };
        revision.unwrap_or_default()
    }

    /// Events of one log are scheduled together: with one event, whatever their number.
    fn merge(input: &mut Input, next: &Input) -> bool {
        let (Input::Published(published), Input::Published(next)) = (input, next) else {
            return false;
        };
        let is_merged = published.service == next.service;
        if is_merged {
            published.events.extend(next.events.iter().cloned());
        }
        is_merged
    }

    fn decide(&self, state: &State, input: &Input, now: Timestamp) -> Decision<Event, Answer> {
        match input {
            Input::Command { endpoint_id, request, expected_version } => {
                decide::command(state, endpoint_id, (request, *expected_version), now)
            }
            Input::Published(published) => {
                self.remember(published);
                Decision::events(Vec::from_iter(decide::published(state, published)))
            }
            Input::Attempted { endpoint_id, round } => {
                let usual = &self.retry_pauses_s;
                Decision::events(decide::attempted(state, endpoint_id, round, usual, now))
            }
        }
    }

    fn apply(state: &mut State, event: &Recorded<Event>) {
        apply::apply(state, event);
    }
}
