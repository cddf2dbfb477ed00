//! Rows that were written as JSON and read back are the rows that they were, and a rule that runs
//! with nothing in memory looks up all that it needs.

use std::collections::BTreeMap;

use engine::{AnyRows, Row, State as _};

use super::{trade::Trade, *};

/// The rows of a shop as its database keeps them: documents by table and key.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Documents(BTreeMap<(&'static str, String), String>);

impl Documents {
    /// Writes the rows that changed.
    pub(super) fn save(&mut self, state: &mut State) {
        for rows in state.tables() {
            let table = rows.table().name;
            for changed in rows.take_changed() {
                match changed.written().expect("serialises") {
                    Some((_, document)) => self.0.insert((table, changed.key), document),
                    None => self.0.remove(&(table, changed.key)),
                };
            }
        }
    }

    /// Fetches the rows that were looked for; how many.
    fn fetch(&self, state: &mut State) -> usize {
        let mut fetched = 0;
        for rows in state.tables() {
            rows.undo();
            let table = rows.table().name;
            for key in rows.take_missing() {
                let document = self.0.get(&(table, key.clone()));
                rows.fill(&key, document.map(String::as_str)).expect("reads");
                fetched += 1;
            }
        }
        fetched
    }

    /// Runs rules as the engine does, beginning with nothing in memory: again and again, until
    /// nothing is missing. Also says how often.
    pub(super) fn run<T>(&mut self, rules: impl Fn(&mut State) -> T) -> (T, usize) {
        let mut state = State::default();
        for times in 1.. {
            state.tables().into_iter().for_each(AnyRows::begin);
            let result = rules(&mut state);
            if state.tables().iter().any(|rows| rows.is_missing()) {
                assert!(self.fetch(&mut state) > 0);
            } else {
                state.tables().into_iter().for_each(AnyRows::keep);
                self.save(&mut state);
                return (result, times);
            }
        }
        unreachable!("it returns");
    }

    /// Decides and folds.
    pub(super) fn decide(
        &mut self,
        input: &Input,
        now: Timestamp,
    ) -> (Decision<Event, Answer>, usize) {
        self.run(|state| {
            let decision = decide(Policy::default(), state, input, now);
            decision.events.iter().for_each(|event| drop(fold(state, event)));
            decision
        })
    }

    /// The rows of a table.
    pub(super) fn count<R: Row>(&self) -> usize {
        self.0.keys().filter(|(table, _)| *table == R::TABLE.name).count()
    }
}

#[test]
fn a_history_yields_the_same_with_all_rows_in_memory_and_with_none() {
    let mut in_memory = catalogue();
    let (mut evicted, mut replayed) = (Documents::default(), Documents::default());
    for documents in [&mut evicted, &mut replayed] {
        documents.save(&mut catalogue());
    }
    let mut trade = Trade::new(20_111_209);
    let mut events = 0;
    for _ in 0..5_000 {
        let (input, now) = trade.next();
        let decision = decide(Policy::default(), &in_memory, &input, now);
        let (again, times) = evicted.decide(&input, now);
        assert_eq!(again, decision, "{input:?}");
        assert!(times <= 8, "{input:?} ran {times} times");
        for event in &decision.events {
            let recorded = fold(&mut in_memory, event);
            replayed.run(|state| Inventory::apply(state, &recorded));
        }
        events += decision.events.len();
    }
    let mut expected = Documents::default();
    expected.save(&mut in_memory);
    assert!(events > 3_000 && expected.count::<Reservation>() > 1_024, "the trade is too short");
    assert_eq!(evicted, expected);
    assert_eq!(replayed, expected);
}

#[test]
fn keys_and_documents_are_compact_and_readable() {
    let mut state = catalogue();
    for event in [
        on_hand("A", 9),
        Event::Stock(
            stock("A"),
            StockFact::Adjusted {
                document: document("D2", 2),
                delta: -1,
                reason: "damaged".into(),
                after: Level { on_hand: 8, ..Level::default() },
            },
        ),
        reserved(order(1), &[("A", 2)]),
        Event::Stock(
            stock("A"),
            StockFact::Shipped {
                document: Document {
                    key: DocumentKey {
                        line: Some(DocumentLine::parse("10").expect("valid")),
                        ..document("GI-1", 3).key
                    },
                    sequence: Sequence { epoch: 1, number: 3 },
                    occurred_at: None,
                },
                order_id: order(1),
                line_id: "1".into(),
                quantity: 1,
                from_allocation: 1,
                from_expired: 0,
                freed: vec![],
                in_count: false,
                after: Level { on_hand: 7, held: 1, allocated: 0 },
            },
        ),
    ] {
        fold(&mut state, &event);
    }
    let mut documents = Documents::default();
    documents.save(&mut state);
    let text: Vec<_> =
        documents.0.iter().map(|((table, key), row)| format!("{table} {key} {row}")).collect();
    let expected = [
        r#"adjustments A@main/erp {"last":[[2,-1,1000000],[[1,3],-1,1000000]]}"#,
        r#"connector erp {"revision":[0,0],"last":{"id":"GI-1","line":"10","sequence":[1,3],"time":1000000},"arrivals":{"largest":[1,3],"forgotten_gaps":0},"applied":3,"repeated":0,"rejected":0,"last_rejection":0,"kept":0,"displaced":0,"heard":1000000}"#,
        r#"counters shop {"orders_held":1}"#,
        r#"document erp/D2 {"stock":"A@main","sequence":2,"units":{"added":-1},"revision":[2,1],"on_hand":8,"moved":-1,"time":1000000}"#,
        r#"document erp/GI-1 10 {"stock":"A@main","sequence":[1,3],"units":{"issued":["018f0000-0000-7000-8000-000000000001",1]},"revision":[3,1],"on_hand":7,"moved":-1,"time":1000000}"#,
        r#"document erp/opening-A {"stock":"A@main","sequence":1,"units":{"counted":9},"revision":[1,1],"on_hand":9,"moved":9,"time":1000000}"#,
        r#"order_block 00000000/A@main {"orders":[["018f0000-0000-7000-8000-000000000001",1]]}"#,
        "product A {}",
        "product B {}",
        "product C {}",
        "product D {}",
        r#"reservation 018f0000-0000-7000-8000-000000000001 {"status":"held","revision":[1,1],"lines":[{"stock":"A@main","units":1}],"deadline":"1970-01-01T00:31:40.000Z","block":0,"context":{"correlation_id":"request","traceparent":""}}"#,
        r#"stock A@main {"on_hand":7,"held":1,"allocated":0,"revision":[3,1],"connectors":{"erp":{"counted":1,"as_of":1000000,"adjusted":[1,3]}},"blocks":[0]}"#,
    ];
    assert_eq!(text, expected);
}
