//! An order that a client requests: the command that places it, and what it looks like just after that.

use events::{
    http::{
        Charge, Discount, FulfilmentStatus, Opened, OrderLine, OrderStatus, OrderView,
        PaymentStatus, PersonalView,
    },
    id::{CustomerId, LineId, OrderId, Quantity, Reference, Sku},
    money::{Currency, Money, Tax, TaxBasis},
    proto::{self, order::place_order_answer},
    shop::Capture,
};
use protocol::{id::ParseError, time::Timestamp};

use super::personal::Personal;

/// The payment method of an order for which the shop sends an invoice.
const ON_ACCOUNT: &str = "on_account";

/// An order as a client requests it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct NewOrder {
    pub(super) reference: Option<Reference>,
    pub(super) customer_id: Option<CustomerId>,
    pub(super) country: String,
    pub(super) personal: Option<Personal>,
    pub(super) currency: Currency,
    pub(super) tax_basis: TaxBasis,
    /// Whether the client says so, and not the shop.
    pub(super) names_tax_basis: bool,
    pub(super) lines: Vec<NewLine>,
    pub(super) charges: Vec<Charge>,
    pub(super) payment_method: String,
    pub(super) expected_total: Option<i64>,
}

/// One line of a requested order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NewLine {
    pub(super) line_id: Option<LineId>,
    pub(super) sku: Sku,
    pub(super) quantity: Quantity,
    /// The price as sold; that of the product where there is none.
    pub(super) unit_price: Option<i64>,
    pub(super) discounts: Vec<Discount>,
    pub(super) tax: Option<Tax>,
}

impl NewOrder {
    /// Whether nothing is taken for it before it ships, in a shop that captures like that.
    pub(crate) fn is_paid_later(&self, capture: Capture) -> bool {
        capture == Capture::OnShipment || self.payment_method == ON_ACCOUNT
    }

    /// The command that places it. The id of the order is left empty, and so are what is personal and whether tax
    /// is in its prices where the client does not say it.
    pub(crate) fn command(&self) -> proto::order::PlaceOrder {
        let money = |minor| Some(Money { minor, currency: self.currency }.into());
        let basis = if self.names_tax_basis {
            proto::TaxBasis::from(self.tax_basis)
        } else {
            proto::TaxBasis::Unspecified
        };
        let basis = i32::from(basis);
        let price = |minor| proto::Price { money: money(minor), tax_basis: basis };
        let tax =
            |tax: Tax| proto::order::Tax { rate_ppm: tax.rate_ppm, amount: money(tax.amount) };
        let discount = |it: &Discount| proto::order::Discount {
            code: it.code.clone(),
            amount: money(it.amount),
        };
        let line = |line: &NewLine| proto::order::RequestedLine {
            line_id: line.line_id.as_ref().map(LineId::to_string).unwrap_or_default(),
            sku: line.sku.to_string(),
            quantity: line.quantity.get(),
            unit_price: line.unit_price.map(price),
            discounts: line.discounts.iter().map(discount).collect(),
            tax: line.tax.map(tax),
        };
        let charge = |charge: &Charge| proto::order::Charge {
            code: charge.code.clone(),
            price: Some(price(charge.amount)),
            tax: charge.tax.map(tax),
        };
        proto::order::PlaceOrder {
            order_id: String::new(),
            reference: self.reference.as_ref().map(Reference::to_string),
            customer_id: self.customer_id.as_ref().map(CustomerId::to_string),
            country: given(&self.country),
            billing_country: given(self.billing_country()),
            currency: self.currency.to_string(),
            tax_basis: basis,
            lines: self.lines.iter().map(line).collect(),
            charges: self.charges.iter().map(charge).collect(),
            payment_method: self.payment_method.clone(),
            expected_total: self.expected_total.and_then(money),
            personal: None,
        }
    }

    /// Whether it says what it costs, rather than the catalogue: a price, a discount, or a charge below
    /// 0.
    pub(crate) fn has_prices(&self) -> bool {
        let is_priced = |line: &NewLine| line.unit_price.is_some() || !line.discounts.is_empty();
        self.lines.iter().any(is_priced) || self.charges.iter().any(|charge| charge.amount < 0)
    }

    /// What is personal in it, if something is.
    pub(crate) fn personal(&self) -> Option<Vec<u8>> {
        let plaintext = self.personal.as_ref()?.plaintext();
        (!plaintext.is_empty()).then_some(plaintext)
    }

    /// Who orders; none for a guest.
    pub(crate) fn customer_id(&self) -> Option<&CustomerId> {
        self.customer_id.as_ref()
    }

    fn billing_country(&self) -> &str {
        self.personal.as_ref().map_or("", Personal::billing_country)
    }

    /// The order just after it was placed: as it was requested, with what the order service decided.
    /// `None` when the two do not match; then the order has to be read.
    pub(crate) fn placed(
        &self,
        placed: &place_order_answer::Placed,
    ) -> Result<Option<OrderView>, ParseError> {
        let count = self.lines.len();
        if count != placed.unit_prices.len() || count != placed.titles.len() {
            return Ok(None);
        }
        let total = Money::parse(placed.total.as_ref())?;
        let placed_at = Timestamp::parse(placed.placed_at.as_ref())?;
        let unit_prices = placed.unit_prices.iter();
        let unit_prices = unit_prices.map(|price| Ok(Money::parse(Some(price))?.minor));
        let unit_prices = unit_prices.collect::<Result<Vec<_>, ParseError>>()?;
        let decided = unit_prices.iter().zip(&placed.titles);
        let lines = self.lines.iter().enumerate().zip(decided);
        let line = |((index, line), (unit_price, title)): ((usize, &NewLine), (&i64, &String))| {
            OrderLine {
                line_id: line.line_id.clone().unwrap_or_else(|| LineId::numbered(index)),
                sku: line.sku.clone(),
                title: title.clone(),
                quantity: line.quantity,
                unit_price: *unit_price,
                discounts: line.discounts.clone(),
                tax: line.tax,
                held: 0,
                shipped: 0,
                cancelled: 0,
            }
        };
        let fulfilment_status = match count {
            0 => FulfilmentStatus::Fulfilled,
            _ => FulfilmentStatus::Unfulfilled,
        };
        Ok(Some(OrderView {
            id: OrderId::parse(&placed.order_id)?,
            number: placed.number,
            reference: self.reference.clone(),
            status: OrderStatus::Placed.into(),
            payment_status: PaymentStatus::Pending.into(),
            fulfilment_status: fulfilment_status.into(),
            customer_id: self.customer_id.clone(),
            country: self.country.clone(),
            billing_country: self.billing_country().to_owned(),
            tax_basis: self.tax_basis.into(),
            lines: lines.map(line).collect(),
            charges: self.charges.clone(),
            total: total.minor,
            currency: total.currency,
            payments: Vec::new(),
            hold: None,
            cancellation: None,
            personal: self.personal_view(),
            placed_at,
            updated_at: placed_at,
            version: 1,
        }))
    }

    fn personal_view(&self) -> Option<Opened<PersonalView>> {
        self.personal()?;
        let view = self.personal.as_ref()?.view(&self.country);
        Some(Opened::Readable(view))
    }
}

/// A text that is not given is empty here, and absent in the command.
fn given(text: &str) -> Option<String> {
    Some(text.to_owned()).filter(|text| !text.is_empty())
}
