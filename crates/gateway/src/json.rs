//! A parsed JSON value before validation: integers stay integers, text is borrowed from the body, and
//! a member that occurs twice is there twice.
//!
//! Deserialising into typed structs would be as fast, but stops at the first field that is wrong.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor},
};

/// How deep lists and objects may be nested: several times as deep as any body is.
const MAX_DEPTH: usize = 32;
/// The most characters of a wrong value that an error shows.
const MAX_SHOWN_CHARACTERS: usize = 80;

/// A JSON value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Node<'a> {
    Null,
    Bool(bool),
    Integer(i64),
    /// A number that is no 64-bit integer.
    Number(f64),
    Text(Cow<'a, str>),
    /// A value of a CSV file: text, a number, true or false, as its field wants it.
    Cell(&'a str),
    List(Vec<Node<'a>>),
    Object(Vec<(Cow<'a, str>, Node<'a>)>),
}

/// Bytes that are not JSON.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed {
    pub(crate) line: usize,
    pub(crate) column: usize,
    pub(crate) message: String,
}

impl<'a> Node<'a> {
    /// Reads one JSON value.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = serde_json::Deserializer::from_slice(bytes);
        let parsed = Within(MAX_DEPTH).deserialize(&mut reader);
        let parsed = parsed.and_then(|node| reader.end().map(|()| node));
        parsed.map_err(|error| Malformed::new(&error))
    }

    /// The text that it is, if it is text.
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(value) => Some(value),
            Self::Cell(value) => Some(value),
            _ => None,
        }
    }
}

impl Malformed {
    /// Separates the parser's message from the position at its end.
    pub(crate) fn new(error: &serde_json::Error) -> Self {
        let (line, column) = (error.line(), error.column());
        let text = error.to_string();
        let position = format!(" at line {line} column {column}");
        let message = text.strip_suffix(&position).unwrap_or(&text).to_owned();
        Self { line, column, message }
    }
}

/// As an error shows it: `got 5`, `got "five"`, `got a list`.
impl fmt::Display for Node<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => value.fmt(f),
            Self::Integer(value) => value.fmt(f),
            Self::Number(value) => value.fmt(f),
            Self::Text(value) => {
                write!(f, "{:?}", value.chars().take(MAX_SHOWN_CHARACTERS).collect::<String>())
            }
            Self::Cell(value) => {
                write!(f, "{:?}", value.chars().take(MAX_SHOWN_CHARACTERS).collect::<String>())
            }
            Self::List(_) => f.write_str("a list"),
            Self::Object(_) => f.write_str("an object"),
        }
    }
}

/// Reads a value in which lists and objects are nested so deep at most.
#[derive(Clone, Copy)]
struct Within(usize);

impl Within {
    /// What is in a list or object.
    fn inner<E: Error>(self) -> Result<Self, E> {
        let too_deep =
            || E::custom(format_args!("lists and objects may be nested {MAX_DEPTH} deep"));
        self.0.checked_sub(1).map(Self).ok_or_else(too_deep)
    }
}

impl<'de> DeserializeSeed<'de> for Within {
    type Value = Node<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Within {
    type Value = Node<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Node::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Node::Integer(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(i64::try_from(value).map_or(Node::Number(value as f64), Node::Integer))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Node::Number(value))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Self::Value, E> {
        Ok(Node::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Node::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let (inner, mut list) = (self.inner()?, Vec::new());
        while let Some(item) = items.next_element_seed(inner)? {
            list.push(item);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let (inner, mut object) = (self.inner()?, Vec::new());
        while let Some(Name(name)) = members.next_key()? {
            object.push((name, members.next_value_seed(inner)?));
        }
        Ok(Node::Object(object))
    }
}

/// The name of a member, borrowed where it has no escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_what_they_are_and_nothing_is_lost() {
        let text = r#"{"a":1,"a":-2,"b":[1.5,18446744073709551615,null,true],"c":"\u00e9"}"#;
        let name = |name: &'static str| Cow::Borrowed(name);
        let items = vec![
            Node::Number(1.5),
            Node::Number(18_446_744_073_709_551_615.0),
            Node::Null,
            Node::Bool(true),
        ];
        assert_eq!(
            Node::parse(text.as_bytes()),
            Ok(Node::Object(vec![
                (name("a"), Node::Integer(1)),
                (name("a"), Node::Integer(-2)),
                (name("b"), Node::List(items)),
                (name("c"), Node::Text("é".into())),
            ]))
        );
    }

    #[test]
    fn names_and_text_are_borrowed_from_the_body() {
        let Ok(Node::Object(members)) = Node::parse(br#"{"sku":"A-1"}"#) else {
            panic!("is an object")
        };
        assert!(matches!(
            members.as_slice(),
            [(Cow::Borrowed("sku"), Node::Text(Cow::Borrowed("A-1")))]
        ));
    }

    #[test]
    fn malformed_json_has_its_position() {
        let error = Node::parse(b"{\n  \"a\": 1,\n}").expect_err("has a comma too many");
        assert_eq!((error.line, error.column), (3, 1));
        assert_eq!(error.message, "trailing comma");
        assert!(Node::parse(b"\"\xff\"").is_err(), "is not UTF-8");
    }

    #[test]
    fn what_is_nested_too_deep_is_refused() {
        let nested = |depth: usize| "[{\"a\":".repeat(depth / 2) + "1" + &"}]".repeat(depth / 2);
        assert!(Node::parse(nested(MAX_DEPTH).as_bytes()).is_ok());
        for depth in [MAX_DEPTH + 2, 10_000] {
            let error = Node::parse(nested(depth).as_bytes()).expect_err("is too deep");
            assert_eq!(error.message, "lists and objects may be nested 32 deep");
        }
        assert!(Node::parse(b"[1] 2").is_err(), "there is something behind it");
    }
}
