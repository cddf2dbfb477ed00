use client::Totals;
use events::{
    http::{
        CancelReason, CurrencyTotals, FulfilmentStatus, OrderStatus, OrderTotals, OrderView,
        PaymentStatus, PaymentTotals, StockTotals,
    },
    money::Money,
};
use serde_json::json;

use super::*;
use crate::replay::{invoices::Invoices, rows::Row, sums::OrderSums, trade::Group};

const FIGURES: &str = "figures of the files that come back otherwise";
const AS_SOLD: &str = "orders that come back as they were sold, to the last line and penny";
const LEFT_OF_AMPLE: &str = "SKUs that have left opening + adjustments − units sold";
const LEFT_OF_TIGHT: &str = "SKUs that have left opening + adjustments − units paid for";
const RAN_OUT: &str = "SKUs that ran out, of which no more can have been left than was reported";

/// Ten of A are sold in two orders at 5 each; two are lost and three come back.
fn plan() -> Plan {
    let row = |invoice, quantity, price| Row {
        invoice,
        stock_code: "10000",
        description: "A",
        quantity,
        time: "2010-12-01 08:26:00",
        price,
        customer: "",
        country: "France",
    };
    let mut invoices = Invoices::default();
    for row in [row("1", 4, 5), row("2", 6, 5), row("3", -2, 0), row("C4", -3, 5)] {
        invoices.add(&row).expect("is a row");
    }
    Plan::new(&invoices)
}

/// An order as it comes back.
fn order(id: &str, units: i64) -> OrderView {
    let order = json!({
        "id": format!("00000000-0000-0000-0000-00000000000{id}"), "number": 1, "status": "confirmed", "payment_status": "paid",
        "fulfilment_status": "unfulfilled", "tax_basis": "included",
        "country": "France", "currency": "GBP", "charges": [], "total": units * 5, "version": 5,
        "lines": [{"line_id": "1", "sku": "10000", "quantity": units, "unit_price": 5}],
        "placed_at": "2010-12-01T08:26:00.000Z", "updated_at": "2010-12-01T08:26:01.000Z",
    });
    serde_json::from_value(order).expect("is an order")
}

/// Everything that was answered and is there when so many units of the plan's orders are paid, and
/// all else is as it must be.
fn agreeing(stock: Stock, paid: Group, out_of_stock: Group, units: i64) -> (Trade, Observed) {
    let mut trade = Trade { paid, out_of_stock, ..Trade::default() };
    trade.sold.insert("10000".into(), units);
    trade.documents.applied = 2;
    for (id, units) in [("a", 4), ("b", 6)] {
        let order = order(id, units);
        trade.placed.push(order.id);
        trade.order_sums.add(&order);
    }
    if out_of_stock.orders > 0 {
        // What the other order was reported: 70 % of 12, less what is sold.
        trade.left.insert("10000".into(), 8 - units);
    }
    let product = &plan().products["10000"];
    // What is sold is shipped.
    let on_hand = product.had(stock) - units;
    trade.moved.insert("10000".into(), on_hand);
    (trade.sold_lines, trade.shipments.applied) = (paid.orders, paid.orders);
    (trade.adjusted, trade.shipped) = (1, units);
    let level = json!({
        "sku": "10000", "location": "main", "on_hand": on_hand, "held": 0, "allocated": 0,
        "available": on_hand.max(0), "version": 3,
    });
    let group = |status: OrderStatus, reason: Option<CancelReason>, group: Group| {
        let paid = if reason.is_some() { PaymentStatus::Pending } else { PaymentStatus::Paid };
        OrderGroup {
            status: status.into(),
            payment_status: paid.into(),
            fulfilment_status: FulfilmentStatus::Unfulfilled.into(),
            reason: reason.map(Into::into),
            orders: group.orders as i64,
            total: Money { minor: group.total, currency: currency() },
        }
    };
    let groups = vec![
        group(OrderStatus::Confirmed, None, paid),
        group(OrderStatus::Cancelled, Some(CancelReason::OutOfStock), out_of_stock),
    ];
    let nothing = PaymentTotals::default().of(currency());
    let sums = CurrencyTotals { captured: paid.total, provider_net: paid.total, ..nothing };
    let payments = PaymentTotals { currencies: vec![sums], pending: 0, stuck: 0 };
    let inventory = StockTotals::default();
    let totals = Totals { orders: OrderTotals { groups }, payments, inventory };
    let levels = vec![serde_json::from_value(level).expect("is a level")];
    (trade, Observed { totals, levels })
}

fn ample() -> (Trade, Observed) {
    agreeing(Stock::Ample, Group { orders: 2, total: 50 }, Group::default(), 10)
}

fn tight() -> (Trade, Observed) {
    let out_of_stock = Group { orders: 1, total: 30 };
    agreeing(Stock::Tight, Group { orders: 1, total: 20 }, out_of_stock, 4)
}

/// Checks which claims fail once `change` has been made to what agrees.
#[track_caller]
fn check(
    stock: Stock,
    change: impl FnOnce(&mut Trade, &mut Observed),
    expected: &[(&str, i64, i64)],
) {
    let (mut trade, mut observed) = match stock {
        Stock::Ample => ample(),
        Stock::Tight => tight(),
    };
    change(&mut trade, &mut observed);
    let plan = plan();
    let reported = trade.order_sums.figures(&plan, stock, &trade, &observed);
    let checks = checks(&plan, &reported, stock, &trade, &observed);
    let broken = checks.iter().filter(|check| !check.is_ok());
    let broken: Vec<_> = broken.map(|it| (it.claim, it.expected, it.actual)).collect();
    assert_eq!(broken, expected);
}

#[test]
fn what_agrees_is_in_order() {
    check(Stock::Ample, |_, _| (), &[]);
    check(Stock::Tight, |_, _| (), &[]);
}

#[test]
fn what_was_replayed_before_is_in_order() {
    let known = |trade: &mut Trade, observed: &mut Observed| {
        (trade.known, trade.known_paid) = (2, trade.paid);
        (trade.documents.applied, trade.documents.known) = (0, 2);
        (trade.shipments.applied, trade.shipments.known) = (0, 2);
        trade.before = observed.totals.clone();
        let level = &observed.levels[0];
        trade.levels_before.insert("10000".into(), (level.on_hand, level.allocated));
        trade.moved.clear();
    };
    check(Stock::Ample, known, &[]);
}

#[test]
fn with_ample_stock_every_order_is_paid() {
    let cancelled = |trade: &mut Trade, observed: &mut Observed| {
        let out_of_stock = Group { orders: 1, total: 30 };
        let paid = Group { orders: 1, total: 20 };
        (*trade, *observed) = agreeing(Stock::Ample, paid, out_of_stock, 4);
    };
    let expected = [
        ("orders that are paid", 2, 1),
        ("money captured: the total of all invoices", 50, 20),
        (LEFT_OF_AMPLE, 1, 0),
    ];
    check(Stock::Ample, cancelled, &expected);
}

#[test]
fn an_order_that_nobody_answered_to_is_missed() {
    let lost = |trade: &mut Trade, observed: &mut Observed| {
        trade.out_of_stock = Group::default();
        trade.order_sums = OrderSums::default();
        trade.order_sums.add(&order("a", 4));
        trade.placed.pop();
        trade.wrong_ends.add("order 2 is refused".to_owned());
        observed.totals.orders.groups.pop();
    };
    let expected = [
        // Orders, guests, lines, units, their total, and the units of the SKU.
        (FIGURES, 0, 6),
        ("orders that the order service has", 2, 1),
        ("orders that are paid, or cancelled for stock", 2, 1),
        (AS_SOLD, 2, 1),
    ];
    check(Stock::Tight, lost, &expected);
}

#[test]
fn a_cancellation_that_does_not_name_its_shortages_is_found() {
    let silent = |trade: &mut Trade, _: &mut Observed| {
        trade.wrong_shortages.add("order 2 names no shortage".to_owned());
    };
    let claim = "orders cancelled for stock that name what there was too little of";
    check(Stock::Tight, silent, &[(claim, 1, 0)]);
}

#[test]
fn an_order_that_comes_back_otherwise_is_found() {
    let other = |trade: &mut Trade, _: &mut Observed| {
        trade.wrong_orders.add("order 2 came back with another lines");
    };
    check(Stock::Ample, other, &[(AS_SOLD, 2, 1)]);
    let fewer = |trade: &mut Trade, _: &mut Observed| {
        trade.order_sums = OrderSums::default();
        trade.order_sums.add(&order("a", 4));
        trade.order_sums.add(&order("b", 5));
    };
    // Units, their total, and the units of the SKU.
    check(Stock::Ample, fewer, &[(FIGURES, 0, 3)]);
}

#[test]
fn an_order_that_is_refused_while_units_are_left_is_found() {
    let refused = |trade: &mut Trade, _: &mut Observed| _ = trade.left.insert("10000".into(), 1);
    check(Stock::Tight, refused, &[(RAN_OUT, 1, 0)]);
}

fn sums(observed: &mut Observed) -> &mut CurrencyTotals {
    &mut observed.totals.payments.currencies[0]
}

#[test]
fn money_without_an_order_is_found() {
    let taken = |_: &mut Trade, observed: &mut Observed| sums(observed).captured += 7;
    let expected = [
        ("money captured: the total of the paid orders", 20, 27),
        ("money kept, by the payment provider's own ledger", 27, 20),
    ];
    check(Stock::Tight, taken, &expected);
    let set_aside = |_: &mut Trade, observed: &mut Observed| sums(observed).provider_held = 30;
    check(Stock::Ample, set_aside, &[("money set aside, and payments under way", 0, 30)]);
}

#[test]
fn stock_that_is_lost_or_sold_twice_is_found() {
    let lost = |_: &mut Trade, observed: &mut Observed| observed.levels[0].on_hand -= 1;
    let expected = [
        (FIGURES, 0, 1),
        ("SKUs whose on-hand changed by what the ERP booked now", 1, 0),
        ("SKUs whose on-hand is opening + adjustments − units", 1, 0),
    ];
    check(Stock::Ample, lost, &expected);
    let kept_back = |_: &mut Trade, observed: &mut Observed| observed.levels[0].available -= 1;
    check(Stock::Ample, kept_back, &[(LEFT_OF_AMPLE, 1, 0)]);
    check(Stock::Tight, kept_back, &[(LEFT_OF_TIGHT, 1, 0)]);

    let sold = |units: i64| {
        move |trade: &mut Trade, observed: &mut Observed| {
            let out_of_stock = Group { orders: 1, total: 30 };
            let paid = Group { orders: 1, total: 20 };
            (*trade, *observed) = agreeing(Stock::Tight, paid, out_of_stock, units);
            trade.left.insert("10000".into(), 0);
        }
    };
    // 70 % of 12 and the 3 that came back.
    check(Stock::Tight, sold(12), &[("SKUs that sold no more than they ever had", 1, 0)]);
    check(Stock::Tight, sold(11), &[]);

    let promised = |_: &mut Trade, observed: &mut Observed| observed.levels[0].allocated += 1;
    check(Stock::Tight, promised, &[("SKUs of which nothing sold is left to be shipped", 1, 0)]);
    let held = |_: &mut Trade, observed: &mut Observed| observed.totals.inventory.held = 1;
    check(Stock::Tight, held, &[("units held for orders that are not settled", 0, 1)]);
}

#[test]
fn a_document_that_is_not_booked_is_found() {
    let refused = |trade: &mut Trade, _: &mut Observed| trade.documents.applied = 1;
    check(Stock::Ample, refused, &[("adjustments and returns of the ERP that are booked", 2, 1)]);
    let kept = |trade: &mut Trade, _: &mut Observed| trade.shipments.applied = 1;
    check(Stock::Ample, kept, &[("lines of paid orders that are shipped", 2, 1)]);
}
