//! Values of enumerations in answers.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A value of an enumeration, as a reader of an answer sees it: later versions add values, and what has
/// one is still read. Requests have none of these: what is asked for must be known.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Open<T> {
    /// One that this version knows.
    Known(T),
    /// One of a later version, as it is in JSON: its name; or its number, where the gateway does not
    /// know it either.
    Other(String),
}

impl<T> Open<T> {
    /// A value of a message by its number, and what it is if this version knows it.
    pub fn read(number: i32, known: Option<T>) -> Self {
        known.map_or_else(|| Self::Other(number.to_string()), Self::Known)
    }

    /// The value, if this version knows it.
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Known(value) => Some(value),
            Self::Other(_) => None,
        }
    }
}

impl<T> From<T> for Open<T> {
    fn from(value: T) -> Self {
        Self::Known(value)
    }
}

impl<T: PartialEq> PartialEq<T> for Open<T> {
    fn eq(&self, value: &T) -> bool {
        self.known() == Some(value)
    }
}

/// The value as it is in JSON.
impl<T: fmt::Display> fmt::Display for Open<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(value) => value.fmt(f),
            Self::Other(text) => f.pad(text),
        }
    }
}

/// Implements `Display` of enumerations as they are in JSON.
macro_rules! displayed {
    ($($name:ident),+ $(,)?) => {
        $(
            impl std::fmt::Display for $name {
                fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.pad(self.as_str())
                }
            }
        )+
    };
}

pub(crate) use displayed;
