//! Reads and shows what is personal in an order, and the notes about it. No error and no log shows a
//! value of it.

use std::{collections::BTreeMap, fmt};

use events::{
    http::{AddressView, NoteView, PersonalView},
    proto::order::{Address, CustomerDatum, Note, PersonalData},
    sealed::MAX_PERSONAL_BYTES,
};
use prost::Message;

use crate::{
    card_numbers::holds_card_number,
    fields::{Errors, Path, list, object},
    json::Node,
};

/// The most lines of an address.
const MAX_ADDRESS_LINES: usize = 5;
/// The most members of `customer_data`.
const MAX_CUSTOMER_DATA: usize = 50;

const EMAIL: &str = "must be an e-mail address of at most 254 characters";
const PHONE: &str = "must be 1 to 32 characters without control characters";
const NOTE: &str = "must be 1 to 2000 characters without control characters but line breaks";
const SHORT: &str = "must be 1 to 200 characters without control characters";
const COUNTRY: &str = "must be 1 to 64 characters without control characters";
const KEY: &str = "must be 1 to 64 characters without control characters, and no card number";
const VALUE: &str = "must be at most 500 characters without control characters but line breaks";
const CANCEL_NOTE: &str = "must be 1 to 500 characters without control characters but line breaks";

/// What is personal in an order as a client requests it. The countries of its addresses are not.
#[derive(Clone, Default, PartialEq)]
pub(crate) struct Personal {
    shipping_country: String,
    billing_country: String,
    data: PersonalData,
}

/// No log shows it.
impl fmt::Debug for Personal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Personal").finish_non_exhaustive()
    }
}

impl Personal {
    /// The country of the shipping address; empty when not given.
    pub(crate) fn shipping_country(&self) -> &str {
        &self.shipping_country
    }

    /// The country of the billing address; empty when not given.
    pub(crate) fn billing_country(&self) -> &str {
        &self.billing_country
    }

    /// What is sealed; empty when nothing is.
    pub(crate) fn plaintext(&self) -> Vec<u8> {
        self.data.encode_to_vec()
    }

    /// As the owner of the order sees it.
    pub(crate) fn view(&self, country: &str) -> PersonalView {
        view(self.data.clone(), country, &self.billing_country)
    }
}

/// What was opened, as the owner of the order sees it.
pub(crate) fn view(data: PersonalData, country: &str, billing_country: &str) -> PersonalView {
    let address = |address: Address, country: &str| {
        let Address { name, company, lines, postcode, city, region } = address;
        let country = country.to_owned();
        AddressView { name, company, lines, postcode, city, region, country }
    };
    let PersonalData { email, phone, note, shipping_address, billing_address, customer_data } =
        data;
    let datum = |CustomerDatum { key, value }| (key, value);
    PersonalView {
        email,
        phone,
        note,
        shipping_address: shipping_address.map(|it| address(it, country)),
        billing_address: billing_address.map(|it| address(it, billing_country)),
        customer_data: customer_data.into_iter().map(datum).collect(),
    }
}

/// What was opened of a note.
pub(crate) fn note_view(note: Note) -> NoteView {
    NoteView { text: note.text }
}

/// Reads what is personal in an order.
pub(crate) fn personal(node: &Node<'_>, path: &Path<'_>, errors: &mut Errors) -> Option<Personal> {
    let personal = object(node, path, errors, |fields| {
        let email = fields.optional("email", private(EMAIL, is_email));
        let phone = fields.optional("phone", private(PHONE, |it| is_line(it, 32)));
        let note = fields.optional("note", private(NOTE, |it| is_text(it, 2000)));
        let shipping = fields.optional("shipping_address", address).unwrap_or_default();
        let billing = fields.optional("billing_address", address).unwrap_or_default();
        let customer_data = fields.optional("customer_data", customer_data).unwrap_or_default();
        let datum = |(key, value)| CustomerDatum { key, value };
        let data = PersonalData {
            email: email.unwrap_or_default(),
            phone: phone.unwrap_or_default(),
            note: note.unwrap_or_default(),
            shipping_address: some(shipping.address),
            billing_address: some(billing.address),
            customer_data: customer_data.into_iter().map(datum).collect(),
        };
        let (shipping_country, billing_country) = (shipping.country, billing.country);
        Some(Personal { shipping_country, billing_country, data })
    })?;
    if personal.data.encoded_len() > MAX_PERSONAL_BYTES {
        let detail = format_args!("personal must be at most {MAX_PERSONAL_BYTES} bytes in all");
        errors.add(path, detail);
    }
    Some(personal)
}

/// Reads the note of a cancellation or of a release.
pub(crate) fn note(node: &Node<'_>, path: &Path<'_>, errors: &mut Errors) -> Option<String> {
    private(CANCEL_NOTE, |it| is_text(it, 500))(node, path, errors)
}

/// An address with its country.
#[derive(Default)]
struct CountryAddress {
    country: String,
    address: Address,
}

fn address(node: &Node<'_>, path: &Path<'_>, errors: &mut Errors) -> Option<CountryAddress> {
    let short = || private(SHORT, |it| is_line(it, 200));
    object(node, path, errors, |fields| {
        let name = fields.optional("name", short());
        let company = fields.optional("company", short());
        let line = |node: &Node<'_>, path: &Path<'_>, errors: &mut Errors| {
            private(SHORT, |it| is_line(it, 200))(node, path, errors)
        };
        let lines = fields.optional("lines", list(MAX_ADDRESS_LINES, line));
        let postcode = fields.optional("postcode", short());
        let city = fields.optional("city", short());
        let region = fields.optional("region", short());
        let country = fields.optional("country", private(COUNTRY, |it| is_line(it, 64)));
        let address = Address {
            name: name.unwrap_or_default(),
            company: company.unwrap_or_default(),
            lines: lines.unwrap_or_default(),
            postcode: postcode.unwrap_or_default(),
            city: city.unwrap_or_default(),
            region: region.unwrap_or_default(),
        };
        Some(CountryAddress { country: country.unwrap_or_default(), address })
    })
}

/// Nothing for an address of which nothing but a country was given.
fn some(address: Address) -> Option<Address> {
    (address != Address::default()).then_some(address)
}

fn customer_data(
    node: &Node<'_>,
    path: &Path<'_>,
    errors: &mut Errors,
) -> Option<BTreeMap<String, String>> {
    let (key, value) = (|it: &str| is_line(it, 64), |it: &str| it.is_empty() || is_text(it, 500));
    private_map(MAX_CUSTOMER_DATA, (KEY, key), (VALUE, value))(node, path, errors)
}

/// Reads personal text that keeps a rule. No error shows it.
pub(crate) fn private(
    rule: &'static str,
    holds: impl FnOnce(&str) -> bool,
) -> impl FnOnce(&Node<'_>, &Path<'_>, &mut Errors) -> Option<String> {
    move |node, path, errors| {
        let (name, Node::Text(value)) = (path.name(), node) else {
            errors.add(path, format_args!("{} must be text", path.name()));
            return None;
        };
        if holds_card_number(value) {
            errors.add(path, format_args!("{name} must not hold the number of a payment card"));
            return None;
        }
        if !holds(value) {
            errors.add(path, format_args!("{name} {rule}"));
            return None;
        }
        Some(value.clone().into_owned())
    }
}

/// Reads an object whose members the caller names, at most `max`; the names and the values are personal.
/// They come sorted by name.
fn private_map(
    max: usize,
    (name_rule, is_name): (&'static str, fn(&str) -> bool),
    (value_rule, is_value): (&'static str, fn(&str) -> bool),
) -> impl FnOnce(&Node<'_>, &Path<'_>, &mut Errors) -> Option<BTreeMap<String, String>> {
    move |node, path, errors| {
        let Node::Object(members) = node else {
            errors.add(path, format_args!("{} must be an object", path.name()));
            return None;
        };
        if members.len() > max {
            let (name, count) = (path.name(), members.len());
            errors.add(path, format_args!("{name} must have at most {max} members, got {count}"));
            return None;
        }
        let mut map = BTreeMap::new();
        for (index, (name, value)) in members.iter().enumerate() {
            // By its number: the name may be personal.
            let path = Path::Item(path, index);
            let value = private(value_rule, is_value)(value, &path, errors);
            if !is_name(name) || holds_card_number(name) {
                errors.add(&path, format_args!("the name of {} {name_rule}", path.name()));
            } else if let Some(value) = value
                && map.insert(name.clone().into_owned(), value).is_some()
            {
                errors.add(&path, format_args!("the name of {} occurs twice", path.name()));
            }
        }
        Some(map)
    }
}

/// What is enough to tell an address from a slip: who has it is not known before mail was answered.
fn is_email(text: &str) -> bool {
    let has_parts = text
        .rsplit_once('@')
        .is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty());
    has_parts && is_line(text, 254) && !text.contains(char::is_whitespace)
}

/// One line of 1 to `max` characters.
fn is_line(text: &str, max: usize) -> bool {
    is_text(text, max) && !text.contains(['\n', '\r', '\t'])
}

/// 1 to `max` characters, with line breaks.
fn is_text(text: &str, max: usize) -> bool {
    let is_allowed = |c: char| !c.is_control() || matches!(c, '\n' | '\r' | '\t');
    (1..=max).contains(&text.chars().count()) && text.chars().all(is_allowed)
}
