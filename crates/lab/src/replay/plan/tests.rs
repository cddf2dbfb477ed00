use super::*;
use crate::replay::rows::Row;

const DAY: &str = "2010-12-01 08:26:00";

/// A row of a known customer: invoice, stock code, description, quantity, pence.
fn row<'a>(
    invoice: &'a str,
    stock_code: &'a str,
    description: &'a str,
    quantity: i64,
    price: i64,
) -> Row<'a> {
    let (customer, country) = ("17850.0", "United Kingdom");
    Row { invoice, stock_code, description, quantity, time: DAY, price, customer, country }
}

fn plan(rows: &[Row<'_>]) -> Plan {
    let mut invoices = Invoices::default();
    for row in rows {
        invoices.add(row).expect("is a row");
    }
    Plan::new(&invoices)
}

/// What a plan has of each kind, in words: `order`, `document`; the rest is in its figures.
fn outline(plan: &Plan) -> Vec<String> {
    let mut outline = Vec::new();
    for day in plan.days.values() {
        for order in &day.orders {
            let lines = order.lines.iter();
            let lines = lines.map(|it| format!("{}×{}@{}", it.quantity, it.sku, it.unit_price));
            let charges = order.charges.iter().map(|it| format!("{}={}", it.code, it.amount));
            let all: Vec<_> = lines.chain(charges).collect();
            outline.push(format!("order {}: {} = {}", order.invoice, all.join(" "), order.total));
        }
        for Document { invoice, line, sku, delta, reason } in &day.documents {
            outline.push(format!("document {invoice}/{line}: {sku} {delta:+} {reason}"));
        }
    }
    outline
}

#[track_caller]
fn check(rows: &[Row<'_>], expected: &[&str], figures: impl FnOnce(&mut Figures)) {
    let plan = plan(rows);
    assert_eq!(outline(&plan), expected);
    let mut expected = plan.figures.clone();
    figures(&mut expected);
    assert_eq!(plan.figures, expected);
}

#[test]
fn an_invoice_with_something_sold_is_an_order_with_its_lines_in_file_order() {
    check(
        &[row("536365", "85123A", "HEART", 6, 255), row("536365", "71053", "LANTERN", 2, 339)],
        &["order 536365: 6×85123A@255 2×71053@339 = 2208"],
        |figures| {
            figures.orders = 1;
            figures.order_lines = 2;
            figures.order_units = 8;
            figures.order_total_pence = 2208;
            figures.skus = 2;
            figures.sku_demand_max = 6;
        },
    );
}

#[test]
fn rows_of_one_invoice_belong_together_wherever_they_stand() {
    check(
        &[
            row("1", "10000", "A", 1, 10),
            row("2", "10000", "A", 1, 10),
            row("1", "20000", "B", 1, 5),
        ],
        &["order 1: 1×10000@10 1×20000@5 = 15", "order 2: 1×10000@10 = 10"],
        |figures| (figures.rows, figures.invoices, figures.orders) = (3, 2, 2),
    );
}

#[test]
fn the_same_sku_twice_stays_two_lines_and_is_one_demand() {
    let rows = [row("1", "10000", "A", 3, 10), row("1", "10000", "A", 4, 9)];
    check(&rows, &["order 1: 3×10000@10 4×10000@9 = 66"], |figures| {
        (figures.order_lines, figures.skus, figures.sku_demand_max) = (2, 1, 7);
    });
    let plan = plan(&rows);
    let order = &plan.days.values().next().expect("a day").orders[0];
    assert_eq!((order.units("10000"), order.units("20000")), (7, 0));
}

#[test]
fn the_case_of_a_sku_matters() {
    check(
        &[row("1", "15056bl", "P", 1, 10), row("1", "15056BL", "P", 1, 10)],
        &["order 1: 1×15056bl@10 1×15056BL@10 = 20"],
        |figures| figures.skus = 2,
    );
}

#[test]
fn other_stock_codes_on_an_order_are_charges() {
    check(
        &[
            row("1", "10000", "A", 1, 10),
            row("1", "POST", "POSTAGE", 2, 1800),
            row("1", "BANK CHARGES", "Bank Charges", 1, 1500),
            row("1", "gift_0001_20", "VOUCHER", 1, 0),
        ],
        &["order 1: 1×10000@10 POST=3600 BANK CHARGES=1500 gift_0001_20=0 = 5110"],
        |figures| {
            figures.order_lines = 1;
            figures.charge_lines = 3;
            figures.charge_total_pence = 5100;
            figures.order_total_pence = 5110;
            figures.skus = 1;
        },
    );
}

#[test]
fn an_order_may_be_charges_alone() {
    check(&[row("1", "M", "Manual", 1, 1998)], &["order 1: M=1998 = 1998"], |figures| {
        (figures.orders, figures.order_lines, figures.charge_lines) = (1, 0, 1);
    });
}

#[test]
fn what_is_at_price_0_beside_something_sold_comes_free() {
    check(
        &[row("1", "10000", "A", 1, 10), row("1", "20000", "GIFT", 5, 0)],
        &["order 1: 1×10000@10 5×20000@0 = 10"],
        |figures| (figures.order_units, figures.order_total_pence) = (6, 10),
    );
}

#[test]
fn lines_of_an_order_without_a_positive_quantity_are_dropped_and_counted() {
    check(
        &[
            row("1", "10000", "A", 1, 10),
            row("1", "20000", "B", -1, 10),
            row("1", "D", "Discount", -1, 500),
            row("1", "30000", "C", 0, 10),
        ],
        &["order 1: 1×10000@10 = 10"],
        |figures| (figures.order_lines_dropped, figures.order_lines, figures.skus) = (3, 1, 3),
    );
}

#[test]
fn an_invoice_with_nothing_sold_is_adjustments_by_the_erp() {
    check(
        &[
            row("1", "10000", "damages", -38, 0),
            row("1", "20000", " ", 5, 0),
            row("1", "POST", "POSTAGE", 1, 0),
            row("2", "10000", "sold at no price", -1, 10),
        ],
        &[
            "document 1/0: 10000 -38 damages",
            "document 1/1: 20000 +5 no reason given",
            "document 2/0: 10000 -1 sold at no price",
        ],
        |figures| {
            figures.adjustment_invoices = 2;
            figures.adjustment_lines = 3;
            figures.units_adjusted_net = -34;
            figures.orders = 0;
        },
    );
}

#[test]
fn a_return_puts_its_units_back() {
    check(
        &[
            row("C1", "10000", "A", -12, 165),
            row("C1", "D", "Discount", -1, 2750),
            row("C1", "20000", "B", 1, 10),
        ],
        &["document C1/0: 10000 +12 return C1", "document C1/2: 20000 -1 return C1"],
        |figures| {
            figures.return_invoices = 1;
            figures.return_lines = 2;
            figures.units_adjusted_net = 11;
            figures.orders = 0;
        },
    );
}

#[test]
fn a_bad_debt_is_ignored_and_counted() {
    check(&[row("A563185", "B", "Adjust bad debt", 1, 1_106_206)], &[], |figures| {
        (figures.invoices, figures.ignored_invoices, figures.orders) = (1, 1, 0);
    });
}

#[test]
fn customers_are_counted_once_and_guests_have_no_name() {
    let customer = |invoice, customer| Row { customer, ..row(invoice, "10000", "A", 1, 10) };
    let rows = [customer("1", "17850.0"), customer("2", "17850.0"), customer("3", " ")];
    let plan = plan(&rows);
    let orders = &plan.days.values().next().expect("a day").orders;
    let names: Vec<_> = orders.iter().map(|order| order.customer.as_deref()).collect();
    assert_eq!(names, [Some("17850"), Some("17850"), None]);
    assert_eq!((plan.figures.customers, plan.figures.guest_orders), (1, 1));
}

#[test]
fn days_follow_one_another_and_documents_are_numbered_through_all_of_them() {
    let on = |time, row| Row { time, ..row };
    let late = on("2010-12-02 07:00:00", row("C9", "10000", "A", -1, 10));
    let rows = [late, row("8", "10000", "lost", -2, 0)];
    assert_eq!(
        outline(&plan(&rows)),
        ["document 8/0: 10000 -2 lost", "document C9/0: 10000 +1 return C9"]
    );
    let mut invoices = Invoices::default();
    let undated = on("yesterday", row("1", "10000", "A", 1, 10));
    assert!(invoices.add(&undated).is_err());
}

#[test]
fn a_product_has_its_first_description_and_its_first_price() {
    let plan = plan(&[
        row("1", "10000", "", 5, 0),
        row("2", "10000", "LANTERN", 1, 0),
        row("3", "10000", "LAMP", 1, 250),
        row("4", "10000", "LAMP", 1, 300),
        row("5", "20000", "", -1, 0),
    ]);
    let product = |sku: &str| (plan.products[sku].title.as_deref(), plan.products[sku].price);
    assert_eq!(product("10000"), (Some("LANTERN"), 250));
    assert_eq!(product("20000"), (None, 0));
}

#[test]
fn ample_stock_covers_demand_and_what_is_adjusted_away_and_tight_is_70_percent_of_it() {
    let plan = plan(&[
        row("1", "10000", "A", 100, 10),
        row("2", "10000", "found", 40, 0),
        row("3", "10000", "damages", -7, 0),
        row("4", "10000", "lost", -2, 0),
    ]);
    let product = &plan.products["10000"];
    assert_eq!(product.opening(Stock::Ample), 109);
    assert_eq!(product.had(Stock::Ample), 140);
    // 76.3 is not sold in parts.
    assert_eq!(product.opening(Stock::Tight), 76);
    assert_eq!(product.had(Stock::Tight), 107);
    let day = plan.days.values().next().expect("there is a day");
    assert_eq!(day.needs(), BTreeMap::from([("10000".into(), 109)]));
}

#[test]
fn words_are_on_one_line_and_no_longer_than_the_gateway_takes() {
    assert_eq!(words(" wet\r\ndamaged "), Some("wet  damaged".to_owned()));
    assert_eq!(words(" \t "), None);
    assert_eq!(words(&"é".repeat(300)).map(|words| words.chars().count()), Some(200));
}
