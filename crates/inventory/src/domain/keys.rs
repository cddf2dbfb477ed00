//! Which rows an input touches, and what else its decision may need to know.

use std::collections::{HashMap, HashSet};

use events::id::{Connector, OrderId, Sku};

use super::{
    DocumentKey, Event, Input, ReservationFact, State, Status, Stock, StockId, StockLine, Units,
};

/// The names of the rows of one shop that some inputs touch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keys {
    /// Products of the catalogue, besides those of stocks.
    pub products: HashSet<Sku>,
    /// Documents of ERPs.
    pub documents: HashSet<DocumentKey>,
    /// Reservations, and with them the stocks of their lines.
    pub reservations: HashSet<OrderId>,
    /// Stocks.
    pub stocks: HashMap<StockId, Touch>,
}

/// What a batch may do to a stock.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Touch {
    /// The units that placed orders ask for.
    requested: i64,
    /// What an ERP tells about it.
    told: Option<Told>,
}

/// What an ERP tells about a stock in a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Told {
    /// The units that its adjustments take, all together.
    taken: i64,
    counts: Vec<Count>,
}

/// A count of a stock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Count {
    /// The connector that counted.
    pub connector: Connector,
    /// Its own ascending number.
    pub sequence: i64,
    /// The units counted.
    quantity: i64,
}

impl Keys {
    /// Adds the rows that deciding on `input` looks at or changes.
    pub(crate) fn add_input(&mut self, input: &Input) {
        match input {
            Input::RecordStock { lines } => lines.iter().for_each(|line| self.add_line(line)),
            Input::Placed { order_id, lines } => {
                self.reservations.insert(*order_id);
                for line in lines.iter() {
                    let touch = self.stocks.entry(line.stock.clone()).or_default();
                    touch.requested = touch.requested.saturating_add(line.units);
                }
            }
            Input::Authorized { order_id }
            | Input::Cancelled { order_id }
            | Input::HoldDue { order_id } => {
                self.reservations.insert(*order_id);
            }
            Input::ProductKnown { sku } => {
                self.products.insert(sku.clone());
            }
        }
    }

    fn add_line(&mut self, line: &StockLine) {
        let StockLine { stock, document, units, .. } = line;
        self.documents.insert(document.key.clone());
        let touch = self.stocks.entry(stock.clone()).or_default();
        let told = touch.told.get_or_insert_default();
        match *units {
            Units::Counted(quantity) => {
                let connector = document.key.connector.clone();
                told.counts.push(Count { connector, sequence: document.sequence, quantity });
            }
            Units::Added(delta) => {
                told.taken = told.taken.saturating_add(delta.min(0).saturating_neg());
            }
        }
    }

    /// Adds the rows that applying `event` changes.
    pub(crate) fn add_event(&mut self, event: &Event) {
        match event {
            Event::Stock(id, _) => {
                self.stocks.entry(id.clone()).or_default();
            }
            Event::Reservation(order_id, fact) => {
                self.reservations.insert(*order_id);
                match fact {
                    ReservationFact::Reserved { lines, .. }
                    | ReservationFact::Allocated { lines }
                    | ReservationFact::Released { lines, .. } => {
                        for line in lines.iter() {
                            self.stocks.entry(line.stock.clone()).or_default();
                        }
                    }
                    ReservationFact::Refused { .. } | ReservationFact::Lost { .. } => {}
                }
            }
        }
    }

    /// The products that must be known before anything is told about them: without stock so far.
    pub(crate) fn products_without_stock<'a>(
        &'a self,
        state: &'a State,
    ) -> impl Iterator<Item = &'a Sku> {
        let told = self.stocks.iter().filter(|(_, touch)| touch.told.is_some());
        let new = told.filter(|(id, _)| state.stocks.get(id).is_none());
        self.products.iter().chain(new.map(|(id, _)| &id.sku))
    }

    /// Lets `state` watch the stocks that an ERP tells something about.
    pub(crate) fn watch(&self, state: &mut State) {
        for (id, touch) in &self.stocks {
            if touch.told.is_some() {
                state.watched.entry(id.clone()).or_default();
            }
        }
    }

    /// The counts that are older than adjustments which had their effect before the batch.
    pub(crate) fn late_counts(&self, state: &State) -> Vec<(&StockId, &Count)> {
        let counts = self.stocks.iter().flat_map(|(id, touch)| {
            let counts = touch.told.iter().flat_map(|told| &told.counts);
            counts.map(move |count| (id, count))
        });
        let late = |(id, count): &(&StockId, &Count)| {
            let last = state.stocks.get(id).and_then(|s| s.last(&count.connector).adjusted);
            last.is_some_and(|adjusted| count.sequence < adjusted)
        };
        counts.filter(late).collect()
    }

    /// The stocks that may fall short in the batch, at the very worst; asked when the late counts
    /// are known.
    pub(crate) fn perhaps_short(&self, state: &State) -> Vec<&StockId> {
        let mut held_again: HashMap<&StockId, i64> = HashMap::new();
        if self.stocks.values().any(|touch| touch.told.is_some()) {
            let expired =
                state.reservations.iter().filter(|(_, row)| row.status == Status::Expired);
            for line in expired.flat_map(|(_, row)| row.lines.iter()) {
                *held_again.entry(&line.stock).or_default() += line.units;
            }
        }
        let perhaps_short = |id: &StockId, touch: &Touch| {
            let (Some(told), Some(stock)) = (&touch.told, state.stocks.get(id)) else {
                return false;
            };
            if told.taken == 0 && told.counts.is_empty() {
                return false;
            }
            let asked = touch.requested.saturating_add(*held_again.get(id).unwrap_or(&0));
            told.lowest(id, stock, state) < stock.promised().saturating_add(asked)
        };
        let touched = self.stocks.iter().filter(|(id, touch)| perhaps_short(id, touch));
        touched.map(|(id, _)| id).collect()
    }
}

impl Told {
    /// The fewest units that can be on hand at any time in the batch: every adjustment that takes
    /// comes first, and of the counts only the lowest is heard.
    fn lowest(&self, id: &StockId, stock: &Stock, state: &State) -> i64 {
        let counted = self.counts.iter().map(|count| {
            let newer = state.watched.get(id).and_then(|watched| {
                watched.newer.get(&(count.connector.clone(), count.sequence)).copied()
            });
            count.quantity.saturating_add(newer.unwrap_or(0))
        });
        counted.fold(stock.on_hand, i64::min).saturating_sub(self.taken)
    }
}
