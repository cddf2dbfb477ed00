//! The orders: what their log, the payments' and the inventory's say of each, put together.
//!
//! An event of an order becomes a [`Step`], a record in a temporary file by the order's id. At the end
//! the orders are gone through one after the other: `progress` follows the order's own log, `payment`
//! that of its payment, `reservation` what it has of the stock, and what must agree is compared. So the
//! memory holds a part of the orders at a time, and every step of each of them is checked.

mod amount;
mod history;
mod outcome;
mod payment;
mod progress;
mod reservation;
mod step;

use std::{
    collections::{BTreeMap, HashMap},
    io,
};

use events::id::PaymentId;
use events::proto::{
    self,
    inventory::inventory_event::Kind as InventoryKind,
    order::{self, order_event::Kind as OrderKind},
    payment::payment_event::Kind as PaymentKind,
};

pub(crate) use self::step::OrderKey;
use self::{
    history::OrderHistory,
    step::{ReferenceRecord, ReportedStatus, Step, StepRecord},
};
pub use self::{
    outcome::{Money, Orders},
    progress::Status,
};
use super::{
    Findings, LogPosition, Observations,
    record::LogNumbers,
    scratch::{Scratch, fingerprint},
};

/// All orders.
#[derive(Debug, Default)]
pub(super) struct Trade {
    numbers: LogNumbers,
    steps: Scratch<{ StepRecord::SIZE }>,
    /// The references of the orders, of which each is there once in a shop.
    references: Scratch<{ ReferenceRecord::SIZE }>,
    /// By SKU: its number.
    skus: HashMap<Box<str>, u32>,
    /// By shop: the number of its last order.
    last_numbers: HashMap<Box<str>, u64>,
    /// That of all amounts, once there is one: amounts are added up.
    currency: Option<Box<str>>,
    findings: TradeFindings,
}

/// What is wrong, by the check to which it belongs.
#[derive(Debug, Default)]
pub(super) struct TradeFindings {
    /// Orders that are there twice: invariant 2.
    pub(super) doubles: Findings,
    /// Reservations: invariant 4.
    pub(super) reservations: Findings,
    /// Payments: invariant 5.
    pub(super) payments: Findings,
    /// The course of the orders: invariant 6.
    pub(super) progress: Findings,
    /// What was answered and is not in the log: invariant 7.
    pub(super) acknowledged: Findings,
    /// What was reserved for an order that wants something else.
    pub(super) lines: Findings,
}

/// What became of the orders.
#[derive(Debug, Default)]
pub(super) struct Traded {
    pub(super) orders: Orders,
    pub(super) money: Money,
    /// By SKU: the units of paid orders, and those of others that were shipped.
    pub(super) sold: BTreeMap<String, i64>,
    pub(super) findings: TradeFindings,
}

impl Trade {
    /// Takes in an event of the order service.
    pub(super) fn observe_order(
        &mut self,
        position: LogPosition,
        event: &proto::Event,
        summary: Option<&order::Summary>,
        kind: Option<&OrderKind>,
    ) {
        let order = OrderKey::of(&event.aggregate_id);
        let summary = summary.cloned().unwrap_or_default();
        self.expect_currency(position, summary.total.as_ref());
        match kind {
            Some(OrderKind::Placed(placed)) => {
                self.observe_placed(position, event, order, &summary, placed);
            }
            Some(kind) => {
                if let OrderKind::Cancelled(_) = kind {
                    self.push_reference(position, event, order, &summary, false);
                }
                if let OrderKind::PaymentDue(due) = kind
                    && !due.abandoned_payment_id().is_empty()
                {
                    let payment = number_of(due.abandoned_payment_id());
                    self.push(order, position, Step::Abandoned { payment });
                }
                self.push(order, position, progress_step(kind));
                if let OrderKind::PaymentDue(due) = kind
                    && let Some(amount) = captured_at_once(due)
                {
                    self.push(order, position, Step::CapturedAtOnce { amount });
                }
            }
            None => {
                let finding = format!("{position}: an event without a fact");
                return self.findings.progress.add(finding);
            }
        }
        self.push(order, position, Step::Reported(ReportedStatus::by(&summary)));
    }

    fn observe_placed(
        &mut self,
        position: LogPosition,
        event: &proto::Event,
        order: OrderKey,
        summary: &order::Summary,
        placed: &order::Placed,
    ) {
        let due = amount::of_order(placed);
        let total = summary.total.as_ref().map_or(0, |total| total.minor);
        self.findings.progress.expect(i128::from(total) == due, || {
            format!("{position}: order {order} says {total} and adds up to {due}")
        });
        let last = self.last_numbers.entry(event.shop.as_str().into()).or_default();
        *last += 1;
        let expected = *last;
        self.findings.progress.expect(summary.number == expected, || {
            format!(
                "{position}: order {order} has number {} after {}",
                summary.number,
                expected - 1
            )
        });
        self.push_reference(position, event, order, summary, true);
        let lines = placed.lines.iter().map(|line| (line.sku.as_str(), line.quantity));
        let units = units_by_sku(lines.clone());
        let step = Step::Placed { total, units: fingerprint(&units) };
        self.push(order, position, step);
        for (sku, quantity) in units {
            let sku = self.sku(sku);
            self.push(order, position, Step::Line { sku, quantity });
        }
    }

    fn push_reference(
        &mut self,
        position: LogPosition,
        event: &proto::Event,
        order: OrderKey,
        summary: &order::Summary,
        is_taken: bool,
    ) {
        if !summary.reference().is_empty() {
            let reference = fingerprint((&event.shop, summary.reference()));
            let at = self.numbers.pack(position);
            let record = ReferenceRecord { reference, order, is_taken, at };
            self.references.push(reference, &record.write());
        }
    }

    /// Takes in an event of the payment service.
    pub(super) fn observe_payment(
        &mut self,
        position: LogPosition,
        event: &proto::Event,
        kind: Option<&PaymentKind>,
    ) {
        let Some(kind) = kind else {
            return self.findings.payments.add(format!("{position}: an event without a fact"));
        };
        // A payment's id is that of its order, and a number.
        let Some((order, number)) = event.aggregate_id.rsplit_once('-') else {
            return self.findings.payments.add(format!("{position}: a payment without a number"));
        };
        let order = OrderKey::of(order);
        self.expect_currency(position, payment::amount(kind));
        self.push(order, position, payment::step(kind, number.parse().unwrap_or(0)));
    }

    /// That an amount is in the currency of those before it.
    fn expect_currency(&mut self, position: LogPosition, amount: Option<&proto::Money>) {
        let Some(currency) = amount.map(|it| &*it.currency).filter(|it| !it.is_empty()) else {
            return;
        };
        match &self.currency {
            None => self.currency = Some(currency.into()),
            Some(known) => self.findings.payments.expect(**known == *currency, || {
                format!("{position}: an amount in {currency}, and {known} are added up here")
            }),
        }
    }

    /// Takes in an event of the inventory.
    pub(super) fn observe_inventory(
        &mut self,
        position: LogPosition,
        event: &proto::Event,
        kind: &InventoryKind,
    ) {
        let order = match kind {
            InventoryKind::Shipped(shipped) => &shipped.order_id,
            _ => &event.aggregate_id,
        };
        for step in reservation::steps(kind, |sku| self.sku(sku)) {
            self.push(OrderKey::of(order), position, step);
        }
    }

    fn push(&mut self, order: OrderKey, position: LogPosition, step: Step) {
        let at = self.numbers.pack(position);
        self.steps.push(order.fingerprint(), &StepRecord { order, at, step }.write());
    }

    fn sku(&mut self, sku: &str) -> u32 {
        if let Some(number) = self.skus.get(sku) {
            return *number;
        }
        let number = self.skus.len() as u32;
        self.skus.insert(sku.into(), number);
        number
    }

    /// Goes through the orders one after the other, and compares them with what was seen from outside.
    pub(super) fn compare(mut self, outside: &Observations) -> Traded {
        let mut traded = Traded {
            findings: std::mem::take(&mut self.findings),
            orders: Orders::acknowledged_by(outside),
            ..Traded::default()
        };
        let mut sold = vec![0; self.skus.len()];
        let compared = self
            .compare_references(&mut traded)
            .and_then(|()| self.compare_orders(&mut traded, &mut sold));
        if let Err(error) = compared {
            let finding = format!("nothing could be compared: the temporary files failed: {error}");
            traded.findings.progress.add(finding);
        }
        for (sku, number) in self.skus {
            let units = sold[number as usize];
            if units != 0 {
                traded.sold.insert(sku.into(), units);
            }
        }
        traded.findings.acknowledged.append(traded.orders.unknown());
        traded
    }

    /// Each reference of a shop is that of one order that is not cancelled.
    fn compare_references(&mut self, traded: &mut Traded) -> io::Result<()> {
        for bucket in Scratch::<{ ReferenceRecord::SIZE }>::numbers() {
            let mut references = self.references.read(bucket, ReferenceRecord::read)?;
            // Those of a reference stay in the order of the log.
            references.sort_by_key(|it| it.reference);
            let pairs = references.windows(2);
            let is_double = |pair: &&[ReferenceRecord]| {
                let [first, second] = pair else { return false };
                first.reference == second.reference && first.is_taken && second.is_taken
            };
            for pair in pairs.filter(is_double) {
                let (position, order) = (self.numbers.unpack(pair[1].at), pair[1].order);
                let first = pair[0].order;
                let finding = format!("{position}: order {order} has the reference of {first}");
                traded.findings.doubles.add(finding);
            }
        }
        Ok(())
    }

    fn compare_orders(&mut self, traded: &mut Traded, sold: &mut [i64]) -> io::Result<()> {
        for bucket in Scratch::<{ StepRecord::SIZE }>::numbers() {
            let mut steps = self.steps.read(bucket, StepRecord::read)?;
            // Those of an order stay in the order of each log.
            steps.sort_by_key(|it| it.order);
            for steps in steps.chunk_by(|one, other| one.order == other.order) {
                let Some(order) = steps.first().map(|it| it.order) else { continue };
                let mut history = OrderHistory::default();
                for StepRecord { at, step, .. } in steps {
                    history.apply(order, self.numbers.unpack(*at), *step, &mut traded.findings);
                }
                history.compare(order, traded, sold);
            }
        }
        Ok(())
    }
}

/// The units of each SKU, whatever lines they are on.
fn units_by_sku<'a>(lines: impl Iterator<Item = (&'a str, i64)>) -> BTreeMap<&'a str, i64> {
    let mut units = BTreeMap::new();
    for (sku, quantity) in lines {
        *units.entry(sku).or_default() += quantity;
    }
    units
}

/// The number of a payment in its order; 0 of an id that no payment has.
fn number_of(payment_id: &str) -> u32 {
    PaymentId::parse(payment_id).map_or(0, |payment| payment.number)
}

/// What is captured of a payment as soon as it is authorised; all of it where the event does not say how much.
fn captured_at_once(due: &order::PaymentDue) -> Option<i64> {
    let amount = due.capture.as_ref().or(due.amount.as_ref());
    amount.filter(|_| due.capture_at_once).map(|amount| amount.minor)
}

/// What an event of an order says of its course.
fn progress_step(kind: &OrderKind) -> Step {
    let amount = |amount: Option<&proto::Money>| amount.map(|amount| amount.minor);
    match kind {
        // Taken in with its lines.
        OrderKind::Placed(_) => Step::Placed { total: 0, units: 0 },
        OrderKind::PaymentDue(due) => {
            Step::PaymentDue { amount: amount(due.amount.as_ref()), one_step: due.one_step }
        }
        OrderKind::PaymentFailed(_) => Step::PaymentFailed,
        OrderKind::ActionRequired(_) => Step::ActionRequired,
        OrderKind::Authorized(authorized) => {
            let by_payment = !authorized.payment_id().is_empty();
            Step::Authorized { by_payment, one_step: authorized.one_step.is_some() }
        }
        OrderKind::Confirmed(confirmed) => {
            Step::Confirmed { capture: amount(confirmed.capture.as_ref()) }
        }
        OrderKind::PartCaptured(captured) => Step::Captured {
            amount: amount(captured.amount.as_ref()).unwrap_or(0),
            payment: number_of(&captured.payment_id),
        },
        OrderKind::Paid(paid) => Step::Paid { amount: amount(paid.amount.as_ref()) },
        OrderKind::Shipped(shipped) => Step::OrderShipped {
            units: shipped.lines.iter().map(|line| line.quantity).sum(),
            capture: amount(shipped.capture.as_ref()).unwrap_or(0),
        },
        OrderKind::Completed(_) => Step::Completed,
        OrderKind::Refunded(refunded) => {
            Step::Refunded { amount: amount(refunded.amount.as_ref()).unwrap_or(0) }
        }
        OrderKind::PutOnHold(_) => Step::Hold { is_on: true },
        OrderKind::TakenOffHold(_) => Step::Hold { is_on: false },
        OrderKind::Cancelled(cancelled) => Step::Cancelled { reason: cancelled.reason() },
    }
}
