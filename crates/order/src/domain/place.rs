//! Places orders.

use engine::Decision;
use events::{money::Money, shop::Settings};
use protocol::time::Timestamp;

use super::rows::{ReferencedOrder, Shop};
use super::{
    Answer, Event, Fact, Lines, ON_ACCOUNT, OrderStatus, PlaceAnswer, Request, Statuses, Summary,
    Terms, price,
};

/// Places an order whose lines can all be sold; what was placed before stays as it is.
pub(super) fn place(
    terms: Terms<'_>,
    state: &Shop,
    request: &Request,
    now: Timestamp,
) -> Decision<Event, Answer> {
    match placed(terms, state, request, now) {
        Err(refusal) => Decision::answered(vec![], refusal.into()),
        Ok((event, answer)) => Decision::answered(vec![event], answer.into()),
    }
}

fn placed(
    terms: Terms<'_>,
    state: &Shop,
    request: &Request,
    now: Timestamp,
) -> Result<(Event, PlaceAnswer), PlaceAnswer> {
    let order_id = request.order_id;
    let number = state.last_number() + 1;
    if state.orders.get(&order_id).is_some() {
        return Err(PlaceAnswer::PlacedBefore { order_id });
    }
    if let Some(order_id) = holder(state, request) {
        return Err(PlaceAnswer::ReferenceTaken { order_id });
    }
    refuse_what_the_shop_does_not_sell(terms.settings, request)?;
    let lines = price::lines(&state.products, request)
        .map_err(|problems| PlaceAnswer::Refused { problems })?;
    let total = price::total(&lines, &request.charges, request.tax_basis)
        .ok_or(PlaceAnswer::TotalOutOfRange)?;
    let in_currency = |minor| Money { minor, currency: request.currency };
    let total = in_currency(total);
    if let Some(expected) = request.expected_total.filter(|expected| *expected != total.minor) {
        return Err(PlaceAnswer::TotalMismatch { expected: in_currency(expected), total });
    }

    let answer = PlaceAnswer::Placed {
        order_id,
        number,
        total,
        unit_prices: lines.iter().map(|line| line.unit_price).collect(),
        titles: lines.iter().map(|line| line.title.clone()).collect(),
        placed_at: now,
    };
    let lines: Lines = lines.into_iter().collect();
    let summary = Summary {
        number,
        reference: request.reference.clone(),
        customer_id: request.customer_id.clone(),
        total,
        statuses: Statuses::placed(&lines),
    };
    let fact = Fact::Placed {
        country: request.country.clone(),
        billing_country: request.billing_country.clone(),
        tax_basis: request.tax_basis,
        lines,
        charges: request.charges.clone(),
        payment_method: request.payment_method.clone(),
        reserve_by: now + terms.policy.reservation_timeout,
        personal: request.personal.clone(),
    };
    Ok((Event { order_id, summary, fact }, answer))
}

/// Refuses an order that the shop's settings exclude.
fn refuse_what_the_shop_does_not_sell(
    settings: &Settings,
    request: &Request,
) -> Result<(), PlaceAnswer> {
    if let Some(currency) = settings.currency.filter(|known| *known != request.currency) {
        return Err(PlaceAnswer::CurrencyRefused { currency });
    }
    if !settings.countries.is_empty() && !settings.countries.contains(&request.country) {
        return Err(PlaceAnswer::CountryRefused);
    }
    if request.payment_method == ON_ACCOUNT && !settings.on_account {
        return Err(PlaceAnswer::OnAccountRefused);
    }
    Ok(())
}

/// The order that has the reference of this one. A cancelled order gives its reference back.
fn holder(state: &Shop, request: &Request) -> Option<events::id::OrderId> {
    let ReferencedOrder(order_id) = state.references.get(request.reference.as_ref()?)?;
    let order = state.orders.get(order_id)?;
    (order.statuses.0 != OrderStatus::Cancelled).then_some(*order_id)
}
