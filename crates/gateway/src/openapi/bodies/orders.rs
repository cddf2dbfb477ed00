//! What clients send about orders and payments.

use std::collections::BTreeMap;

use events::{
    id::{CustomerId, LineId, PaymentId, Quantity, Reference, Sku},
    money::{Currency, TaxBasis},
};
use utoipa::ToSchema;

/// An order. It has a line or a charge.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewOrder {
    /// The caller's own order number. It is that of one order of the shop; a cancelled order gives it back.
    reference: Option<Reference>,
    /// Who orders; absent for a guest. It stays in events for good: use an id that says nothing by itself.
    customer_id: Option<CustomerId>,
    /// The country that it goes to: that of the shipping address, where there is one.
    #[schema(min_length = 1, max_length = 64)]
    country: Option<String>,
    /// What is personal: it is sealed before it is stored. 16 KiB in all.
    personal: Option<NewPersonal>,
    /// The currency of all amounts.
    currency: Currency,
    /// Whether tax is in the prices; as the shop says unless it is given.
    tax_basis: Option<TaxBasis>,
    /// What is ordered.
    #[schema(max_items = 2000)]
    lines: Option<Vec<NewLine>>,
    /// Money that is not for goods.
    #[schema(max_items = 100)]
    charges: Option<Vec<NewCharge>>,
    /// How it is paid: `card`, `on_account` where the shop allows it, or another method of the provider.
    #[schema(min_length = 1, max_length = 128, default = "card")]
    payment_method: Option<String>,
    /// What the buyer was shown, in minor units. When the order costs something else, nothing is placed.
    #[schema(minimum = 0, maximum = 1_000_000_000_000_000_i64)]
    expected_total: Option<i64>,
}

/// A line of an order.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewLine {
    /// The caller's name for it; its number from 1 unless it is given.
    line_id: Option<LineId>,
    /// The stock keeping unit.
    sku: Sku,
    /// The units.
    quantity: Quantity,
    /// The price of one unit in minor units; that of the product unless it is given. Needs the scope
    /// `prices-as-sold`.
    #[schema(minimum = 0, maximum = 1_000_000_000_000_i64)]
    unit_price: Option<i64>,
    /// What it costs less, each with its cause. Needs the scope `prices-as-sold`.
    #[schema(max_items = 1000)]
    discounts: Option<Vec<NewDiscount>>,
    /// The tax on it after its discounts. It is kept as it is given, and must follow from its rate.
    tax: Option<NewTax>,
}

/// What a line costs less.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewDiscount {
    /// Why, for example `SUMMER`.
    #[schema(min_length = 1, max_length = 64)]
    code: String,
    /// The amount for the whole line, in minor units.
    #[schema(minimum = 0, maximum = 1_000_000_000_000_000_i64)]
    amount: i64,
}

/// Money that is not for goods: shipping, a fee.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewCharge {
    /// What it is for, for example `POST`.
    #[schema(min_length = 1, max_length = 64)]
    code: String,
    /// The amount in minor units; below 0 for a rebate on the whole order, which needs the scope `prices-as-sold`.
    #[schema(minimum = -1_000_000_000_000_000_i64, maximum = 1_000_000_000_000_000_i64)]
    amount: i64,
    /// The tax on it.
    tax: Option<NewTax>,
}

/// A tax.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewTax {
    /// The rate in millionths: 190000 is 19 %.
    #[schema(minimum = 0, maximum = 10_000_000)]
    rate_ppm: i64,
    /// The amount in minor units.
    #[schema(minimum = -1_000_000_000_000_000_i64, maximum = 1_000_000_000_000_000_i64)]
    amount: i64,
}

/// What is personal in an order.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewPersonal {
    /// The e-mail address.
    #[schema(min_length = 3, max_length = 254)]
    email: Option<String>,
    /// The telephone number.
    #[schema(min_length = 1, max_length = 32)]
    phone: Option<String>,
    /// What the customer wants to say, with line breaks.
    #[schema(min_length = 1, max_length = 2000)]
    note: Option<String>,
    /// Where the order goes to.
    shipping_address: Option<NewAddress>,
    /// Who is billed.
    billing_address: Option<NewAddress>,
    /// What else you keep about the customer: up to 50 names of at most 64 characters, with a text of at most 500 each.
    customer_data: Option<BTreeMap<String, String>>,
}

/// An address.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewAddress {
    /// Who lives there.
    #[schema(min_length = 1, max_length = 200)]
    name: Option<String>,
    /// The company.
    #[schema(min_length = 1, max_length = 200)]
    company: Option<String>,
    /// Street, house number and the like.
    #[schema(max_items = 5)]
    lines: Option<Vec<String>>,
    /// The postcode.
    #[schema(min_length = 1, max_length = 200)]
    postcode: Option<String>,
    /// The city.
    #[schema(min_length = 1, max_length = 200)]
    city: Option<String>,
    /// The state, county or province.
    #[schema(min_length = 1, max_length = 200)]
    region: Option<String>,
    /// The country. It is not sealed: it is in events.
    #[schema(min_length = 1, max_length = 64)]
    country: Option<String>,
}

/// Why an order is cancelled or released.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OrderNote {
    /// In the caller's words. It is sealed before it is stored.
    #[schema(min_length = 1, max_length = 500)]
    note: Option<String>,
}

/// How an order is paid anew.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewPayment {
    /// The payment method, as in the order.
    #[schema(min_length = 1, max_length = 128)]
    payment_method: String,
}

/// An amount of money.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewMoney {
    /// The amount in minor units (pence, cents).
    #[schema(minimum = 1, maximum = 1_000_000_000_000_000_i64)]
    minor: i64,
    /// The currency.
    currency: Currency,
}

/// What is paid back.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewRefund {
    /// How much.
    amount: NewMoney,
    /// Why. It stays in events: put nothing personal there.
    #[schema(min_length = 1, max_length = 200)]
    reason: String,
    /// The payment of which it is paid back; the last one that has something to be paid back unless it is given.
    payment_id: Option<PaymentId>,
}

/// How an operation of a payment that is uncertain or stuck is settled.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewSettlement {
    // Its type says what it is: utoipa cannot describe both.
    #[schema(inline)]
    resolution: Resolution,
    /// Why. It stays in events: put nothing personal there.
    #[schema(min_length = 1, max_length = 500)]
    reason: String,
    /// Who decides, beside the API key: it stays in events.
    #[schema(min_length = 1, max_length = 100)]
    operator: Option<String>,
}

/// What becomes of an operation.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum Resolution {
    /// It was done elsewhere, for example in the provider's own user interface.
    DoneElsewhere,
    /// It is tried again.
    Retry,
    /// It will not be done.
    GiveUp,
}
