//! A long trade, pseudo-random but always the same: whatever comes, nothing is promised twice.

use std::collections::{HashMap, HashSet};

use super::*;

/// The SKUs that are traded; few, so that they run out.
const SKUS: [&str; 4] = ["A", "B", "C", "D"];

/// An endless trade.
pub(super) struct Trade {
    random: u64,
    now: i64,
    sequence: i64,
    placed: Vec<OrderId>,
    /// The order service authorises nothing that it has cancelled.
    cancelled: HashSet<OrderId>,
    pushed: Vec<StockLine>,
}

impl Trade {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            random: seed,
            now: NOW.millis(),
            sequence: 100,
            placed: Vec::new(),
            cancelled: HashSet::new(),
            pushed: Vec::new(),
        }
    }

    /// What comes next, and when.
    pub(super) fn next(&mut self) -> (Input, Timestamp) {
        self.now += self.below(120_000);
        let input = match self.below(12) {
            0 | 1 => self.record(),
            2..=4 => self.place(),
            5..=7 => Input::Authorized { order_id: self.any_order() },
            8..=10 => Input::HoldDue { order_id: self.any_order() },
            _ => Input::Cancelled { order_id: self.any_order() },
        };
        let input = match input {
            Input::Authorized { order_id } if self.cancelled.contains(&order_id) => {
                Input::HoldDue { order_id }
            }
            Input::Cancelled { order_id } => {
                self.cancelled.insert(order_id);
                Input::Cancelled { order_id }
            }
            other => other,
        };
        (input, Timestamp::from_millis(self.now))
    }

    /// A number from 0 to below `bound`: Knuth's linear congruential generator.
    fn below(&mut self, bound: i64) -> i64 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.random >> 33) as i64 % bound
    }

    fn sku(&mut self) -> StockId {
        stock(SKUS[self.below(4) as usize])
    }

    /// One of the last orders, or a first one.
    fn any_order(&mut self) -> OrderId {
        let newest = self.placed.len() as i64;
        let back = self.below(40);
        let at = (newest - 1 - back).max(0) as usize;
        self.placed.get(at).copied().unwrap_or_else(|| order(0))
    }

    fn place(&mut self) -> Input {
        let order_id = match self.below(20) {
            0 => self.any_order(),
            _ => order(self.placed.len() as u64 + 1),
        };
        if !self.placed.contains(&order_id) {
            self.placed.push(order_id);
        }
        let mut units = std::collections::BTreeMap::new();
        for _ in 0..self.below(4) {
            *units.entry(self.sku()).or_insert(0) += 1 + self.below(8);
        }
        let wanted = units.into_iter().map(|(stock, units): (StockId, i64)| (stock.sku, units));
        Input::Placed { order_id, wanted: wanted.collect() }
    }

    fn record(&mut self) -> Input {
        let count = 1 + self.below(4);
        let lines = (0..count).map(|_| self.line()).collect();
        Input::RecordStock { lines, unlocated: vec![], invalid: vec![] }
    }

    fn line(&mut self) -> StockLine {
        if self.below(8) == 0 && !self.pushed.is_empty() {
            let back = self.below(self.pushed.len().min(30) as i64) as usize;
            return self.pushed[self.pushed.len() - 1 - back].clone();
        }
        self.sequence += 1;
        let mut document = document(&format!("D{}", self.sequence), self.sequence - self.below(12));
        document.key.connector =
            Connector::parse(["erp", "till"][self.below(2) as usize]).expect("valid");
        let order_id = self.any_order();
        let units = match self.below(60) {
            0 => Units::Counted(i64::MAX),
            1 => Units::Added(i64::MIN),
            40.. => Units::Issued(order_id, 1 + self.below(6)),
            2..=9 => Units::Counted(self.below(120)),
            _ => Units::Added(self.below(50) - 15),
        };
        let (reason, line_id) = (String::new(), String::new());
        if self.below(3) == 0 {
            let ago = self.below(300_000);
            document.occurred_at = Some(Timestamp::from_millis(self.now - ago));
        }
        let expected = None;
        let line = StockLine { stock: self.sku(), document, units, expected, reason, line_id };
        self.pushed.push(line.clone());
        line
    }
}

/// The units of each stock that the reservations say are held and allocated, and the orders.
fn promised(state: &State, orders: &[OrderId]) -> HashMap<StockId, (i64, i64, Vec<OrderId>)> {
    let mut promised: HashMap<StockId, (i64, i64, Vec<OrderId>)> = HashMap::new();
    for order_id in orders {
        let Some(row) = state.reservations.get(order_id) else { continue };
        let (held, allocated) = match row.status {
            Status::Held => (1, 0),
            Status::Allocated => (0, 1),
            Status::Refused | Status::Lost | Status::Expired | Status::Released => continue,
        };
        assert_eq!(row.deadline.is_some(), row.status == Status::Held, "{order_id}");
        for line in row.lines.iter() {
            assert!(line.units > 0, "{order_id} has none of {}", line.stock);
            let sums = promised.entry(line.stock.clone()).or_default();
            sums.0 += held * line.units;
            sums.1 += allocated * line.units;
            sums.2.push(*order_id);
        }
    }
    for (_, _, orders) in promised.values_mut() {
        orders.sort_unstable_by(|a, b| b.cmp(a));
    }
    promised
}

fn promised_of(stock: &Stock) -> i64 {
    stock.level().promised()
}

/// Folds an event and checks that it left nothing promised twice.
#[track_caller]
fn fold_and_check(state: &mut State, event: &Event, orders: &[OrderId]) {
    let before = SKUS.map(|sku| state.stocks.get(&stock(sku)).cloned().unwrap_or_default());
    let version = Inventory::revision(state, event).version;
    fold(state, event);
    assert_eq!(Inventory::revision(state, event).version, version + 1, "versions are contiguous");

    let promised = promised(state, orders);
    for (sku, before) in SKUS.iter().zip(before) {
        let id = &stock(sku);
        let Some(row) = state.stocks.get(id) else { continue };
        let (held, allocated, orders) = promised.get(id).cloned().unwrap_or_default();
        assert_eq!((row.held, row.allocated), (held, allocated), "{id} after {event:?}");
        assert!(row.held >= 0 && row.allocated >= 0, "{id} after {event:?}");
        match event {
            Event::Location(..) | Event::Connector(..) => {}
            Event::Reservation(..) => assert!(
                promised_of(row) <= row.on_hand.max(promised_of(&before)),
                "{id}: {event:?} promised what is not there"
            ),
            Event::Stock(of, StockFact::Short { orders: short, promised, on_hand, .. })
                if of == id =>
            {
                assert_eq!((*promised, *on_hand), (promised_of(row), row.on_hand));
                let ShortOrders { part, units_before, named, is_truncated } = short;
                assert_eq!((*part, *units_before, *is_truncated), (1, 0, false));
                let mut sum = 0;
                for (order_id, units) in named {
                    assert!(sum < promised - on_hand, "{id}: more orders than cannot be served");
                    assert!(orders.contains(order_id), "{id} is not promised to {order_id}");
                    let of_order = state.reservations.get(order_id).map(|row| row.units_of(id));
                    assert_eq!(Some(*units), of_order, "{id} of {order_id}");
                    sum += units;
                }
                assert!(sum >= (promised - on_hand).min(*promised), "{id} names too few orders");
            }
            Event::Stock(of, StockFact::Shipped { from_allocation, after, .. }) if of == id => {
                assert_eq!(*after, row.level());
                assert_eq!(promised_of(row), promised_of(&before) - from_allocation, "{id}");
            }
            Event::Stock(..) => assert_eq!(promised_of(row), promised_of(&before), "{id}"),
        }
    }
}

#[test]
fn nothing_is_promised_twice_and_what_falls_short_is_said() {
    let mut trade = Trade::new(20_101_201);
    let mut state = catalogue();
    let mut seen: HashMap<&str, u32> = HashMap::new();
    for _ in 0..6_000 {
        let (input, now) = trade.next();
        let decision = decide(Policy::default(), &state, &input, now);
        for (at, event) in decision.events.iter().enumerate() {
            *seen.entry(kind(event)).or_default() += 1;
            let free = |state: &State, id| {
                state.stocks.get(id).map_or(0, |row: &Stock| row.level().free())
            };
            let before = match event {
                Event::Stock(id, _) => free(&state, id),
                Event::Reservation(..) | Event::Location(..) | Event::Connector(..) => 0,
            };
            fold_and_check(&mut state, event, &trade.placed);
            let Event::Stock(
                id,
                StockFact::Counted { .. } | StockFact::Adjusted { .. } | StockFact::Shipped { .. },
            ) = event
            else {
                continue;
            };
            let row = state.stocks.get(id).expect("changed");
            let fell_short = row.level().free() < before.min(0);
            let next = decision.events.get(at + 1);
            let is_short =
                matches!(next, Some(Event::Stock(of, StockFact::Short { .. })) if of == id);
            assert_eq!(fell_short, is_short, "{event:?} on {row:?}");
        }
    }
    let rare: Vec<_> = seen.iter().filter(|(_, times)| **times < 10).collect();
    assert!(seen.len() == 11 && rare.is_empty(), "the trade is too one-sided: {seen:?}");
}

fn kind(event: &Event) -> &'static str {
    match event {
        Event::Stock(_, StockFact::Counted { .. }) => "counted",
        Event::Stock(_, StockFact::Adjusted { .. }) => "adjusted",
        Event::Stock(_, StockFact::Shipped { quantity, from_allocation, .. })
            if from_allocation == quantity =>
        {
            "shipped"
        }
        Event::Stock(_, StockFact::Shipped { .. }) => "shipped in excess",
        Event::Stock(_, StockFact::Short { .. }) => "short",
        Event::Stock(_, StockFact::Sent { .. }) => "sent",
        Event::Stock(_, StockFact::Received { .. }) => "received",
        Event::Stock(_, StockFact::LimitsChanged { .. }) => "limits changed",
        Event::Location(..) => "location",
        Event::Connector(..) => "connector",
        Event::Reservation(_, ReservationFact::Reserved { .. }) => "reserved",
        Event::Reservation(_, ReservationFact::Refused { .. }) => "refused",
        Event::Reservation(_, ReservationFact::Allocated { .. }) => "allocated",
        Event::Reservation(_, ReservationFact::Lost { .. }) => "lost",
        Event::Reservation(_, ReservationFact::Released { reason, .. }) => match reason {
            ReleaseReason::Cancelled => "cancelled",
            ReleaseReason::Expired => "expired",
        },
    }
}
