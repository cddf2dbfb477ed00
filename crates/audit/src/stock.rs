//! The inventory's log: what is on hand, held and allocated after every event of it.
//!
//! What an event says of a stock becomes a [`Change`], a record in a temporary file by the stock. At the
//! end one stock after the other is folded (`level`). While the log is read, the memory holds the names
//! of the stocks and the orders for which units are held at that moment.

mod change;
mod connectors;
mod documents;
mod level;
mod observe;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    io,
    sync::Arc,
};

pub use self::{change::StockId, level::Level};
use self::{
    change::{Change, ChangeRecord, DocumentRecord, Moment},
    level::Fold,
};
use super::{
    Check, Findings, LogPosition, Observations, record::LogNumbers, scratch::Scratch,
    trade::OrderKey,
};
use crate::text::count;

/// The location that every shop has from the beginning.
const MAIN: &str = "main";

/// All stock, while its log is read.
#[derive(Debug, Default)]
pub(super) struct StockLog {
    numbers: LogNumbers,
    stocks: Names<StockId>,
    connectors: Names<str>,
    changes: Scratch<{ ChangeRecord::SIZE }>,
    /// The documents of the ERP, of which each has its effect once.
    documents: Scratch<{ DocumentRecord::SIZE }>,
    /// The orders for which units are held; whether an order may have them shows at the end.
    held: HashSet<OrderKey>,
    /// When the event at hand was decided, in milliseconds.
    now: i64,
    /// By the fingerprint of a transfer and a SKU: the units.
    transfers: HashMap<u64, documents::TransferUnits>,
    /// The locations that were put, by shop.
    locations: HashSet<(String, String)>,
    shorts: u64,
    refused: u64,
    events: u64,
    findings: Findings,
}

/// Things that are in records by number.
#[derive(Debug)]
struct Names<T: ?Sized>(HashMap<Arc<T>, u32>);

impl<T: ?Sized> Default for Names<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

/// All stock, as the log has it.
#[derive(Debug, Default)]
pub struct Stock {
    levels: BTreeMap<Arc<StockId>, Level>,
    shorts: u64,
    refused: u64,
    events: u64,
    documents: u64,
    findings: Findings,
    doubles: Findings,
}

impl StockLog {
    fn push(&mut self, position: LogPosition, id: &StockId, change: Change) {
        let moment = Moment { millis: self.now, is_said: false };
        self.push_at(position, id, moment, change);
    }

    fn push_at(&mut self, position: LogPosition, id: &StockId, moment: Moment, change: Change) {
        let at = self.numbers.pack(position);
        let stock = self.stocks.number(id, |id| Arc::new(id.clone()));
        self.changes.push(stock.into(), &ChangeRecord { stock, at, moment, change }.write());
    }

    /// Folds one stock after the other.
    pub(super) fn compare(mut self) -> Stock {
        let mut stock = Stock {
            shorts: self.shorts,
            refused: self.refused,
            events: self.events,
            findings: std::mem::take(&mut self.findings),
            ..Stock::default()
        };
        let compared =
            self.compare_documents(&mut stock).and_then(|()| self.compare_changes(&mut stock));
        if let Err(error) = compared {
            let finding = format!("nothing could be compared: the temporary files failed: {error}");
            stock.findings.add(finding);
        }
        stock
    }

    /// Each document had its effect once.
    fn compare_documents(&mut self, stock: &mut Stock) -> io::Result<()> {
        for bucket in Scratch::<{ DocumentRecord::SIZE }>::numbers() {
            let mut documents = self.documents.read(bucket, DocumentRecord::read)?;
            documents.sort_by_key(|it| it.document);
            for pair in documents.windows(2).filter(|pair| pair[0].document == pair[1].document) {
                let (again, first) =
                    (self.numbers.unpack(pair[1].at), self.numbers.unpack(pair[0].at));
                let finding = format!("{again}: a document had its effect again, after {first}");
                stock.doubles.add(finding);
            }
            documents.dedup_by_key(|it| it.document);
            stock.documents += documents.len() as u64;
        }
        Ok(())
    }

    fn compare_changes(&mut self, stock: &mut Stock) -> io::Result<()> {
        let ids = self.stocks.by_number();
        for bucket in Scratch::<{ ChangeRecord::SIZE }>::numbers() {
            // The orders that have units of a stock matter only where an event names them.
            let mut with_short = HashSet::new();
            self.changes.each(bucket, |record| {
                let ChangeRecord { stock, change, .. } = ChangeRecord::read(record);
                if let Change::Short { .. } = change {
                    with_short.insert(stock);
                }
            })?;
            let mut folds: BTreeMap<u32, Fold> = BTreeMap::new();
            self.changes.each(bucket, |record| {
                let ChangeRecord { stock: number, at, moment, change } = ChangeRecord::read(record);
                let fold = folds.entry(number).or_insert_with(|| {
                    Fold::new(ids[number as usize].clone(), with_short.contains(&number))
                });
                let position = self.numbers.unpack(at);
                fold.apply(position, (moment, change), &mut stock.findings, &mut stock.doubles);
            })?;
            for fold in folds.into_values() {
                stock.levels.extend(fold.finish(&mut stock.findings));
            }
        }
        Ok(())
    }
}

impl<T: ?Sized + Eq + std::hash::Hash> Names<T> {
    /// The number of a thing; `keep` makes what is kept of one that is new.
    fn number(&mut self, name: &T, keep: impl FnOnce(&T) -> Arc<T>) -> u32 {
        if let Some(number) = self.0.get(name) {
            return *number;
        }
        let number = self.0.len() as u32;
        self.0.insert(keep(name), number);
        number
    }

    fn by_number(&self) -> Vec<Arc<T>> {
        let mut names: Vec<_> = self.0.iter().map(|(name, number)| (*number, name)).collect();
        names.sort_by_key(|(number, _)| *number);
        names.into_iter().map(|(_, name)| name.clone()).collect()
    }
}

impl Stock {
    /// The levels, as the log has them.
    pub fn levels(&self) -> impl Iterator<Item = (&StockId, &Level)> {
        self.levels.iter().map(|(id, level)| (&**id, level))
    }

    /// How often the ERP went below what was promised.
    pub fn shorts(&self) -> u64 {
        self.shorts
    }

    /// Documents that had their effect twice, or out of turn.
    pub(super) fn doubles(&self) -> &Findings {
        &self.doubles
    }

    /// The documents that had their effect.
    pub(super) fn document_count(&self) -> u64 {
        self.documents
    }

    /// Invariant 4; `reservations` is what was found in the histories of the orders.
    pub(super) fn never_oversold(&self, reservations: &Findings) -> Check {
        let mut findings = self.findings.clone();
        findings.append(reservations.clone());
        Check {
            looked_at: self.events,
            invariant: Some(4),
            claim: "no unit was promised twice, after any event; where the ERP itself went below, \
                    it was reported",
            evidence: format!(
                "{} of {}, {} reported, {} checked for cause",
                count(self.events, "event", "events"),
                count(self.levels.len() as u64, "SKU", "SKUs"),
                count(self.shorts, "shortfall", "shortfalls"),
                count(self.refused, "refusal", "refusals")
            ),
            findings,
        }
    }

    /// What is allocated or has left for its order is what was sold, and what the gateway reports is
    /// what the log says.
    pub(super) fn reconciled(
        &self,
        sold: &BTreeMap<String, i64>,
        lines: &Findings,
        outside: &Observations,
    ) -> Check {
        let mut findings = lines.clone();
        let mut allocated: BTreeMap<&str, i64> = BTreeMap::new();
        for (id, level) in &self.levels {
            *allocated.entry(&id.sku).or_default() += level.allocated + level.shipped;
        }
        allocated.retain(|_, units| *units != 0);
        let sold: BTreeMap<&str, i64> = sold.iter().map(|(sku, it)| (sku.as_str(), *it)).collect();
        findings.expect(sold == allocated, || {
            format!("sold and allocated units differ: {:?}", differing(&sold, &allocated))
        });
        let logged: HashMap<(&str, &str), &Level> =
            self.levels.iter().map(|(id, it)| ((&*id.sku, &*id.location), it)).collect();
        for reported in &outside.levels {
            let level = logged.get(&(reported.sku.as_str(), reported.location.as_str()));
            let log = level.map(|level| (level.on_hand, level.held, level.allocated));
            let units = (reported.on_hand, reported.held, reported.allocated);
            findings.expect(log == Some(units), || {
                format!("{}: the gateway reports {units:?}, the log {log:?}", reported.sku)
            });
        }
        findings.expect(outside.levels.len() == self.levels.len(), || {
            let (reported, logged) = (outside.levels.len(), self.levels.len());
            format!("the gateway reports {reported} levels, the log {logged}")
        });
        Check {
            looked_at: (sold.len() + outside.levels.len()) as u64,
            invariant: None,
            claim: "the units allocated or shipped are the units sold, and the levels reported are those of \
                    the log",
            evidence: format!(
                "{} in {}",
                count(sold.values().sum::<i64>(), "unit", "units"),
                count(sold.len() as u64, "SKU", "SKUs")
            ),
            findings,
        }
    }
}

/// The first entry in which two maps differ.
fn differing<'a>(
    left: &BTreeMap<&'a str, i64>,
    right: &BTreeMap<&'a str, i64>,
) -> Option<(&'a str, Option<i64>, Option<i64>)> {
    let skus = left.keys().chain(right.keys());
    let mut pairs = skus.map(|sku| (*sku, left.get(sku).copied(), right.get(sku).copied()));
    pairs.find(|(_, left, right)| left != right)
}
