//! What is under way to one endpoint, in the memory of the process that sends it. All of it can be
//! lost: what is due is in the row of the endpoint and beside it.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use tokio::{
    task::{JoinHandle, JoinSet},
    time::Instant,
};

use super::{
    rate::Bucket,
    ready::{Kind, ReadyQueues},
    sent::{Sent, disable_request},
};
use crate::domain::attempt::Attempt;
use crate::domain::{
    ReplayProgress, Round,
    endpoint::Ordering,
    health::{BREAKER_FAILED_PERCENT, BREAKER_MIN_REQUESTS},
    ledger::Ledger,
    sequence::SeqSet,
};
use crate::wire::rendering::key;

/// The most deliveries whose outcomes are handed in at once.
pub(super) const MAX_ROUND: usize = 1_000;

/// The most deliveries of which is kept that they were attempted again.
const MAX_RETRIED: usize = 10_000;

/// What is under way to one endpoint.
#[derive(Default)]
pub(super) struct Lane {
    /// Deliveries that are ready to be sent, in order.
    pub(super) ready: ReadyQueues,
    /// The ordering that it is sent in.
    ordering: Option<Ordering>,
    pub(super) in_flight: JoinSet<Sent>,
    /// The numbers of those, each with why it is sent and the replay that asked for it.
    pub(super) flying: BTreeMap<u64, (Kind, Option<Arc<str>>)>,
    /// What was sent and is not handed in yet, and since when there is some.
    pub(super) finished: Vec<Sent>,
    pub(super) finished_since: Option<Instant>,
    /// How many of those have failed, whether something waits for one of them, and whether one of the answers asks for
    /// less.
    failed: u64,
    is_waited_for: bool,
    is_asked_for_less: bool,
    /// What waits behind one that failed, to be handed in.
    pub(super) behind: Vec<(u64, String)>,
    /// What was handed in and is not known to be in the log, with the round that it is to be.
    handed: Option<Submission>,
    /// The last round of the log that is known here.
    round: Option<u64>,
    /// What failed before and was attempted again here, with the attempts that were in the log then:
    /// the database may not know of them yet.
    pub(super) retried: HashMap<u64, u32>,
    /// For what is sent in order: how many deliveries of an aggregate have failed or wait behind one.
    pub(super) blocked: Option<HashMap<String, u64>>,
    /// For what is sent in order: the aggregates of which one is in flight.
    pub(super) busy: HashSet<String>,
    /// How far each replay was taken up, and how far that was handed in.
    pub(super) replays: HashMap<String, (u64, u64)>,
    /// How many deliveries the endpoint takes now, where it takes so many in a second.
    pub(super) bucket: Bucket,
    /// The same for each replay that sends so many in a second.
    pub(super) replay_buckets: HashMap<Arc<str>, Bucket>,
    /// Since when a replay has to wait: what it sends next cannot be read yet.
    pub(super) replay_waits_since: Option<Instant>,
    /// When retries that are due were last looked for.
    pub(super) looked_for_retries: Option<Instant>,
    /// Writes down how the attempts of the last round went.
    pub(super) recording: Option<JoinHandle<()>>,
}

/// What was handed in.
struct Submission {
    /// The round that it is to be.
    round: u64,
    sent: Vec<Sent>,
    behind: Vec<(u64, String)>,
    /// The replays whose progress is in it, and how far that of each was handed in before.
    replays: Vec<(String, u64)>,
}

impl Lane {
    /// Compares what was handed in with the log. What is not in it will be handed in again; when the
    /// log has gone on without us, another process has sent, and everything here is out of date.
    pub(super) fn confirm(&mut self, ledger: &Ledger) {
        let is_ours = match self.handed.take() {
            Some(Submission { round, .. }) if round == ledger.round => true,
            Some(lost) if self.round == Some(ledger.round) => {
                self.finished.splice(0..0, lost.sent);
                self.behind.splice(0..0, lost.behind);
                for (id, before) in lost.replays {
                    self.replays.entry(id).and_modify(|(_, handed)| *handed = before);
                }
                self.finished_since.get_or_insert_with(Instant::now);
                self.note_anew();
                true
            }
            Some(_) => false,
            None => self.round.is_none_or(|round| round == ledger.round),
        };
        if !is_ours {
            let replay_buckets = std::mem::take(&mut self.replay_buckets);
            *self = Self { bucket: self.bucket, replay_buckets, ..Self::default() };
        }
        self.round = Some(ledger.round);
        self.drop_what_is_over(ledger);
        let is_idle = self.finished.is_empty() && self.behind.is_empty() && self.flying.is_empty();
        if is_idle && ledger.retries.is_empty() && ledger.behind == 0 {
            // Nothing waits for anything, whatever became of it: it may have been aborted on request.
            self.blocked.iter_mut().for_each(HashMap::clear);
        }
        if self.retried.len() > MAX_RETRIED {
            // The database knows them by now; one that it does not is sent twice.
            self.retried.clear();
        }
    }

    /// Drops what is ready and not to be sent any more: what was held, delivered or aborted meanwhile, and what is of
    /// replays that do not go on.
    pub(super) fn drop_what_is_over(&mut self, ledger: &Ledger) {
        self.ready.retain(|ready| match ready.kind() {
            // The ledger does not say which deliveries are tried again, only when, and many are due at the same time.
            Kind::Retry => {
                ready.due.is_some_and(|due| ledger.has_retry(due, ready.was_delivered))
                    && !ledger.was_aborted(ready.seq)
            }
            Kind::Fresh => {
                !(ledger.attempted.contains(ready.seq) || ledger.held.contains(ready.seq))
            }
            Kind::Replay if ready.is_new => ledger.held.contains(ready.seq),
            Kind::Replay => !(ready.is_open && ledger.was_aborted(ready.seq)),
        });
        let is_running = |id: &str| ledger.running_replays().any(|replay| replay.id == *id);
        self.replays.retain(|id, _| is_running(id));
        self.replay_buckets.retain(|id, _| is_running(id));
        self.ready.retain(|ready| ready.replay.as_ref().is_none_or(|(id, _)| is_running(id)));
    }

    /// Takes up another ordering, once nothing is under way in the one before; says whether it is the
    /// one that it works in.
    pub(super) fn order_as(&mut self, ordering: Ordering) -> bool {
        if self.ordering == Some(ordering) {
            return true;
        }
        if !self.in_flight.is_empty() {
            return false;
        }
        self.ordering = Some(ordering);
        (self.blocked, self.busy) = (None, HashSet::new());
        for ready in self.ready.iter_mut() {
            ready.key = match ordering {
                Ordering::PerKey => key(&ready.service, &ready.event),
                Ordering::Parallel | Ordering::Fifo => String::new(),
            };
        }
        true
    }

    /// The deliveries that are ready, in flight, or sent and not handed in yet.
    pub(super) fn taken(&self) -> SeqSet {
        let mut taken = SeqSet::default();
        let ready = self.ready.iter().map(|ready| ready.seq);
        let sent = self.finished.iter().map(|sent| sent.seq);
        let behind = self.behind.iter().map(|(seq, _)| *seq);
        for seq in ready.chain(self.flying.keys().copied()).chain(sent).chain(behind) {
            taken.insert(seq, seq);
        }
        taken
    }

    /// How many of those that are in flight are sent again: retries and replays.
    pub(super) fn again_in_flight(&self) -> usize {
        self.flying.values().filter(|(kind, _)| *kind != Kind::Fresh).count()
    }

    /// Notes what came of a delivery.
    pub(super) fn finish(&mut self, sent: Sent) {
        self.flying.remove(&sent.seq);
        self.busy.remove(&sent.key);
        if let Some(blocked) = &mut self.blocked
            && !sent.key.is_empty()
            && !sent.was_delivered
        {
            let is_over = sent.is_last || sent.reply.is_over();
            if !is_over && !sent.is_open {
                *blocked.entry(sent.key.clone()).or_default() += 1;
            } else if is_over && sent.is_open {
                unblock(blocked, &sent.key);
            }
        }
        self.finished_since.get_or_insert_with(Instant::now);
        self.note(&sent);
        self.finished.push(sent);
    }

    /// Whether nothing more is sent before what was sent is handed in: as many have failed as open the
    /// breaker, or the endpoint asks for less.
    pub(super) fn is_urgent(&self) -> bool {
        let (failed, sent) = (self.failed, self.finished.len() as u64);
        let opens_breaker =
            failed >= BREAKER_MIN_REQUESTS && failed * 100 >= sent * BREAKER_FAILED_PERCENT;
        opens_breaker || self.is_asked_for_less
    }

    fn note(&mut self, sent: &Sent) {
        self.failed += u64::from(!sent.is_delivered());
        self.is_waited_for |= !sent.is_delivered() && !sent.was_delivered;
        self.is_asked_for_less |= sent.reply.is_overloaded || sent.reply.disable.is_some();
    }

    fn note_anew(&mut self) {
        (self.failed, self.is_waited_for, self.is_asked_for_less) = (0, false, false);
        let finished = std::mem::take(&mut self.finished);
        for sent in &finished {
            self.note(sent);
        }
        self.finished = finished;
    }

    /// Whether one of those that were sent has failed, and was not delivered before.
    pub(super) fn has_failure(&self) -> bool {
        self.is_waited_for
    }

    /// Whether there is something to hand in.
    pub(super) fn has_outcome(&self) -> bool {
        !self.finished.is_empty() || !self.behind.is_empty() || self.has_progress()
    }

    fn has_progress(&self) -> bool {
        self.replays.keys().any(|id| self.reached(id) > self.replays[id].1)
    }

    /// How far a replay has got: everything before that was sent.
    fn reached(&self, id: &str) -> u64 {
        let (taken, handed) = self.replays.get(id).copied().unwrap_or_default();
        let of_it = |replay: Option<&Arc<str>>| replay.is_some_and(|replay| **replay == *id);
        let ready = self.ready.of(Kind::Replay).iter();
        let ready = ready.filter(|it| of_it(it.replay.as_ref().map(|(id, _)| id)));
        let flying = self.flying.iter().filter(|(_, (_, replay))| of_it(replay.as_ref()));
        let (ready, flying) = (ready.map(|ready| ready.seq), flying.map(|(seq, _)| *seq));
        ready.chain(flying).min().map_or(taken, |first| (first - 1).min(taken)).max(handed)
    }

    /// Takes what came of deliveries, as it is handed in.
    pub(super) fn take_round(&mut self) -> Round {
        let count = self.finished.len().min(MAX_ROUND);
        let sent: Vec<Sent> = self.finished.drain(..count).collect();
        let behind = std::mem::take(&mut self.behind);
        self.finished_since = (!self.finished.is_empty()).then(Instant::now);
        self.note_anew();
        let mut delivered = SeqSet::default();
        for sent in sent.iter().filter(|sent| sent.is_delivered()) {
            delivered.insert(sent.seq, sent.seq);
        }
        let failed = sent.iter().filter(|sent| !sent.is_delivered());
        let disable = disable_request(&sent);
        let (mut replays, mut handed_before) = (Vec::new(), Vec::new());
        for id in self.replays.keys().cloned().collect::<Vec<_>>() {
            let through = self.reached(&id);
            let of = |sent: &&Sent| sent.replay.as_deref() == Some(&*id);
            let count = sent.iter().filter(of).count() as u64;
            if let Some((_, handed)) = self.replays.get_mut(&id)
                && (through > *handed || count > 0)
            {
                handed_before.push((id.clone(), std::mem::replace(handed, through)));
                replays.push(ReplayProgress { id, through, sent: count });
            }
        }
        let round = Round {
            delivered: delivered.runs().collect(),
            failed: failed.map(Sent::failed).collect(),
            behind: behind.clone(),
            disable,
            replays,
        };
        let number = self.round.unwrap_or(0) + 1;
        self.handed = Some(Submission { round: number, sent, behind, replays: handed_before });
        round
    }
}

impl Lane {
    /// Whether a request is being made; what has ended is collected.
    pub(super) fn is_sending(&mut self) -> bool {
        while let Some(Ok(sent)) = self.in_flight.try_join_next() {
            self.finish(sent);
        }
        !self.in_flight.is_empty()
    }

    /// Whether something was sent of which it is not known that it is in the log.
    pub(super) fn is_unconfirmed(&self) -> bool {
        self.handed.is_some() || self.has_outcome()
    }

    /// The attempts of the round that was handed in last, as far as there is no record of them.
    pub(super) fn take_attempts(&mut self, user_agent: &Arc<str>) -> Vec<Attempt> {
        let sent = self.handed.iter_mut().flat_map(|handed| &mut handed.sent);
        let unrecorded = sent.filter(|sent| !sent.made.is_recorded).map(|sent| {
            sent.made.is_recorded = true;
            sent.attempt(user_agent)
        });
        unrecorded.collect()
    }
}

fn unblock(blocked: &mut HashMap<String, u64>, key: &str) {
    if let Some(count) = blocked.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            blocked.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use protocol::time::Timestamp;
    use webhook_http::{Exchange, Failure, Outcome};

    use super::*;
    use crate::{
        delivery::{ready::Ready, sent::RequestRecord},
        domain::{
            DisableRequest, DisabledReason, Rendering, Selection, ledger::Replay,
            rendering::Payload,
        },
    };

    fn sent(seq: u64, outcome: Outcome) -> Sent {
        let exchange = Exchange {
            outcome,
            status: None,
            latency: Duration::ZERO,
            response_excerpt: String::new(),
            retry_after: None,
            instruction: None,
        };
        let key = "a".to_owned();
        let made = RequestRecord {
            number: 1,
            at: Timestamp::from_millis(1_700_000_000_000),
            message_id: "m".to_owned(),
            traceparent: String::new(),
            own_headers: [].into(),
            is_recorded: false,
        };
        let reply = exchange.into();
        Sent {
            seq,
            key,
            is_open: false,
            was_delivered: false,
            is_last: false,
            begins_anew: false,
            replay: None,
            asked_by: None,
            settings_version: 1,
            made,
            reply,
        }
    }

    #[test]
    fn what_is_not_in_the_log_is_handed_in_again() {
        let (mut lane, mut ledger) = (Lane::default(), Ledger::new(8));
        ledger.last_seq = 9;
        lane.confirm(&ledger);
        lane.finish(sent(2, Outcome::Delivered));
        lane.finish(sent(1, Outcome::Delivered));
        lane.finish(sent(3, Outcome::Failed(Failure::Timeout)));
        let round = lane.take_round();
        assert_eq!((round.delivered.clone(), round.failed.len()), (vec![(1, 2)], 1));
        lane.confirm(&ledger);
        let user_agent = "Tradewind/1".into();
        assert_eq!(lane.take_round(), round, "the log is as it was");
        let attempts = lane.take_attempts(&user_agent);
        assert_eq!(attempts.iter().map(|it| it.seq).collect::<Vec<_>>(), [2, 1, 3]);
        assert_eq!(attempts[2].error_class, "timeout");
        lane.confirm(&ledger);
        lane.take_round();
        assert_eq!(lane.take_attempts(&user_agent), [], "each is recorded once");
        ledger.round = 1;
        lane.confirm(&ledger);
        assert!(!lane.has_outcome(), "it is in the log");
        lane.finish(sent(4, Outcome::Delivered));
        ledger.round = 5;
        lane.confirm(&ledger);
        assert!(!lane.has_outcome(), "another process has sent meanwhile");
    }

    #[test]
    fn as_many_failures_as_open_the_breaker_are_handed_in_at_once() {
        let mut lane = Lane::default();
        let failed = || Outcome::Failed(Failure::Timeout);
        for seq in 1..=9 {
            lane.finish(sent(seq, failed()));
            assert!(!lane.is_urgent(), "{seq}");
        }
        for seq in 10..=15 {
            lane.finish(sent(seq, Outcome::Delivered));
        }
        lane.finish(sent(16, failed()));
        assert!(!lane.is_urgent(), "10 of 16");
        lane.take_round();
        (1..=10).for_each(|seq| lane.finish(sent(seq, failed())));
        assert!(lane.is_urgent());
        lane.take_round();
        assert!(!lane.is_urgent());
        lane.finish(sent(1, Outcome::Gone));
        assert!(lane.is_urgent());
    }

    #[test]
    fn what_asks_to_be_disabled_says_by_which_version_it_was_sent() {
        let mut lane = Lane::default();
        let gone = |seq, settings_version| Sent { settings_version, ..sent(seq, Outcome::Gone) };
        for sent in [gone(1, 2), gone(2, 3), gone(3, 2)] {
            lane.finish(sent);
        }
        lane.finish(sent(4, Outcome::Delivered));
        let newest = DisableRequest { reason: DisabledReason::Gone, settings_version: 3 };
        assert_eq!(lane.take_round().disable, Some(newest));
        assert_eq!(lane.take_round().disable, None);
    }

    #[test]
    fn an_aggregate_is_blocked_from_the_first_failure_to_the_last() {
        let mut lane = Lane { blocked: Some(HashMap::new()), ..Lane::default() };
        let is_blocked = |lane: &Lane| lane.blocked.as_ref().is_some_and(|it| it.contains_key("a"));
        let failed = || sent(1, Outcome::Failed(Failure::Status));
        lane.finish(failed());
        assert!(is_blocked(&lane));
        lane.finish(Sent { is_open: true, ..failed() });
        assert!(is_blocked(&lane), "it is tried again");
        lane.finish(Sent { is_open: true, is_last: true, ..failed() });
        assert!(!is_blocked(&lane), "that was the last attempt");
        lane.finish(failed());
        lane.finish(Sent { is_open: true, ..sent(1, Outcome::Delivered) });
        assert!(!is_blocked(&lane));
        // One that was aborted on request is not heard of here: nothing is open any more.
        lane.finish(failed());
        lane.finished.clear();
        lane.confirm(&Ledger::new(8));
        assert!(!is_blocked(&lane));
    }

    #[test]
    fn nothing_waits_for_what_was_delivered_before() {
        let mut lane = Lane { blocked: Some(HashMap::new()), ..Lane::default() };
        let failed = || sent(1, Outcome::Failed(Failure::Status));
        lane.finish(Sent { was_delivered: true, begins_anew: true, ..failed() });
        lane.finish(Sent { was_delivered: true, is_open: true, is_last: true, ..failed() });
        assert!(!lane.has_failure() && lane.blocked.as_ref().is_some_and(HashMap::is_empty));
        lane.finish(failed());
        assert!(lane.has_failure());
    }

    #[test]
    fn another_ordering_begins_when_nothing_is_under_way() {
        let mut lane = Lane::default();
        assert!(lane.order_as(Ordering::Parallel));
        lane.in_flight = JoinSet::new();
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("it starts");
        let _within = runtime.enter();
        lane.in_flight.spawn(std::future::pending());
        assert!(!lane.order_as(Ordering::PerKey));
        lane.in_flight = JoinSet::new();
        assert!(lane.order_as(Ordering::PerKey));
    }

    #[test]
    fn a_retry_that_is_ready_is_not_sent_once_it_was_aborted() {
        let (mut lane, mut ledger) = (Lane::default(), Ledger::new(8));
        let due = Timestamp::from_millis(1_700_000_000_000);
        ledger.last_seq = 4;
        ledger.attempted.insert(1, 4);
        (1..=4).for_each(|_| ledger.add_retry(due, false));
        ledger.replays.push(Replay::new("r".to_owned(), (3, 4), Selection::All, None, due));
        lane.confirm(&ledger);
        let replay = |seq| (seq > 2).then(|| ("r".into(), None));
        lane.ready.extend((1..=4).map(|seq| Ready {
            seq,
            service: "order".into(),
            event: Bytes::new(),
            rendering: Rendering { payload: Payload::Full, version: 1 },
            key: String::new(),
            attempts: 1,
            due: Some(due),
            is_open: true,
            was_delivered: false,
            is_new: false,
            replay: replay(seq),
            retry_of: None,
        }));
        for seq in [1, 3] {
            ledger.remove_retry(due, false);
            ledger.note_abort(seq);
        }
        lane.drop_what_is_over(&ledger);
        assert_eq!(lane.ready.iter().map(|ready| ready.seq).collect::<Vec<_>>(), [2, 4]);
    }

    #[test]
    fn progress_of_a_replay_that_is_not_in_the_log_is_handed_in_again() {
        let (mut lane, mut ledger) = (Lane::default(), Ledger::new(8));
        let at = Timestamp::from_millis(1_700_000_000_000);
        ledger.last_seq = 9;
        ledger.replays.push(Replay::new("r".to_owned(), (1, 9), Selection::Failed, None, at));
        lane.confirm(&ledger);
        // None of the last deliveries is one that it sends.
        lane.replays.insert("r".to_owned(), (9, 3));
        let round = lane.take_round();
        let progress = ReplayProgress { id: "r".to_owned(), through: 9, sent: 0 };
        assert_eq!(round.replays, [progress]);
        assert!(!lane.has_outcome());
        lane.confirm(&ledger);
        assert!(lane.has_outcome(), "the log is as it was");
        assert_eq!(lane.take_round(), round);
        ledger.round = 1;
        lane.confirm(&ledger);
        assert!(!lane.has_outcome(), "it is in the log");
    }

    #[test]
    fn a_replay_has_got_as_far_as_everything_before_was_sent() {
        let (mut lane, ledger) = (Lane::default(), Ledger::new(8));
        lane.confirm(&ledger);
        let id: Arc<str> = "r".into();
        lane.replays.insert("r".to_owned(), (9, 3));
        lane.flying.insert(6, (Kind::Replay, Some(id.clone())));
        lane.finish(Sent { replay: Some(id), ..sent(8, Outcome::Delivered) });
        let round = lane.take_round();
        let progress = ReplayProgress { id: "r".to_owned(), through: 5, sent: 1 };
        assert_eq!(round.replays, [progress]);
        lane.flying.clear();
        assert_eq!(lane.take_round().replays[0].through, 9);
    }
}
