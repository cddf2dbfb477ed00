//! The rules of the order service, given, when, then.

mod one_step;
mod placing;
mod saga;
mod shipping;

use engine::{Cause, Context, Decision, Recorded, Rules};
use events::{
    id::{LineId, Location, OrderId, PaymentId, Quantity, Reference, Sku},
    money::{Currency, Money, TaxBasis},
    proto,
    sealed::Sealed,
    shop::{Capture, Settings, ShortRule},
};
use protocol::{
    id::{EventId, Shop},
    time::Timestamp,
};

use super::{
    Action, Answer, CancelReason, Cancellation, Charge, Event, Fact, Failure, FulfilmentStatus,
    Hold, Input, Lines, ListedLines, OrderLine, OrderStatus, PaymentStatus, Request, RequestedLine,
    Shipment, ShippedLine, ShippedUnits, Shortage, Signal, Statuses, Summary,
};
use crate::{
    Orders, Policy,
    domain::rows::{Product, Shop as State},
};

pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_300_000_000_000);
pub(crate) const RESERVE_BY: Timestamp = Timestamp::from_millis(1_300_000_300_000);
pub(crate) const DUE_BY: Timestamp = Timestamp::from_millis(1_300_000_600_000);
pub(crate) const ALLOCATE_BY: Timestamp = RESERVE_BY;
pub(crate) const HELD_UNTIL: Timestamp = Timestamp::from_millis(1_300_000_900_000);

/// Asks for another payment of an order.
fn pay(order_id: OrderId, method: &str) -> Input {
    Input::StartPayment { order_id, payment_method: method.into() }
}

/// Orders by the default policy.
pub(crate) fn orders() -> Orders {
    Orders { policy: Policy::default() }
}

/// That the shop has other settings than the default ones.
pub(crate) fn settings(change: impl FnOnce(&mut Settings)) -> Input {
    let mut settings = Settings::default();
    change(&mut settings);
    Input::SettingsChanged(Box::new(settings))
}

fn decide(state: &State, input: &Input) -> Decision<Event, Answer> {
    orders().decide(state, input, NOW)
}

/// What is decided in a shop with other settings than the default ones.
fn decide_with(
    change: impl FnOnce(&mut Settings),
    given: &[Event],
    input: &Input,
) -> Decision<Event, Answer> {
    let mut state = fold(given);
    Orders::replicate(&mut state, &settings(change));
    decide(&state, input)
}

/// Decides on an input and folds what follows.
fn run(state: &mut State, log: &mut Vec<Event>, input: &Input) {
    for event in decide(state, input).events {
        let version = Orders::revision(state, &event).version + 1;
        log.push(event.clone());
        Orders::apply(state, &recorded(event, version));
    }
}

#[track_caller]
fn check(given: &[Event], when: &Input, then: &Decision<Event, Answer>) {
    assert_eq!(&decide(&fold(given), when), then);
}

/// The state after a history, in a shop whose catalogue has `A` and `B` in pounds, `EURO` in euros, and
/// `GONE`, which is no longer sold.
pub(crate) fn fold(history: &[Event]) -> State {
    let mut state = State::default();
    for (name, minor, currency, active) in [
        ("A", 250, "GBP", true),
        ("B", 100, "GBP", true),
        ("EURO", 5, "EUR", true),
        ("GONE", 1, "GBP", false),
    ] {
        let price = Money { minor, currency: Currency::parse(currency).unwrap() };
        let tax_basis = TaxBasis::Included;
        let product = Product { title: format!("{name}, a title"), price, tax_basis, active };
        Orders::replicate(&mut state, &Input::ProductChanged { sku: sku(name), product });
    }
    for event in history {
        let version = Orders::revision(&state, event).version + 1;
        Orders::apply(&mut state, &recorded(event.clone(), version));
    }
    state
}

/// An event as it is in the log.
pub(crate) fn recorded(event: Event, version: u64) -> Recorded<Event> {
    Recorded {
        id: EventId::parse("018f0000-0000-7000-8000-0000000000ff").unwrap(),
        shop: Shop::parse("acme").unwrap(),
        version,
        position: 1,
        actor: None,
        time: Timestamp::from_millis(NOW.millis() + version as i64),
        cause: Cause { id: format!("cause-{version}"), kind: "test.cause".into() },
        context: Context {
            correlation_id: "request".into(),
            traceparent: "trace".into(),
            tracestate: String::new(),
        },
        event,
    }
}

pub(crate) const ANN: OrderId = id(1);
pub(crate) const BOB: OrderId = id(2);
pub(crate) const CID: OrderId = id(3);

const fn id(number: u128) -> OrderId {
    OrderId(uuid::Uuid::from_u128(number))
}

pub(crate) fn sku(name: &str) -> Sku {
    Sku::parse(name).unwrap()
}

pub(crate) fn gbp(minor: i64) -> Money {
    Money { minor, currency: Currency::parse("GBP").unwrap() }
}

/// A line with the id of its SKU.
pub(crate) fn line(name: &str, units: i64, unit_price: Option<i64>) -> RequestedLine {
    RequestedLine {
        line_id: LineId::parse(name).unwrap(),
        sku: sku(name),
        quantity: Quantity::parse(units).unwrap(),
        unit_price,
        discounts: vec![],
        tax: None,
    }
}

fn sold(name: &str, units: i64, unit_price: i64) -> OrderLine {
    OrderLine {
        line_id: LineId::parse(name).unwrap(),
        sku: sku(name),
        title: format!("{name}, a title"),
        quantity: Quantity::parse(units).unwrap(),
        unit_price,
        discounts: vec![],
        tax: None,
    }
}

pub(crate) fn shortage(name: &str, requested: i64, available: i64) -> Shortage {
    Shortage { sku: sku(name), requested, available }
}

/// An order of 2 `A` and 2 `B`, £7.00 by the catalogue.
pub(crate) fn request(order_id: OrderId) -> Request {
    Request {
        order_id,
        reference: None,
        customer_id: None,
        country: "France".into(),
        billing_country: String::new(),
        currency: Currency::parse("GBP").unwrap(),
        tax_basis: TaxBasis::Included,
        lines: vec![line("A", 2, None), line("B", 2, None)],
        charges: vec![],
        payment_method: "card".into(),
        expected_total: None,
        personal: None,
    }
}

/// Something that is sealed.
pub(crate) fn sealed(name: &str) -> Sealed {
    let sealed = proto::Sealed { key_id: "a-key".into(), ciphertext: name.into() };
    Sealed::parse(Some(sealed)).expect("is good").expect("is there")
}

pub(crate) fn lines() -> Lines {
    [sold("A", 2, 250), sold("B", 2, 100)].into_iter().collect()
}

pub(crate) fn listed() -> ListedLines {
    ListedLines { lines: lines(), count: 2, basis: TaxBasis::Included, placed_position: 1 }
}

/// The history of an order of 2 `A` and 2 `B`, event by event: each carries the statuses that follow.
#[derive(Debug, Clone)]
pub(crate) struct History {
    order_id: OrderId,
    summary: Summary,
    pub(crate) events: Vec<Event>,
}

/// What the customer is to do.
fn action() -> Action {
    Action { url: "https://3ds".into(), data: "token".into(), expires_at: None }
}

impl History {
    /// It is placed as the shop's first order.
    pub(crate) fn placed(order_id: OrderId) -> Self {
        Self::placed_as(order_id, 1, None)
    }

    pub(crate) fn placed_as(order_id: OrderId, number: u64, reference: Option<&str>) -> Self {
        Self::placed_for(order_id, number, reference, gbp(700), "card")
    }

    pub(crate) fn placed_for(
        order_id: OrderId,
        number: u64,
        reference: Option<&str>,
        total: Money,
        payment_method: &str,
    ) -> Self {
        let fact = Fact::Placed {
            country: "France".into(),
            billing_country: String::new(),
            tax_basis: TaxBasis::Included,
            lines: lines(),
            charges: vec![],
            payment_method: payment_method.into(),
            reserve_by: RESERVE_BY,
            personal: None,
        };
        let statuses =
            Statuses(OrderStatus::Placed, PaymentStatus::Pending, FulfilmentStatus::Unfulfilled);
        let reference = reference.map(|text| Reference::parse(text).unwrap());
        let summary = Summary { number, reference, customer_id: None, total, statuses };
        Self { order_id, summary, events: vec![] }.then(fact, statuses)
    }

    /// An event after which it has these statuses.
    pub(crate) fn then(mut self, fact: Fact, statuses: Statuses) -> Self {
        self.summary.statuses = statuses;
        let summary = self.summary.clone();
        self.events.push(Event { order_id: self.order_id, summary, fact });
        self
    }

    pub(crate) fn order(self, fact: Fact, status: OrderStatus) -> Self {
        let statuses = self.summary.statuses.with_order(status);
        self.then(fact, statuses)
    }

    pub(crate) fn payment(self, fact: Fact, status: PaymentStatus) -> Self {
        let statuses = self.summary.statuses.with_payment(status);
        self.then(fact, statuses)
    }

    pub(crate) fn payment_due(self) -> Self {
        self.payment_due_again(1, "card", DUE_BY)
    }

    pub(crate) fn payment_due_again(self, payment: u32, method: &str, due_by: Timestamp) -> Self {
        let fact = Fact::PaymentDue {
            payment,
            amount: gbp(700),
            payment_method: method.into(),
            due_by,
            held_until: Some(HELD_UNTIL),
            capture: Capture::OnConfirmation,
            capture_at_once: None,
            one_step: false,
            abandons: None,
        };
        self.payment(fact, PaymentStatus::Pending)
    }

    /// The payment that has just become due takes the place of this one, which waits for its customer.
    pub(crate) fn abandoning(mut self, payment: u32) -> Self {
        if let Some(Event { fact: Fact::PaymentDue { abandons, .. }, .. }) = self.events.last_mut()
        {
            *abandons = Some(payment);
        }
        self
    }

    /// The customer is to act before this payment goes on.
    pub(crate) fn action_required(self, payment: u32) -> Self {
        let fact = Fact::ActionRequired { payment, action: action() };
        self.payment(fact, PaymentStatus::ActionRequired)
    }

    pub(crate) fn declined(self, payment: u32) -> Self {
        let failure = Failure { code: "declined".into(), detail: String::new() };
        let fact = Fact::PaymentFailed { payment, failure, retry_until: Some(HELD_UNTIL) };
        self.payment(fact, PaymentStatus::Failed)
    }

    pub(crate) fn authorized(self) -> Self {
        let fact = Fact::Authorized { payment: Some(1), allocate_by: ALLOCATE_BY, one_step: None };
        self.payment(fact, PaymentStatus::Authorized)
    }

    pub(crate) fn confirmed(self) -> Self {
        let fact = Fact::Confirmed { payment: Some(1), capture: Some(gbp(700)) };
        self.order(fact, OrderStatus::Confirmed)
    }

    pub(crate) fn paid(self) -> Self {
        let fact = Fact::Paid { payment: Some(1), amount: gbp(700), listed: listed() };
        self.payment(fact, PaymentStatus::Paid)
    }

    pub(crate) fn cancelled(
        self,
        reason: CancelReason,
        detail: &str,
        shortages: &[Shortage],
    ) -> Self {
        let payments = self
            .events
            .iter()
            .filter(|event| matches!(event.fact, Fact::PaymentDue { .. }))
            .count() as u32;
        let fact = Fact::Cancelled {
            cancellation: Cancellation {
                reason,
                detail: detail.into(),
                shortages: shortages.to_vec(),
                note: None,
            },
            listed: listed(),
            payments,
        };
        self.order(fact, OrderStatus::Cancelled)
    }

    /// It is cancelled on request.
    pub(crate) fn cancelled_with(self, note: Option<Sealed>) -> Self {
        let mut history = self.cancelled(CancelReason::Requested, "", &[]);
        if let Some(Event { fact: Fact::Cancelled { cancellation, .. }, .. }) =
            history.events.last_mut()
        {
            cancellation.note = note;
        }
        history
    }

    /// It was placed with personal data.
    pub(crate) fn with_personal(mut self, sealed: Sealed) -> Self {
        if let Fact::Placed { personal, .. } = &mut self.events[0].fact {
            *personal = Some(sealed);
        }
        self
    }

    pub(crate) fn on_hold(self) -> Self {
        let statuses = self.summary.statuses;
        self.then(Fact::PutOnHold(Hold { sku: sku("A"), location: main_location() }), statuses)
    }

    /// It was placed, and so on until it was paid.
    pub(crate) fn paid_order() -> Self {
        Self::placed(ANN).payment_due().authorized().confirmed().paid()
    }

    /// The last event.
    fn last(&self) -> Event {
        self.events.last().cloned().expect("is placed")
    }
}

/// Given this history, the input leads to the events by which `after` is longer.
#[track_caller]
fn leads_to(given: &History, when: &Input, after: &History) {
    assert_eq!(after.events[..given.events.len()], given.events);
    check(&given.events, when, &Decision::events(after.events[given.events.len()..].to_vec()));
}

#[track_caller]
fn leads_to_nothing(given: &History, when: &Input) {
    check(&given.events, when, &Decision::nothing());
}

/// The order passes over all that may come late of a payment that was abandoned.
#[track_caller]
fn nothing_comes_of(payment: u32, given: &History) {
    let late = [
        Signal::Authorized { payment },
        Signal::Captured { payment, amount: gbp(700) },
        Signal::ActionRequired { payment, action: action() },
        Signal::Declined { payment, code: "declined".into() },
        Signal::Failed { payment, detail: "timed out".into() },
        Signal::Refunded { payment, refund_id: String::new(), amount: gbp(700) },
    ];
    for late in late {
        leads_to_nothing(given, &signal(ANN, late));
    }
}

pub(crate) fn signal(order_id: OrderId, signal: Signal) -> Input {
    Input::Signal { order_id, signal }
}

fn cancel(order_id: OrderId, note: Option<Sealed>) -> Input {
    Input::Cancel { order_id, note }
}

/// The answers that bring an order to paid.
pub(crate) fn happy_path() -> [Signal; 4] {
    [
        Signal::Reserved { held_until: HELD_UNTIL },
        Signal::Authorized { payment: 1 },
        Signal::Allocated,
        Signal::Captured { payment: 1, amount: gbp(700) },
    ]
}

pub(crate) fn every_signal(deadline: Timestamp) -> Vec<Signal> {
    let shortages = vec![shortage("A", 2, 1)];
    let action = Action { url: "https://3ds".into(), data: String::new(), expires_at: None };
    let mut signals = happy_path().to_vec();
    signals.extend([
        Signal::Refused { shortages: shortages.clone() },
        Signal::Declined { payment: 1, code: "declined".into() },
        Signal::Failed { payment: 1, detail: "failed".into() },
        Signal::ActionRequired { payment: 1, action },
        Signal::Lost { shortages },
        Signal::CaptureFailed { payment: 1, code: "expired".into() },
        Signal::DeadlinePassed { deadline },
    ]);
    signals
}

fn answered(events: &[Event], answer: impl Into<Answer>) -> Decision<Event, Answer> {
    Decision::answered(events.to_vec(), answer.into())
}

fn main_location() -> Location {
    Location::main()
}
