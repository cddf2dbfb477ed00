//! The statement of a page, which begins at the index of what leaves the fewest orders.
//!
//! Each index below ends in the time and the number of an order, so a page reads about as many entries as it
//! has orders:
//!
//! | what is looked for | begins at |
//! |---|---|
//! | reference | `order_content`, by reference |
//! | a text: number or reference in full | `order_content`, by number, by reference |
//! | a text: a part of the reference | `order_content`, by time: [`MAX_SEARCHED`] orders a page |
//! | customer | `order_content`, by customer |
//! | SKU | `order_sku` |
//! | on hold | `orders`, of which those on hold have an index |
//! | a status | `orders`, at each combination of the three statuses that matches |
//! | nothing but time | `order_content`, by time |
//!
//! What else is looked for is compared order by order, from there on.

use std::fmt::Write as _;

use engine::{Value, documents};
use events::id::Reference;
use protocol::{id::Shop, time::Timestamp};

use super::{MAX_SEARCHED, OrderFilter, OrderPage, OrderPlace};
use crate::domain::{FulfilmentStatus, OrderStatus, PaymentStatus, Statuses};

/// A statement, and the values of its parameters.
#[derive(Debug)]
pub(super) struct Statement {
    pub(super) sql: String,
    pub(super) values: Vec<Value>,
}

/// A statement that is being put together. Its first parameters are always the same: the shop, the two
/// places between which the page is, and the most orders of it.
#[derive(Debug)]
struct Draft {
    /// The tables from which it begins, before `order_content` and `orders`.
    from: String,
    conditions: Vec<String>,
    values: Vec<Value>,
}

impl Draft {
    /// Adds a parameter; its name.
    fn parameter(&mut self, value: impl Into<Value>) -> String {
        self.values.push(value.into());
        format!("${}", self.values.len())
    }

    /// Adds the condition that a column has that value.
    fn equal(&mut self, column: &str, value: &str) {
        let parameter = self.parameter(value);
        self.conditions.push(format!("{column} = {parameter}"));
    }
}

impl OrderPage {
    /// The statement that finds the page.
    pub(super) fn statement(&self, shop: &Shop) -> Statement {
        let OrderFilter { customer_id, sku, reference, on_hold, .. } = &self.filter;
        let mut draft = self.draft(shop);
        let begin = self.begin(&mut draft);
        if let Some(reference) = reference {
            draft.equal("c.reference", reference.as_str());
        }
        if let Some(customer_id) = customer_id {
            draft.equal("c.customer_id", customer_id.as_str());
        }
        if let Some(sku) = sku.as_ref().filter(|_| begin != Begin::Sku) {
            let sku = draft.parameter(sku.as_str());
            draft.conditions.push(format!(
                "exists (select 1 from order_sku s where s.shop = $1 and s.key = c.number || '/' || {sku})"
            ));
        }
        if *on_hold && begin != Begin::OnHold {
            draft.conditions.push("o.on_hold is not null".to_owned());
        }
        let statuses = self.filter.statuses().filter(|_| begin != Begin::Statuses);
        if let Some(statuses) = statuses {
            draft.conditions.push(format!("o.statuses in ({})", quoted(&statuses).join(", ")));
        }
        let begins = if begin == Begin::Content { "c" } else { "b" };
        draft.conditions.push(between(begins));
        let order = self.order(begins);
        let Draft { from, conditions, values } = draft;
        let conditions = conditions.join(" and ");
        let sql = format!(
            "select c.key, c.reference, c.customer_id, o.document \
             from {from}order_content c cross join orders o \
             where o.shop = $1 and o.key = c.key and {conditions} {order} limit $6"
        );
        Statement { sql, values }
    }

    /// The statement that finds the last order that a search for a part looks at; none when it looks at all
    /// that there are.
    pub(super) fn last_searched(&self, shop: &Shop) -> Statement {
        let sql = format!(
            "select c.placed_at, c.number from order_content c where c.shop = $1 and {} {} \
             limit $6 offset {}",
            between("c"),
            self.order("c"),
            MAX_SEARCHED - 1,
        );
        Statement { sql, values: self.draft(shop).values }
    }

    /// A statement with the parameters that all have.
    fn draft(&self, shop: &Shop) -> Draft {
        let (low, high) = self.bounds();
        Draft {
            from: String::new(),
            conditions: vec!["c.shop = $1".to_owned()],
            values: vec![
                shop.as_str().into(),
                low.0.into(),
                low.1.into(),
                high.0.into(),
                high.1.into(),
                i64::from(self.limit).into(),
            ],
        }
    }

    /// The orders whose number or reference is a text.
    fn named(draft: &mut Draft, text: &str) -> String {
        let reference = draft.parameter(text);
        let columns = "select placed_at, number from order_content where shop = $1 and";
        let mut found = format!("{columns} reference = {reference}");
        if let Some(number) = order_number(text) {
            let number = draft.parameter(number);
            let _ = write!(found, " union {columns} number = {number}");
        }
        found
    }

    /// The orders whose reference holds a text that it is not, nor their number, among those that a page
    /// looks at.
    fn holding(&self, draft: &mut Draft, text: &str) -> String {
        let looked_at = format!(
            "select c.placed_at, c.number, c.reference, c.search from order_content c \
             where c.shop = $1 and {} {} limit {MAX_SEARCHED}",
            between("c"),
            self.order("c"),
        );
        let (holds, reference) =
            (draft.parameter(documents::pattern(text).as_str()), draft.parameter(text));
        let mut found = format!(
            "select placed_at, number from ({looked_at}) looked_at \
             where search like {holds} escape '\\' and reference <> {reference}"
        );
        if let Some(number) = order_number(text) {
            let number = draft.parameter(number);
            let _ = write!(found, " and number <> {number}");
        }
        found
    }

    /// Chooses where the statement begins, and adds that to it.
    fn begin(&self, draft: &mut Draft) -> Begin {
        let OrderFilter { customer_id, sku, reference, text, on_hold, .. } = &self.filter;
        let begin = if let Some(text) = text.as_ref().map(Reference::as_str) {
            let found = if self.from.by_part {
                self.holding(draft, text)
            } else {
                Self::named(draft, text)
            };
            draft.from = format!("({found}) b cross join ");
            Begin::Text
        } else if reference.is_some() || customer_id.is_some() {
            Begin::Content
        } else if let Some(sku) = sku {
            "order_sku b cross join ".clone_into(&mut draft.from);
            draft.conditions.push("b.shop = $1".to_owned());
            draft.equal("b.sku", sku.as_str());
            Begin::Sku
        } else if *on_hold {
            "orders b cross join ".clone_into(&mut draft.from);
            draft.conditions.push("b.shop = $1 and b.on_hold is not null".to_owned());
            Begin::OnHold
        } else if let Some(statuses) = self.filter.statuses() {
            draft.from = format!("({}) b cross join ", self.first_of_each(&statuses));
            Begin::Statuses
        } else {
            Begin::Content
        };
        if begin != Begin::Content {
            draft.conditions.push("c.number = b.number".to_owned());
        }
        begin
    }

    /// The first orders of each combination of statuses, and of these the first ones. A combination is a
    /// part of the index on its own: so each part is read as far as the page can reach, and no further.
    fn first_of_each(&self, statuses: &[Statuses]) -> String {
        let (between, order) = (between("a"), self.order("a"));
        let first = |statuses: String| {
            format!(
                "select * from (select a.placed_at, a.number from orders a \
                 where a.shop = $1 and a.statuses = {statuses} and {between} {order} limit $6) a"
            )
        };
        let parts: Vec<_> = quoted(statuses).into_iter().map(first).collect();
        format!("select * from ({}) a {order} limit $6", parts.join(" union all "))
    }

    /// The places between which the orders of the page are, both excluded: time and number.
    fn bounds(&self) -> ((i64, i64), (i64, i64)) {
        let OrderFilter { placed_from, placed_until, .. } = self.filter;
        // Numbers begin at 1, so no order is between a time and the number 0 of it.
        let mut low = (placed_from.map_or(i64::MIN, Timestamp::millis), 0);
        let mut high = placed_until.map_or((i64::MAX, i64::MAX), |until| (until.millis(), 0));
        if let Some(OrderPlace { placed_at, number }) = self.from.after {
            let place = (placed_at.millis(), number as i64);
            if self.oldest_first {
                low = low.max(place);
            } else {
                high = high.min(place);
            }
        }
        (low, high)
    }

    fn order(&self, table: &str) -> String {
        let direction = if self.oldest_first { "asc" } else { "desc" };
        format!("order by {table}.placed_at {direction}, {table}.number {direction}")
    }
}

impl OrderFilter {
    /// The combinations of statuses that match; `None` when all do.
    fn statuses(&self) -> Option<Vec<Statuses>> {
        let Self { status, payment_status, fulfilment_status, .. } = *self;
        if (status, payment_status, fulfilment_status) == (None, None, None) {
            return None;
        }
        let mut matching = Vec::new();
        for order in chosen(status, &OrderStatus::ALL) {
            for payment in chosen(payment_status, &PaymentStatus::ALL) {
                for fulfilment in chosen(fulfilment_status, &FulfilmentStatus::ALL) {
                    matching.push(Statuses(order, payment, fulfilment));
                }
            }
        }
        Some(matching)
    }
}

/// Where a statement begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Begin {
    Text,
    Content,
    Sku,
    OnHold,
    Statuses,
}

/// The number that a text is. It has one text: no sign, no leading zero.
fn order_number(text: &str) -> Option<i64> {
    text.parse().ok().filter(|number: &i64| number.to_string() == text)
}

fn between(table: &str) -> String {
    let place = format!("({table}.placed_at, {table}.number)");
    format!("{place} > ($2, $3) and {place} < ($4, $5)")
}

fn chosen<T: Copy>(one: Option<T>, all: &[T]) -> Vec<T> {
    one.map_or_else(|| all.to_vec(), |one| vec![one])
}

/// Statuses as they stand in a statement: their names are our own, and have no quote.
fn quoted(statuses: &[Statuses]) -> Vec<String> {
    statuses.iter().map(|it| format!("'{it}'")).collect()
}
