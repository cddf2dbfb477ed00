//! Reads and shows what is personal in an order, and the notes about it. No error and no log shows a
//! value of it.

use std::{collections::BTreeMap, fmt};

use events::{
    card_numbers::holds_card_number,
    http::{AddressView, NoteView, PersonalView},
    proto::order::{Address, CustomerDatum, Note, PersonalData},
    sealed::MAX_PERSONAL_BYTES,
};
use prost::Message;

use crate::{
    fields::{Errors, Fields, Path, list, object},
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
    let personal = private_object(node, path, errors, |fields| {
        let email = fields.optional("email", private(EMAIL, is_email));
        let phone = fields.optional("phone", private(PHONE, |it| is_line(it, 32)));
        let message = fields.optional("note", private(NOTE, |it| is_text(it, 2000)));
        let shipping = fields.optional("shipping_address", address).unwrap_or_default();
        let billing = fields.optional("billing_address", address).unwrap_or_default();
        let customer_data = fields.optional("customer_data", customer_data).unwrap_or_default();
        let datum = |(key, value)| CustomerDatum { key, value };
        let data = PersonalData {
            email: email.unwrap_or_default(),
            phone: phone.unwrap_or_default(),
            note: message.unwrap_or_default(),
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
    private_object(node, path, errors, |fields| {
        let name = fields.optional("name", short());
        let company = fields.optional("company", short());
        let lines = fields.optional("lines", address_lines);
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

fn address_lines(node: &Node<'_>, path: &Path<'_>, errors: &mut Errors) -> Option<Vec<String>> {
    let Node::List(_) = node else {
        errors.add(path, format_args!("{} must be a list", path.name()));
        return None;
    };
    let line = |node: &Node<'_>, path: &Path<'_>, errors: &mut Errors| {
        private(SHORT, |it| is_line(it, 200))(node, path, errors)
    };
    list(MAX_ADDRESS_LINES, line)(node, path, errors)
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

/// Reads an object of personal fields. No error shows what came instead of it.
fn private_object<'r, 'a, T>(
    node: &'r Node<'a>,
    path: &'r Path<'r>,
    errors: &'r mut Errors,
    read: impl FnOnce(&mut Fields<'r, 'a>) -> Option<T>,
) -> Option<T> {
    if !matches!(node, Node::Object(_)) {
        errors.add(path, format_args!("{} must be an object", path.name()));
        return None;
    }
    object(node, path, errors, read)
}

/// Reads personal text that keeps a rule. No error shows it.
fn private(
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

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse;
    use events::money::TaxBasis;
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        orders::{new_order::NewOrder, read},
        problem::Problem,
    };

    fn place_order(bytes: &[u8]) -> Result<NewOrder, Problem> {
        read::place_order(bytes, TaxBasis::default())
    }

    /// An order with these personal fields.
    fn order(personal: &Value) -> Vec<u8> {
        let order = json!({"currency": "GBP", "lines": [{"sku": "A", "quantity": 1}],
            "personal": personal});
        order.to_string().into_bytes()
    }

    /// The personal data of an order in every field.
    fn all(text: &str) -> Value {
        let address = json!({"name": text, "company": text, "lines": [text], "postcode": text,
            "city": text, "region": text, "country": text});
        json!({"email": format!("{text}@example.com"), "phone": text, "note": text,
            "shipping_address": address, "billing_address": address, "customer_data": {"k": text}})
    }

    /// The fields that are wrong; no error shows a value.
    #[track_caller]
    fn wrong(order: &[u8], value: &str) -> Vec<String> {
        let problem = place_order(order).expect_err("is wrong").into_response();
        let body = axum::body::to_bytes(problem.into_body(), usize::MAX);
        let body = futures::executor::block_on(body).expect("is in memory");
        let text = String::from_utf8_lossy(&body);
        assert!(!text.contains(value), "{text}");
        let document: Value = serde_json::from_slice(&body).expect("is JSON");
        let errors = document["errors"].as_array().expect("are named");
        errors.iter().map(|it| it["field"].as_str().expect("is text").to_owned()).collect()
    }

    const FIELDS: [&str; 17] = [
        "personal.phone",
        "personal.note",
        "personal.shipping_address.name",
        "personal.shipping_address.company",
        "personal.shipping_address.lines[0]",
        "personal.shipping_address.postcode",
        "personal.shipping_address.city",
        "personal.shipping_address.region",
        "personal.shipping_address.country",
        "personal.billing_address.name",
        "personal.billing_address.company",
        "personal.billing_address.lines[0]",
        "personal.billing_address.postcode",
        "personal.billing_address.city",
        "personal.billing_address.region",
        "personal.billing_address.country",
        "personal.customer_data[0]",
    ];

    #[test]
    fn what_is_personal_is_shown_as_it_was_given() {
        let read = place_order(&order(&all("Ann"))).expect("is good");
        let command = read.command();
        assert_eq!((command.country(), command.billing_country()), ("Ann", "Ann"));
        assert_eq!(command.personal, None, "it is not in the command as it is");
        let plaintext = read.personal().expect("is there");
        let data = PersonalData::decode(&*plaintext).expect("is a message");
        let shown = serde_json::to_value(view(data, "Ann", "Ann")).expect("is JSON");
        assert_eq!(shown, all("Ann"));
        assert!(!format!("{:?}", Personal::default()).contains("data"));
    }

    #[test]
    fn an_order_with_nothing_personal_has_none() {
        for nothing in [json!(null), json!({}), json!({"shipping_address": {"country": "GB"}})] {
            let read = place_order(&order(&nothing)).expect("is good");
            assert_eq!(read.personal(), None, "{nothing}");
        }
    }

    #[test]
    fn the_same_data_in_another_order_means_the_same() {
        let one = br#"{"currency":"GBP","charges":[{"code":"A","amount":1}],
            "personal":{"customer_data":{"a":"1","b":"2"},"email":"a@b","phone":null}}"#;
        let two = br#"{"currency":"GBP","charges":[{"code":"A","amount":1}],
            "personal":{"email":"a@b","customer_data":{"b":"2","a":"1"}}}"#;
        let [one, two] = [&one[..], two].map(|it| place_order(it).expect("is good"));
        assert_eq!(one.personal(), two.personal());
    }

    #[test]
    fn every_wrong_field_is_named_and_no_value_shown() {
        // A bell rings in every field.
        let found = wrong(&order(&all("secret\u{7}")), "secret");
        assert_eq!(found[0], "personal.email");
        assert_eq!(found[1..], FIELDS);
        let texts = json!({"email": 815_815, "note": ["815815"], "customer_data": "815815",
            "shipping_address": {"name": {"815815": 1}, "lines": "815815"},
            "billing_address": "815815"});
        let fields = [
            "personal.email",
            "personal.note",
            "personal.shipping_address.name",
            "personal.shipping_address.lines",
            "personal.billing_address",
            "personal.customer_data",
        ];
        assert_eq!(wrong(&order(&texts), "815815"), fields);
        for no_email in ["secret", "@secret", "secret@", "a secret@b"] {
            assert_eq!(wrong(&order(&json!({"email": no_email})), "secret"), ["personal.email"]);
        }
    }

    #[test]
    fn the_number_of_a_card_is_refused_in_every_field() {
        let card = "5555 5555 5555 4444";
        assert_eq!(wrong(&order(&all(card)), "5555")[1..], FIELDS);
        let email = json!({"email": "5555555555554444@example.com"});
        assert_eq!(wrong(&order(&email), "5555"), ["personal.email"]);
        let named = json!({"customer_data": {card: "x"}});
        assert_eq!(wrong(&order(&named), "5555"), ["personal.customer_data[0]"]);
        assert!(read::note_of(format!("{{\"note\":\"{card}\"}}").as_bytes()).is_err());
    }

    #[test]
    fn the_country_of_the_order_is_that_of_the_shipping_address() {
        let of = |country: Option<&str>| {
            let order = json!({"currency": "GBP", "lines": [{"sku": "A", "quantity": 1}],
                "country": country, "personal": {"shipping_address": {"country": "GB"}}});
            order.to_string().into_bytes()
        };
        for good in [None, Some("GB")] {
            assert_eq!(place_order(&of(good)).expect("is good").command().country(), "GB");
        }
        assert_eq!(wrong(&of(Some("FR")), "GB"), ["country"]);
    }

    #[test]
    fn what_is_too_much_is_refused() {
        let data = |count: usize, length: usize| {
            let of = |number: usize| (format!("name-{number}"), json!("ü".repeat(length)));
            json!({"customer_data": (0..count).map(of).collect::<serde_json::Map<_, _>>()})
        };
        assert!(place_order(&order(&data(15, 500))).is_ok());
        assert_eq!(wrong(&order(&data(50, 500)), "ü"), ["personal"], "50 kB in all");
        assert_eq!(wrong(&order(&data(51, 1)), "ü"), ["personal.customer_data"]);
        assert_eq!(wrong(&order(&data(1, 501)), "ü"), ["personal.customer_data[0]"]);
        let lines = json!({"shipping_address": {"lines": vec!["x"; 6]}});
        assert_eq!(wrong(&order(&lines), "xx"), ["personal.shipping_address.lines"]);
        let twice = br#"{"currency":"GBP","charges":[{"code":"A","amount":1}],
            "personal":{"customer_data":{"a":"1","a":"2"}}}"#;
        assert_eq!(wrong(twice, "!"), ["personal.customer_data[1]"]);
    }
}
