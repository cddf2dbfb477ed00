//! Orders that are placed, and those that are not.

use events::{
    id::Reference,
    money::{MAX_ORDER_TOTAL, MAX_UNIT_PRICE, Tax},
};

use super::*;
use crate::domain::{Discount, LineProblem, LineProblemCode, PlaceAnswer};

fn placed_answer(total: i64, unit_prices: &[i64], titles: &[&str]) -> PlaceAnswer {
    PlaceAnswer::Placed {
        order_id: ANN,
        number: 1,
        total: gbp(total),
        unit_prices: unit_prices.to_vec(),
        titles: titles.iter().map(|name| format!("{name}, a title")).collect(),
        placed_at: NOW,
    }
}

/// The total of an order that is placed, or why it is not.
fn place(request: Request) -> Result<i64, PlaceAnswer> {
    match decide(&fold(&[]), &Input::Place(request)).answer {
        Some(Answer::Place(PlaceAnswer::Placed { total, .. })) => Ok(total.minor),
        Some(Answer::Place(refused)) => Err(refused),
        other => panic!("is no answer to an order: {other:?}"),
    }
}

fn refused(line: usize, name: &str, code: LineProblemCode) -> PlaceAnswer {
    PlaceAnswer::Refused { problems: vec![LineProblem { line, sku: sku(name), code }] }
}

#[test]
fn an_order_is_placed_at_the_prices_and_titles_of_the_catalogue() {
    check(
        &[],
        &Input::Place(request(ANN)),
        &answered(&History::placed(ANN).events, placed_answer(700, &[250, 100], &["A", "B"])),
    );
}

#[test]
fn orders_are_numbered_without_gaps_also_when_some_are_refused() {
    let mut state = fold(&[]);
    let mut log = Vec::new();
    let unknown = Request { lines: vec![line("NEW", 1, None)], ..request(BOB) };
    for wanted in [request(ANN), unknown, request(ANN), request(BOB), request(CID)] {
        run(&mut state, &mut log, &Input::Place(wanted));
    }
    let numbers: Vec<_> = log.iter().map(|event| event.summary.number).collect();
    assert_eq!(numbers, [1, 2, 3]);
}

#[test]
fn the_same_sku_stands_on_two_lines() {
    let second = RequestedLine { line_id: LineId::parse("x").unwrap(), ..line("A", 3, Some(0)) };
    let lines = vec![line("A", 2, None), second];
    assert_eq!(place(Request { lines, ..request(ANN) }), Ok(500));
}

#[test]
fn a_price_as_sold_replaces_the_catalogues_in_the_same_currency() {
    let of = |line: RequestedLine| place(Request { lines: vec![line], ..request(ANN) });
    assert_eq!(of(line("A", 2, Some(199))), Ok(398));
    assert_eq!(of(line("A", 2, Some(0))), Ok(0));
    // It was sold elsewhere when it was still sold.
    assert_eq!(of(line("GONE", 2, Some(199))), Ok(398));
    let other = refused(0, "EURO", LineProblemCode::OtherCurrency);
    assert_eq!(of(line("EURO", 1, Some(5))), Err(other));
}

#[test]
fn everything_that_is_wrong_with_the_lines_is_answered_at_once() {
    let lines = vec![
        line("NEW", 1, Some(5)),
        line("A", 1, None),
        line("GONE", 1, None),
        line("EURO", 1, None),
    ];
    let problem = |line, sku, code| LineProblem { line, sku: self::sku(sku), code };
    let problems = vec![
        problem(0, "NEW", LineProblemCode::UnknownSku),
        problem(2, "GONE", LineProblemCode::Discontinued),
        problem(3, "EURO", LineProblemCode::OtherCurrency),
    ];
    let refused = Err(PlaceAnswer::Refused { problems });
    assert_eq!(place(Request { lines, ..request(ANN) }), refused);
}

#[test]
fn a_line_costs_less_by_its_discounts_and_never_less_than_nothing() {
    let with = |amounts: &[i64]| {
        let discount = |amount: &i64| Discount { code: "SUMMER".into(), amount: *amount };
        let discounts = amounts.iter().map(discount).collect();
        place(Request {
            lines: vec![RequestedLine { discounts, ..line("A", 2, None) }],
            ..request(ANN)
        })
    };
    assert_eq!(with(&[100, 50]), Ok(350));
    assert_eq!(with(&[500]), Ok(0));
    assert_eq!(with(&[500, 1]), Err(refused(0, "A", LineProblemCode::DiscountTooLarge)));
}

#[test]
fn a_tax_that_is_not_in_the_price_is_added_and_must_follow_from_its_rate() {
    let with = |tax_basis, amount| {
        let tax = Some(Tax { rate_ppm: 200_000, amount });
        let lines = vec![RequestedLine { tax, ..line("A", 2, Some(250)) }];
        let charges = vec![Charge { code: "POST".into(), amount: 100, tax: None }];
        place(Request { tax_basis, lines, charges, ..request(ANN) })
    };
    assert_eq!(with(TaxBasis::Excluded, 100), Ok(700));
    assert_eq!(with(TaxBasis::Included, 83), Ok(600));
    let mismatch = refused(0, "A", LineProblemCode::TaxMismatch);
    assert_eq!(with(TaxBasis::Excluded, 83), Err(mismatch.clone()));
    assert_eq!(with(TaxBasis::Included, 100), Err(mismatch));
}

#[test]
fn a_price_of_the_catalogue_is_on_the_basis_of_the_order() {
    let lines = vec![line("A", 1, None)];
    let wanted = Request { lines, tax_basis: TaxBasis::Excluded, ..request(ANN) };
    assert_eq!(place(wanted), Err(refused(0, "A", LineProblemCode::OtherTaxBasis)));
}

#[test]
fn a_total_that_the_buyer_did_not_expect_is_refused_with_both() {
    let expecting = |total| Request { expected_total: Some(total), ..request(ANN) };
    assert_eq!(place(expecting(700)), Ok(700));
    let mismatch = PlaceAnswer::TotalMismatch { expected: gbp(699), total: gbp(700) };
    check(&[], &Input::Place(expecting(699)), &answered(&[], mismatch));
}

#[test]
fn a_total_below_zero_or_beyond_reason_is_refused() {
    let with = |amount| {
        let charges = vec![Charge { code: "D".into(), amount, tax: None }];
        place(Request { charges, ..request(ANN) })
    };
    for amount in [-701, i64::MAX, MAX_ORDER_TOTAL - 699] {
        assert_eq!(with(amount), Err(PlaceAnswer::TotalOutOfRange), "{amount}");
    }
    assert_eq!(with(-700), Ok(0));
    assert_eq!(with(MAX_ORDER_TOTAL - 700), Ok(MAX_ORDER_TOTAL));
    let lines = vec![line("A", 1_000_000_000, Some(MAX_UNIT_PRICE)); 2_000];
    assert_eq!(place(Request { lines, ..request(ANN) }), Err(PlaceAnswer::TotalOutOfRange));
}

#[test]
fn a_reference_is_that_of_one_order_until_it_is_cancelled() {
    let taken = answered(&[], PlaceAnswer::ReferenceTaken { order_id: ANN });
    let reference = Reference::parse("PO 1").unwrap();
    let wanted = Input::Place(Request { reference: Some(reference), ..request(BOB) });
    let ann = History::placed_as(ANN, 1, Some("PO 1"));
    check(&ann.events, &wanted, &taken);

    let cancelled = ann.cancelled(CancelReason::Requested, "", &[]);
    let mut state = fold(&cancelled.events);
    let mut log = Vec::new();
    run(&mut state, &mut log, &wanted);
    assert_eq!(log, History::placed_as(BOB, 2, Some("PO 1")).events);
    let again = Request { reference: Some(Reference::parse("PO 1").unwrap()), ..request(CID) };
    let taken = answered(&[], PlaceAnswer::ReferenceTaken { order_id: BOB });
    assert_eq!(decide(&state, &Input::Place(again)), taken);
}

#[test]
fn an_order_that_is_placed_again_stays_as_it_is() {
    let before = answered(&[], PlaceAnswer::PlacedBefore { order_id: ANN });
    let mut wanted = request(ANN);
    check(&History::placed(ANN).events, &Input::Place(wanted.clone()), &before);
    wanted.reference = Some(Reference::parse("PO 1").unwrap());
    let given = History::placed_as(ANN, 1, Some("PO 1"));
    check(&given.events, &Input::Place(wanted), &before);
}

#[test]
fn an_order_on_account_needs_a_shop_that_allows_it() {
    let wanted = Input::Place(Request { payment_method: "on_account".into(), ..request(ANN) });
    check(&[], &wanted, &answered(&[], PlaceAnswer::OnAccountRefused));
    let decision = decide_with(|it| it.on_account = true, &[], &wanted);
    let placed = History::placed_for(ANN, 1, None, gbp(700), "on_account");
    assert_eq!(decision.events, placed.events);
}

#[test]
fn a_shop_sells_in_its_currency_and_to_its_countries() {
    let pounds = Currency::parse("GBP").unwrap();
    let euros = Currency::parse("EUR").unwrap();
    let wanted = Input::Place(request(ANN));
    let refused = decide_with(|it| it.currency = Some(euros), &[], &wanted);
    assert_eq!(refused, answered(&[], PlaceAnswer::CurrencyRefused { currency: euros }));
    let refused = decide_with(|it| it.countries = vec!["Spain".into()], &[], &wanted);
    assert_eq!(refused, answered(&[], PlaceAnswer::CountryRefused));
    let sells_it = |it: &mut Settings| {
        (it.currency, it.countries) = (Some(pounds), vec!["France".into(), "Spain".into()]);
    };
    assert_eq!(decide_with(sells_it, &[], &wanted).events, History::placed(ANN).events);
    // An order that names no country goes to none of them.
    let nowhere = Input::Place(Request { country: String::new(), ..request(ANN) });
    let refused = decide_with(sells_it, &[], &nowhere);
    assert_eq!(refused, answered(&[], PlaceAnswer::CountryRefused));
}

#[test]
fn a_payment_may_take_as_long_as_the_shop_says() {
    let placed = History::placed(ANN);
    let [held, ..] = happy_path();
    let due_by = |change: fn(&mut Settings)| {
        let decided = decide_with(change, &placed.events, &signal(ANN, held.clone())).events;
        match &decided[..] {
            [Event { fact: Fact::PaymentDue { due_by, .. }, .. }] => *due_by,
            other => panic!("asks for no payment: {other:?}"),
        }
    };
    assert_eq!(
        due_by(|it| it.payment_seconds = Some(7)),
        Timestamp::from_millis(NOW.millis() + 7_000)
    );
    assert_eq!(due_by(|it| it.payment_seconds = None), DUE_BY);
}

#[test]
fn the_replica_follows_the_catalogue() {
    let mut state = fold(&[]);
    let mut put = |minor, active| {
        let (price, tax_basis) = (gbp(minor), TaxBasis::Excluded);
        let product = Product { title: "New".into(), price, tax_basis, active };
        let input = Input::ProductChanged { sku: sku("NEW"), product: product.clone() };
        Orders::replicate(&mut state, &input);
        assert_eq!(state.products.get(&sku("NEW")), Some(&product));
    };
    put(5, true);
    put(6, false);
}
