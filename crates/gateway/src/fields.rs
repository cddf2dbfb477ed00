//! Reads the fields of a body and collects every error, each with the path of its field.
//!
//! A reader is a function of a node, its path and the errors so far. It yields a value, or `None`
//! after it has added an error; [`object`] and [`list`] combine readers. A body is valid when no error
//! was added.

pub(crate) mod path;

use std::{borrow::Cow, fmt, ops::RangeInclusive};

use events::{
    card_numbers::holds_card_number,
    money::{MAX_ORDER_TOTAL, MAX_UNIT_PRICE, TaxBasis},
};
use protocol::id::ParseError;
use utoipa::ToSchema;

pub(crate) use self::path::Path;
use crate::{
    json::{Malformed, Node},
    problem::{Code, FieldError, Problem},
};

/// The most errors of a response: its size stays in proportion to a body of 1 MB.
const MAX_ERRORS: usize = 10_000;

/// The errors so far.
#[derive(Debug, Default)]
pub(crate) struct Errors(Vec<FieldError>);

impl Errors {
    /// Adds one.
    pub(crate) fn add(&mut self, path: &Path<'_>, detail: impl fmt::Display) {
        if self.0.len() < MAX_ERRORS {
            self.0.push(FieldError::at(path, detail.to_string()));
        }
    }

    /// The parsed value, or `None` after its error was added.
    pub(crate) fn take<T>(&mut self, path: &Path<'_>, parsed: Result<T, ParseError>) -> Option<T> {
        parsed.map_err(|error| self.add(path, error)).ok()
    }

    /// The value, or all errors if there are any.
    pub(crate) fn check<T>(self, value: Option<T>) -> Result<T, Vec<FieldError>> {
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            _ => Err(self.0),
        }
    }
}

/// Reads a body that is one JSON value.
pub(crate) fn body<T>(
    bytes: &[u8],
    read: impl FnOnce(&Node<'_>, &Path<'_>, &mut Errors) -> Option<T>,
) -> Result<T, Problem> {
    let node = Node::parse(bytes).map_err(malformed)?;
    let mut errors = Errors::default();
    let value = read(&node, &Path::BODY, &mut errors);
    errors.check(value).map_err(Problem::fields)
}

/// The problem of a body that is not JSON.
pub(crate) fn malformed(error: Malformed) -> Problem {
    let Malformed { line, column, message } = error;
    Problem::new(
        Code::MalformedJson,
        format!("malformed JSON at line {line}, column {column}: {message}"),
    )
}

/// Reads a line of an upload.
pub(crate) fn line<T>(
    bytes: &[u8],
    read: impl FnOnce(&Node<'_>, &Path<'_>, &mut Errors) -> Option<T>,
) -> Result<T, Vec<FieldError>> {
    let root = Path::Root("the line");
    let mut errors = Errors::default();
    let value = match Node::parse(bytes) {
        Ok(node) => read(&node, &root, &mut errors),
        Err(Malformed { column, message, .. }) => {
            errors.add(&root, format_args!("malformed JSON at column {column}: {message}"));
            None
        }
    };
    errors.check(value)
}

/// Reads a record of an upload.
pub(crate) fn record<T>(
    node: &Node<'_>,
    read: impl FnOnce(&Node<'_>, &Path<'_>, &mut Errors) -> Option<T>,
) -> Result<T, Vec<FieldError>> {
    let mut errors = Errors::default();
    let value = read(node, &Path::Named("the line"), &mut errors);
    errors.check(value)
}

/// What a client says of a value that there may be none of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Change<T> {
    /// Nothing: it stays as it is.
    #[default]
    Keep,
    /// There is to be none.
    Clear,
    /// It is to be this one.
    Set(T),
}

impl<T> Change<T> {
    /// The value after the change.
    pub(crate) fn apply(self, before: Option<T>) -> Option<T> {
        match self {
            Self::Keep => before,
            Self::Clear => None,
            Self::Set(value) => Some(value),
        }
    }
}

/// The members of an object. Those that no one reads are errors.
pub(crate) struct Fields<'r, 'a> {
    members: &'r [(Cow<'a, str>, Node<'a>)],
    read: Vec<&'static str>,
    path: &'r Path<'r>,
    errors: &'r mut Errors,
}

/// Reads an object. A member that `read` does not read is an error.
pub(crate) fn object<'r, 'a, T>(
    node: &'r Node<'a>,
    path: &'r Path<'r>,
    errors: &'r mut Errors,
    read: impl FnOnce(&mut Fields<'r, 'a>) -> Option<T>,
) -> Option<T> {
    let Node::Object(members) = node else {
        errors.add(path, format_args!("{} must be an object, got {node}", path.name()));
        return None;
    };
    let mut fields = Fields { members, read: Vec::with_capacity(8), path, errors };
    let value = read(&mut fields);
    fields.refuse_others();
    value
}

impl<'r, 'a> Fields<'r, 'a> {
    /// Reads a member that must be present.
    pub(crate) fn required<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&'r Node<'a>, &Path<'_>, &mut Errors) -> Option<T>,
    ) -> Option<T> {
        let path = Path::Member(self.path, name);
        let Some(node) = self.find(name) else {
            self.errors.add(&path, format_args!("{name} is missing"));
            return None;
        };
        read(node, &path, self.errors)
    }

    /// Reads a member that may be absent, or null.
    pub(crate) fn optional<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&'r Node<'a>, &Path<'_>, &mut Errors) -> Option<T>,
    ) -> Option<T> {
        let node = self.find(name)?;
        read(node, &Path::Member(self.path, name), self.errors)
    }

    /// Reads a member that may be absent; null takes its value away.
    pub(crate) fn clearable<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&'r Node<'a>, &Path<'_>, &mut Errors) -> Option<T>,
    ) -> Change<T> {
        let is_null = |(member, node): &(Cow<'a, str>, Node<'a>)| {
            member.as_ref() == name && *node == Node::Null
        };
        if self.members.iter().any(is_null) {
            self.find(name);
            return Change::Clear;
        }
        self.optional(name, read).map_or(Change::Keep, Change::Set)
    }

    /// Adds an error of the object as a whole, under the name of a member.
    pub(crate) fn wrong(&mut self, name: &str, detail: impl fmt::Display) {
        self.errors.add(&Path::Member(self.path, name), detail);
    }

    /// Whether a member is there, and not null.
    pub(crate) fn is_given(&self, name: &str) -> bool {
        self.members.iter().any(|(member, node)| member == name && *node != Node::Null)
    }

    /// Accepts members without reading them.
    pub(crate) fn ignore(&mut self, names: &[&'static str]) {
        self.read.extend(names);
    }

    /// Whether a member is an empty list, or absent, or null.
    pub(crate) fn is_empty(&self, name: &str) -> bool {
        let mut found = self.members.iter().filter(|(member, _)| member == name);
        found.all(|(_, node)| match node {
            Node::Null => true,
            Node::List(items) => items.is_empty(),
            Node::Bool(_)
            | Node::Integer(_)
            | Node::Number(_)
            | Node::Text(_)
            | Node::Cell(_)
            | Node::Object(_) => false,
        })
    }

    fn find(&mut self, name: &'static str) -> Option<&'r Node<'a>> {
        self.read.push(name);
        let members = self.members;
        let mut found = members.iter().filter(|(member, _)| member == name).map(|(_, node)| node);
        let first = found.next();
        if found.next().is_some() {
            self.wrong(name, format_args!("{name} occurs twice"));
        }
        first.filter(|node| **node != Node::Null)
    }

    fn refuse_others(self) {
        for (name, _) in self.members {
            if !self.read.iter().any(|read| name == read) {
                let name = name.as_ref();
                let known = self.read.join(", ");
                let detail = format_args!("{name} is not a known field; the fields are {known}");
                self.errors.add(&Path::Member(self.path, name), detail);
            }
        }
    }
}

/// Reads a list of at most `max` items; an item with errors does not end it.
pub(crate) fn list<'r, 'a: 'r, T>(
    max: usize,
    read: impl Fn(&'r Node<'a>, &Path<'_>, &mut Errors) -> Option<T>,
) -> impl FnOnce(&'r Node<'a>, &Path<'_>, &mut Errors) -> Option<Vec<T>> {
    move |node, path, errors| {
        let Node::List(items) = node else {
            errors.add(path, format_args!("{} must be a list, got {node}", path.name()));
            return None;
        };
        if items.len() > max {
            let (name, count) = (path.name(), items.len());
            errors.add(path, format_args!("{name} must be at most {max} items, got {count}"));
            return None;
        }
        let mut list = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            list.extend(read(item, &Path::Item(path, index), errors));
        }
        Some(list)
    }
}

/// Reads text by a rule. The number of a payment card is refused in it, and not shown.
pub(crate) fn text<T>(
    parse: impl FnOnce(&str) -> Result<T, ParseError>,
) -> impl FnOnce(&Node<'_>, &Path<'_>, &mut Errors) -> Option<T> {
    move |node, path, errors| {
        if let Some(value) = node.text()
            && holds_card_number(value)
        {
            let name = path.name();
            errors.add(path, format_args!("{name} must not hold the number of a payment card"));
            return None;
        }
        code(parse)(node, path, errors)
    }
}

/// Reads text that machines write, by a rule: a bar code may look like the number of a card.
pub(crate) fn code<T>(
    parse: impl FnOnce(&str) -> Result<T, ParseError>,
) -> impl FnOnce(&Node<'_>, &Path<'_>, &mut Errors) -> Option<T> {
    move |node, path, errors| {
        let Some(value) = node.text() else {
            errors.add(path, format_args!("{} must be text, got {node}", path.name()));
            return None;
        };
        errors.take(path, parse(value))
    }
}

/// Which items of a list come first, as it is described; [`oldest_first`] reads it.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
#[expect(dead_code, reason = "it is a description")]
pub(crate) enum Sort {
    Newest,
    Oldest,
}

/// Whether the oldest items of a list come first.
pub(crate) fn oldest_first(sort: &str) -> Result<bool, ParseError> {
    match sort {
        "newest" => Ok(false),
        "oldest" => Ok(true),
        _ => Err(ParseError::new("sort", "must be newest or oldest", sort)),
    }
}

/// The value of an enumeration of the contract that has that name in JSON.
pub(crate) fn named<E: Default + PartialEq>(
    prefix: &str,
    read: fn(&str) -> Option<E>,
    name: &str,
) -> Option<E> {
    let is_lower_case = !name.bytes().any(|byte| byte.is_ascii_uppercase());
    let value = read(&format!("{prefix}{}", name.to_ascii_uppercase()));
    value.filter(|value| is_lower_case && *value != E::default())
}

/// Reads an integer by a rule.
pub(crate) fn integer<T>(
    parse: impl FnOnce(i64) -> Result<T, ParseError>,
) -> impl FnOnce(&Node<'_>, &Path<'_>, &mut Errors) -> Option<T> {
    move |node, path, errors| {
        let value = match node {
            Node::Integer(value) => Some(*value),
            Node::Cell(text) => text.parse().ok(),
            _ => None,
        };
        let Some(value) = value else {
            errors.add(path, format_args!("{} must be an integer, got {node}", path.name()));
            return None;
        };
        errors.take(path, parse(value))
    }
}

/// Reads a number by a rule, whole or not.
pub(crate) fn number<T>(
    parse: impl FnOnce(f64) -> Result<T, ParseError>,
) -> impl FnOnce(&Node<'_>, &Path<'_>, &mut Errors) -> Option<T> {
    move |node, path, errors| {
        let value = match node {
            Node::Integer(value) => *value as f64,
            Node::Number(value) => *value,
            _ => {
                errors.add(path, format_args!("{} must be a number, got {node}", path.name()));
                return None;
            }
        };
        errors.take(path, parse(value))
    }
}

/// Reads true or false.
pub(crate) fn flag(node: &Node<'_>, path: &Path<'_>, errors: &mut Errors) -> Option<bool> {
    let value = match node {
        Node::Bool(value) => Some(*value),
        Node::Cell(text) => text.to_ascii_lowercase().parse().ok(),
        _ => None,
    };
    if value.is_none() {
        errors.add(path, format_args!("{} must be true or false, got {node}", path.name()));
    }
    value
}

/// The names of a tax basis.
pub(crate) fn tax_basis(name: &str) -> Result<TaxBasis, ParseError> {
    match name {
        "included" => Ok(TaxBasis::Included),
        "excluded" => Ok(TaxBasis::Excluded),
        _ => Err(ParseError::new("tax_basis", "must be included or excluded", name)),
    }
}

/// The rule of the price of a unit, in minor units.
pub(crate) fn unit_price(minor: i64) -> Result<i64, ParseError> {
    within("a price", "must be 0 to 1000000000000", 0..=MAX_UNIT_PRICE, minor)
}

/// The rule of a charge, in minor units; a rebate is negative.
pub(crate) fn charge_amount(minor: i64) -> Result<i64, ParseError> {
    let rule = "must be -1000000000000000 to 1000000000000000";
    within("amount", rule, -MAX_ORDER_TOTAL..=MAX_ORDER_TOTAL, minor)
}

/// The rule of a number within a range, which `rule` describes.
pub(crate) fn within(
    what: &'static str,
    rule: &'static str,
    range: RangeInclusive<i64>,
    value: i64,
) -> Result<i64, ParseError> {
    if range.contains(&value) {
        Ok(value)
    } else {
        Err(ParseError::new(what, rule, &value.to_string()))
    }
}

/// The rule of text for people: one line of 1 to `max` characters, which `rule` describes.
pub(crate) fn words(
    what: &'static str,
    rule: &'static str,
    max: usize,
    value: &str,
) -> Result<String, ParseError> {
    let length = value.chars().count();
    if (1..=max).contains(&length) && !value.chars().any(char::is_control) {
        Ok(value.to_owned())
    } else {
        Err(ParseError::new(what, rule, value))
    }
}

#[cfg(test)]
mod tests {
    use events::id::{Quantity, Sku};

    use super::*;

    type Basket = (Vec<(Sku, Quantity)>, Option<bool>);

    fn basket(node: &Node<'_>, path: &Path<'_>, errors: &mut Errors) -> Option<Basket> {
        object(node, path, errors, |fields| {
            let gift = fields.optional("gift", flag);
            let lines = fields.required(
                "lines",
                list(3, |node, path, errors| {
                    object(node, path, errors, |fields| {
                        let sku = fields.required("sku", code(Sku::parse));
                        let quantity = fields.required("quantity", integer(Quantity::parse));
                        Some((sku?, quantity?))
                    })
                }),
            );
            Some((lines?, gift))
        })
    }

    #[track_caller]
    fn check(text: &str, expected: &[(&str, &str)]) {
        let errors = line(text.as_bytes(), basket).expect_err("is wrong");
        let found: Vec<_> = errors.iter().map(|e| (&*e.field, &*e.detail)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_valid_body_is_read() {
        let (lines, gift) =
            line(br#"{"lines":[{"sku":"A","quantity":2}],"gift":null}"#, basket).expect("is valid");
        assert_eq!(lines, [(Sku::parse("A").unwrap(), Quantity::parse(2).unwrap())]);
        assert_eq!(gift, None);
    }

    #[test]
    fn every_wrong_field_is_named_with_its_path() {
        check(
            r#"{"gift":"yes","lines":[{"quantity":0},{"sku":5,"quantity":1.5,"size":"L"},7],"x":1}"#,
            &[
                ("gift", "gift must be true or false, got \"yes\""),
                ("lines[0].sku", "sku is missing"),
                ("lines[0].quantity", "quantity must be 1 to 1000000000, got \"0\""),
                ("lines[1].sku", "sku must be text, got 5"),
                ("lines[1].quantity", "quantity must be an integer, got 1.5"),
                ("lines[1].size", "size is not a known field; the fields are sku, quantity"),
                ("lines[2]", "lines[2] must be an object, got 7"),
                ("x", "x is not a known field; the fields are gift, lines"),
            ],
        );
    }

    #[test]
    fn a_field_of_json_is_pointed_at() {
        let pointers = |text: &str| {
            let errors = line(text.as_bytes(), basket).expect_err("is wrong");
            errors.into_iter().map(|it| it.pointer.expect("is JSON")).collect::<Vec<_>>()
        };
        let text = r#"{"gift":1,"lines":[{"sku":"A","quantity":0},{"sku":"A"},7]}"#;
        let expected = ["#/gift", "#/lines/0/quantity", "#/lines/1/quantity", "#/lines/2"];
        assert_eq!(pointers(text), expected);
        assert_eq!(pointers("[]"), ["#"]);
        // Names are escaped: as of a pointer, and as of a fragment.
        let text = r##"{"lines":[],"a/b~c":1,"d e%f\"#":1,"é":1,"":1,"x?y=1":1}"##;
        let expected = ["#/a~1b~0c", "#/d%20e%25f%22%23", "#/%C3%A9", "#/", "#/x?y=1"];
        assert_eq!(pointers(text), expected);
    }

    #[test]
    fn what_is_no_json_is_named_alone() {
        let node = Node::Object(vec![("gift".into(), Node::Cell("perhaps"))]);
        let errors = record(&node, basket).expect_err("is wrong");
        let found: Vec<_> = errors.iter().map(|it| (&*it.field, &it.pointer)).collect();
        assert_eq!(found, [("gift", &None), ("lines", &None)]);
    }

    #[test]
    fn a_line_of_a_list_is_named_by_itself_and_pointed_at_in_the_list() {
        let lines = Path::Member(&Path::BODY, "lines");
        let (item, mut errors) = (Path::Item(&lines, 3), Errors::default());
        let node = Node::Object(vec![("lines".into(), Node::Integer(1))]);
        basket(&node, &Path::Line(&item), &mut errors);
        basket(&Node::Null, &Path::Line(&item), &mut errors);
        let errors = errors.check(Some(())).expect_err("is wrong");
        let found: Vec<_> = errors.iter().map(|it| (&*it.field, it.pointer.as_deref())).collect();
        assert_eq!(found, [("lines", Some("#/lines/3/lines")), ("", Some("#/lines/3"))]);
        assert_eq!(errors[1].detail, "the line must be an object, got null");
    }

    #[test]
    fn a_field_that_occurs_twice_is_refused() {
        check(r#"{"lines":[],"lines":[]}"#, &[("lines", "lines occurs twice")]);
    }

    #[test]
    fn a_list_that_is_too_long_is_not_read() {
        check(r#"{"lines":[1,2,3,4]}"#, &[("lines", "lines must be at most 3 items, got 4")]);
    }

    #[test]
    fn a_body_that_is_not_an_object_is_refused_as_a_whole() {
        check("[]", &[("", "the line must be an object, got a list")]);
        check("{", &[("", "malformed JSON at column 1: EOF while parsing an object")]);
    }
}
