//! How each event changes the rows.

use engine::Recorded;
use events::shop::Capture;
use protocol::time::Timestamp;

use super::{
    NumberKey, Order, OrderCancellation, OrderContent, OrderNumber, OrderPayment, OrderPersonal,
    OrderShipped, OrderSku, OrderSkuKey, ReferencedOrder, Shop,
};
use crate::domain::{
    Awaits, Event, Fact, Failure, FulfilmentStatus, OneStep, OrderStatus, PaymentStatus,
    ShippedLine, Summary,
};

impl Shop {
    /// Folds an event into the rows.
    pub(crate) fn fold(&mut self, recorded: &Recorded<Event>) {
        let Event { order_id, summary, fact } = &recorded.event;
        if let Fact::Placed { .. } = fact {
            return self.fold_placed(recorded);
        }
        // A log begins each order with `placed`, so there is one.
        if let Some(order) = self.orders.change(order_id) {
            order.statuses = summary.statuses;
            order.revision = recorded.revision();
            order.updated_at = recorded.time;
            order.fold(fact);
        }
        match fact {
            Fact::Cancelled { cancellation, .. } => {
                self.cancellations.put(*order_id, OrderCancellation(cancellation.clone()));
            }
            Fact::Shipped { lines, .. } => self.fold_shipped(recorded, lines),
            _ => {}
        }
    }

    fn fold_placed(&mut self, recorded: &Recorded<Event>) {
        let Event { order_id, summary, fact } = &recorded.event;
        let Fact::Placed {
            country,
            billing_country,
            tax_basis,
            lines,
            charges,
            payment_method,
            reserve_by,
            personal,
        } = fact
        else {
            return;
        };
        let Summary { number, reference, customer_id, total, statuses } = summary;
        let order = Order {
            statuses: *statuses,
            awaits: Awaits::Hold,
            revision: recorded.revision(),
            number: *number,
            total: *total,
            payment_method: payment_method.clone(),
            payments: Vec::new(),
            capture: Capture::default(),
            capture_requested: 0,
            held_until: None,
            is_allocated: false,
            hold: None,
            reason: None,
            deadline: Some(*reserve_by),
            context: recorded.context.clone(),
            placed_at: recorded.time,
            updated_at: recorded.time,
        };
        let content = OrderContent {
            number: *number,
            placed_at: recorded.time,
            placed_position: recorded.position,
            reference: reference.clone(),
            customer_id: customer_id.clone(),
            country: country.clone(),
            billing_country: billing_country.clone(),
            has_personal: personal.is_some(),
            tax_basis: *tax_basis,
            lines: lines.clone(),
            charges: charges.clone(),
        };
        for line in lines.iter() {
            let (number, sku) = (*number, line.sku.clone());
            let row = OrderSku { sku: sku.clone(), placed_at: recorded.time, number };
            self.skus.put(OrderSkuKey { number, sku }, row);
        }
        self.orders.put(*order_id, order);
        self.contents.put(*order_id, content);
        if let Some(personal) = personal {
            self.personal.put(*order_id, OrderPersonal(personal.clone()));
        }
        self.numbers.put(NumberKey, OrderNumber(*number));
        if let Some(reference) = reference {
            self.references.put(reference.clone(), ReferencedOrder(*order_id));
        }
    }

    fn fold_shipped(&mut self, recorded: &Recorded<Event>, units: &[ShippedLine]) {
        let order_id = &recorded.event.order_id;
        let Some(content) = self.contents.get(order_id) else { return };
        let lines = content.lines.clone();
        let OrderShipped(shipped) = self.shipped.change_or_default(order_id);
        shipped.resize(lines.len(), 0);
        for (line, shipped) in lines.iter().zip(shipped) {
            let of_line = units.iter().filter(|it| it.line_id == line.line_id);
            *shipped += of_line.map(|it| it.quantity).sum::<i64>();
        }
    }
}

impl Order {
    /// Folds a fact into what the order waits for, and into its payments.
    fn fold(&mut self, fact: &Fact) {
        match fact {
            // With one an order begins, with the other nothing is awaited any more.
            Fact::Placed { .. } | Fact::Completed => {}
            Fact::PaymentDue {
                payment_method,
                due_by,
                held_until,
                capture,
                capture_at_once,
                one_step,
                amount,
                abandons,
                payment: _,
            } => {
                self.change_payment(abandons.unwrap_or(0), OrderPayment::abandon);
                self.payment_method.clone_from(payment_method);
                self.capture = *capture;
                self.payments.push(OrderPayment::begun());
                self.held_until = *held_until;
                self.is_allocated |= *one_step;
                if held_until.is_some() {
                    self.wait_for(Awaits::Payment, Some(*due_by));
                } else {
                    // What the failed one was asked for and has not captured is asked of this one.
                    self.capture_requested = self.captured();
                    let at_once = if *one_step { Some(*amount) } else { *capture_at_once };
                    self.ask_for(at_once.map_or(0, |amount| amount.minor));
                }
            }
            Fact::PaymentFailed { payment, failure, retry_until } => {
                self.change_payment(*payment, |it| {
                    it.status = PaymentStatus::Failed;
                    it.failure = Some(failure.clone());
                    it.action = None;
                });
                let awaits = if retry_until.is_some() { Awaits::Payment } else { Awaits::Nothing };
                self.wait_for(awaits, *retry_until);
            }
            Fact::ActionRequired { payment, action } => self.change_payment(*payment, |it| {
                it.status = PaymentStatus::ActionRequired;
                it.action = Some(action.clone());
            }),
            Fact::Authorized { payment, allocate_by, one_step } => {
                if let Some(OneStep { payment_method, held_until }) = one_step {
                    self.payment_method.clone_from(payment_method);
                    self.held_until = Some(*held_until);
                }
                self.change_payment(payment.unwrap_or(0), |it| {
                    it.status = PaymentStatus::Authorized;
                    it.action = None;
                });
                self.wait_for(Awaits::Allocation, Some(*allocate_by));
            }
            // From here on nothing is awaited in time: money may have moved, or it is over.
            Fact::Confirmed { capture, .. } => {
                self.held_until = None;
                self.ask_for(capture.map_or(0, |amount| amount.minor));
            }
            Fact::PartCaptured { payment, amount, captured } => {
                self.change_payment(*payment, |it| it.capture(amount.minor));
                if captured.minor >= self.capture_requested {
                    self.wait_for(Awaits::Nothing, None);
                }
            }
            Fact::Paid { payment, amount, .. } => {
                let earlier = self.captured();
                self.change_payment(payment.unwrap_or(0), |it| {
                    it.captured += amount.minor - earlier;
                    it.status = PaymentStatus::of_paid(it.captured, it.refunded);
                });
                self.wait_for(Awaits::Nothing, None);
            }
            Fact::Shipped { capture, fulfilment, .. } => {
                if *fulfilment == FulfilmentStatus::Fulfilled {
                    self.hold = None;
                }
                if let Some((_, amount)) = capture {
                    self.ask_for(amount.minor);
                }
            }
            Fact::Refunded { payment, amount, captured, .. } => {
                let noted = self.captured();
                let is_cancelled = self.statuses.0 == OrderStatus::Cancelled;
                self.change_payment(*payment, |it| {
                    it.refunded += amount.minor;
                    it.captured += captured.minor - noted;
                    if it.status.is_paid() || is_cancelled {
                        it.status = PaymentStatus::of_paid(it.captured, it.refunded);
                    }
                });
            }
            Fact::PutOnHold(hold) => self.hold = Some(hold.clone()),
            Fact::TakenOffHold { .. } => self.hold = None,
            Fact::Cancelled { cancellation, .. } => {
                self.reason = Some(cancellation.reason);
                self.hold = None;
                self.wait_for(Awaits::Nothing, None);
            }
        }
    }

    fn wait_for(&mut self, awaits: Awaits, deadline: Option<Timestamp>) {
        self.awaits = awaits;
        self.deadline = deadline;
    }

    /// Payment is asked to capture an amount.
    fn ask_for(&mut self, amount: i64) {
        self.capture_requested += amount;
        let is_awaited = self.capture_requested > self.captured();
        self.wait_for(if is_awaited { Awaits::Capture } else { Awaits::Nothing }, None);
    }

    fn change_payment(&mut self, number: u32, change: impl FnOnce(&mut OrderPayment)) {
        let index = (number as usize).checked_sub(1);
        if let Some(payment) = index.and_then(|index| self.payments.get_mut(index)) {
            change(payment);
        }
    }
}

impl OrderPayment {
    /// A part of it is captured. One that takes the place of a failed one is known to be authorised by that.
    fn capture(&mut self, amount: i64) {
        self.captured += amount;
        if matches!(self.status, PaymentStatus::Pending | PaymentStatus::ActionRequired) {
            self.status = PaymentStatus::Authorized;
            self.action = None;
        }
    }

    /// Another one takes its place while it waits for its customer. What becomes of it is nothing of the order's.
    fn abandon(&mut self) {
        let detail = "another payment was started".to_owned();
        self.status = PaymentStatus::Failed;
        self.failure = Some(Failure { code: String::new(), detail });
        self.action = None;
    }

    fn begun() -> Self {
        Self {
            status: PaymentStatus::Pending,
            captured: 0,
            refunded: 0,
            failure: None,
            action: None,
        }
    }
}
