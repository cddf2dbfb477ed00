//! Folds a history twice, to prove that a service's rows hold all that its rules need.
//!
//! One projection keeps all its rows in memory. The other forgets them after each input, and reads
//! from their documents what the next one looks up, as the engine does with a database. Both must
//! decide the same, and end in the same documents.

use std::{collections::BTreeMap, fmt::Debug};

use engine::{AnyRows, Cause, Context, Decision, Recorded, Rules, State, Value};
use events::proto;
use prost::Message;
use protocol::{
    id::{EventId, Shop},
    time::Timestamp,
};
use uuid::Uuid;

/// The rows of a shop as they are in a database: columns and document, by table and key.
pub type Documents = BTreeMap<(&'static str, String), (Vec<Value>, String)>;

/// How often rows are fetched for one input before its rules are taken to be stuck.
const MAX_FETCHES: usize = 10;

/// Two projections of the same history.
#[derive(Debug)]
pub struct Projections<S: Rules> {
    service: S,
    in_memory: S::State,
    documents: Documents,
    events: u64,
}

impl<S: Rules> Projections<S>
where
    S::Event: PartialEq + Debug,
    S::Answer: PartialEq + Debug,
{
    /// Two projections of an empty log.
    pub fn new(service: S) -> Self {
        let mut in_memory = S::State::default();
        for rows in in_memory.tables() {
            rows.set_complete(true);
        }
        Self { service, in_memory, documents: Documents::new(), events: 0 }
    }

    /// Decides on an input and folds what follows, in both projections. Yields what followed.
    ///
    /// # Panics
    ///
    /// When the projections decide differently, or an event changes on its way through the wire.
    #[track_caller]
    pub fn handle(&mut self, input: &S::Input, now: Timestamp) -> Vec<S::Event> {
        let Self { service, in_memory, documents, events } = self;
        let handle = |state: &mut S::State| {
            let mut number = *events;
            let decision = service.decide(state, input, now);
            for event in &decision.events {
                number += 1;
                let version = S::revision(state, event).version + 1;
                S::apply(state, &recorded::<S>(event, version, number, now));
            }
            decision
        };
        let decision: Decision<S::Event, S::Answer> = handle(in_memory);
        assert_eq!(reread(documents, handle), decision, "{input:?}");
        *events += decision.events.len() as u64;
        decision.events
    }

    /// Folds a fact of another service into the replica, in both projections.
    pub fn replicate(&mut self, input: &S::Input) {
        S::replicate(&mut self.in_memory, input);
        reread(&mut self.documents, |state: &mut S::State| S::replicate(state, input));
    }

    /// The documents that the history led to.
    ///
    /// # Panics
    ///
    /// When they are not the same in both projections.
    #[track_caller]
    pub fn finish(mut self) -> Documents {
        let mut documents = Documents::new();
        save(&mut documents, &mut self.in_memory);
        assert_eq!(self.documents, documents);
        documents
    }
}

/// Runs on a state that knows nothing but these documents, again for as long as it looks for rows
/// that are not in memory, and writes what has changed back to them.
fn reread<T, P: State>(documents: &mut Documents, run: impl Fn(&mut P) -> T) -> T {
    let mut state = P::default();
    for _ in 0..MAX_FETCHES {
        state.tables().into_iter().for_each(AnyRows::begin);
        let result = run(&mut state);
        if !state.tables().iter().any(|rows| rows.is_missing()) {
            state.tables().into_iter().for_each(AnyRows::keep);
            save(documents, &mut state);
            return result;
        }
        for rows in state.tables() {
            rows.undo();
            for key in rows.take_missing() {
                let row = documents.get(&(rows.table().name, key.clone()));
                let document = row.map(|(_, document)| document.as_str());
                rows.fill(&key, document).expect("a document reads back");
            }
        }
    }
    panic!("rows are still missing after {MAX_FETCHES} fetches")
}

fn save(documents: &mut Documents, state: &mut impl State) {
    for rows in state.tables() {
        let table = rows.table().name;
        for changed in rows.take_changed() {
            match changed.written().expect("a row serialises") {
                Some(row) => documents.insert((table, changed.key), row),
                None => documents.remove(&(table, changed.key)),
            };
        }
    }
}

/// The event as it is in the log: encoded, in its envelope, and decoded.
fn recorded<S: Rules>(
    event: &S::Event,
    version: u64,
    number: u64,
    now: Timestamp,
) -> Recorded<S::Event>
where
    S::Event: PartialEq + Debug,
    S::Answer: PartialEq + Debug,
{
    let envelope = proto::Event { aggregate_id: S::aggregate(event).id, ..Default::default() };
    let mut bytes = envelope.encode_to_vec();
    bytes.extend(S::encode(event).body);
    let decoded = S::decode(&bytes).expect("an event decodes");
    assert_eq!(&decoded, event);
    let context = Context {
        correlation_id: format!("request \"{number}\""),
        traceparent: format!("trace {number}"),
        tracestate: String::new(),
    };
    Recorded {
        id: EventId(Uuid::from_u128(number.into())),
        shop: Shop::unknown(),
        version,
        position: number,
        time: now,
        actor: None,
        cause: Cause { id: format!("cause-{number}"), kind: "test.cause".to_owned() },
        context,
        event: decoded,
    }
}

/// Numbers that look random and are the same in each run: xorshift64*.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// Numbers that follow from `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(2).wrapping_add(1))
    }

    /// A number from 0 to below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) % limit.max(1)
    }

    /// One of these.
    ///
    /// # Panics
    ///
    /// When there are none.
    pub fn one_of<T: Clone>(&mut self, items: &[T]) -> T {
        items[self.below(items.len() as u64) as usize].clone()
    }
}
