use events::view::{CancelReason, OrderTotals, PaymentTotals};
use serde_json::json;

use super::*;
use crate::replay::{
    invoices::Invoices,
    rows::Row,
    stand::{StockTotals, Totals},
    trade::Group,
};

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

/// Everything that was answered and is there when so many units of the plan's orders are paid, and
/// all else is as it must be.
fn agreeing(stock: Stock, paid: Group, out_of_stock: Group, units: i64) -> (Trade, Stand) {
    let mut trade = Trade { paid, out_of_stock, ..Trade::default() };
    trade.sold.insert("10000".into(), units);
    trade.documents.applied = 2;
    let product = &plan().products["10000"];
    let on_hand = product.on_hand(stock);
    let level = json!({
        "sku": "10000", "location": "main", "on_hand": on_hand, "held": 0, "allocated": units,
        "available": (on_hand - units).max(0), "version": 3,
    });
    let group = |status, reason, group: Group| OrderGroup {
        status,
        reason,
        orders: group.orders as i64,
        total: group.total,
    };
    let groups = vec![
        group(OrderStatus::Paid, None, paid),
        group(OrderStatus::Cancelled, Some(CancelReason::OutOfStock), out_of_stock),
    ];
    let payments =
        PaymentTotals { captured: paid.total, provider_net: paid.total, ..Default::default() };
    let inventory = StockTotals { held: 0 };
    let totals = Totals { orders: OrderTotals { groups }, payments, inventory };
    let levels = vec![serde_json::from_value(level).expect("is a level")];
    (trade, Stand { totals, levels })
}

fn ample() -> (Trade, Stand) {
    agreeing(Stock::Ample, Group { orders: 2, total: 50 }, Group::default(), 10)
}

fn tight() -> (Trade, Stand) {
    let out_of_stock = Group { orders: 1, total: 30 };
    agreeing(Stock::Tight, Group { orders: 1, total: 20 }, out_of_stock, 4)
}

/// Checks which claims fail once `change` has been made to what agrees.
#[track_caller]
fn check(stock: Stock, change: impl FnOnce(&mut Trade, &mut Stand), expected: &[(&str, i64, i64)]) {
    let (mut trade, mut stand) = match stock {
        Stock::Ample => ample(),
        Stock::Tight => tight(),
    };
    change(&mut trade, &mut stand);
    let checks = checks(&plan(), stock, &trade, &stand);
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
    let known = |trade: &mut Trade, _: &mut Stand| {
        trade.known = 2;
        (trade.documents.applied, trade.documents.known) = (0, 2);
    };
    check(Stock::Ample, known, &[]);
}

#[test]
fn with_ample_stock_every_order_is_paid() {
    let cancelled = |trade: &mut Trade, stand: &mut Stand| {
        let out_of_stock = Group { orders: 1, total: 30 };
        let paid = Group { orders: 1, total: 20 };
        (*trade, *stand) = agreeing(Stock::Ample, paid, out_of_stock, 4);
    };
    let expected = [
        ("orders that are paid", 2, 1),
        ("money captured: the total of all invoices", 50, 20),
        ("SKUs that have left opening + adjustments − units sold", 1, 0),
    ];
    check(Stock::Ample, cancelled, &expected);
}

#[test]
fn an_order_that_nobody_answered_to_is_missed() {
    let lost = |trade: &mut Trade, stand: &mut Stand| {
        trade.out_of_stock = Group::default();
        trade.wrong_ends.add("order 2 is refused".to_owned());
        stand.totals.orders.groups.pop();
    };
    let expected = [
        ("orders that the order service has", 2, 1),
        ("orders that are paid, or cancelled for stock", 2, 1),
        ("orders that come to the total of their invoice", 2, 1),
    ];
    check(Stock::Tight, lost, &expected);
}

#[test]
fn a_cancellation_that_does_not_name_its_shortages_is_found() {
    let silent = |trade: &mut Trade, _: &mut Stand| {
        trade.wrong_shortages.add("order 2 names no shortage".to_owned());
    };
    let claim = "orders cancelled for stock that name what there was too little of";
    check(Stock::Tight, silent, &[(claim, 1, 0)]);
}

#[test]
fn money_without_an_order_is_found() {
    let taken = |_: &mut Trade, stand: &mut Stand| stand.totals.payments.captured += 7;
    let expected = [
        ("money captured: the total of the paid orders", 20, 27),
        ("money kept, by the payment provider's own ledger", 27, 20),
    ];
    check(Stock::Tight, taken, &expected);
    let set_aside = |_: &mut Trade, stand: &mut Stand| stand.totals.payments.provider_held = 30;
    check(Stock::Ample, set_aside, &[("money set aside, and payments under way", 0, 30)]);
}

#[test]
fn stock_that_is_lost_or_sold_twice_is_found() {
    let lost = |_: &mut Trade, stand: &mut Stand| stand.levels[0].on_hand -= 1;
    let expected = [
        ("SKUs whose on-hand is opening + adjustments", 1, 0),
        ("SKUs that have left opening + adjustments − units sold", 1, 0),
    ];
    check(Stock::Ample, lost, &expected);

    let oversold = |trade: &mut Trade, stand: &mut Stand| {
        // 70 % of 12 and the 3 that came back.
        trade.sold.insert("10000".into(), 12);
        stand.levels[0].allocated = 12;
    };
    check(Stock::Tight, oversold, &[("SKUs that sold no more than they ever had", 1, 0)]);
    let last_unit = |trade: &mut Trade, stand: &mut Stand| {
        trade.sold.insert("10000".into(), 11);
        stand.levels[0].allocated = 11;
    };
    check(Stock::Tight, last_unit, &[]);

    let promised = |_: &mut Trade, stand: &mut Stand| stand.levels[0].allocated += 1;
    check(Stock::Tight, promised, &[("SKUs whose allocated units are those paid for", 1, 0)]);
    let held = |_: &mut Trade, stand: &mut Stand| stand.totals.inventory.held = 1;
    check(Stock::Tight, held, &[("units held for orders that are not settled", 0, 1)]);
}

#[test]
fn a_document_that_is_not_booked_is_found() {
    let refused = |trade: &mut Trade, _: &mut Stand| trade.documents.applied = 1;
    check(Stock::Ample, refused, &[("adjustments and returns of the ERP that are booked", 2, 1)]);
}
