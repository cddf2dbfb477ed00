//! Personal data, as the gateway shows it to those who may read it.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

/// What was sealed, as far as it can be opened. In JSON an object with `status`, and when that is
/// `readable` with the fields of what was sealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Opened<T> {
    /// It can be read.
    Readable(T),
    /// Its key was deleted: nobody can read it any more.
    Erased,
    /// The keys cannot be used now, or the gateway has none. What a later version says instead is read as this.
    #[serde(other)]
    Unavailable,
}

impl<T> Opened<T> {
    /// What was sealed, if it can be read.
    pub fn readable(&self) -> Option<&T> {
        match self {
            Self::Readable(value) => Some(value),
            Self::Erased | Self::Unavailable => None,
        }
    }

    /// The same of something that follows from it.
    pub fn map<U>(self, then: impl FnOnce(T) -> U) -> Opened<U> {
        match self {
            Self::Readable(value) => Opened::Readable(then(value)),
            Self::Erased => Opened::Erased,
            Self::Unavailable => Opened::Unavailable,
        }
    }
}

/// The personal data and the free texts of an order.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PersonalView {
    /// The e-mail address.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub email: String,
    /// The telephone number.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub phone: String,
    /// What the customer wants to say.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// Where the order goes to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shipping_address: Option<AddressView>,
    /// Who is billed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub billing_address: Option<AddressView>,
    /// What else the caller keeps about the customer.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "openapi", schema(value_type = crate::openapi::CustomerData))]
    pub customer_data: BTreeMap<String, String>,
}

/// An address.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AddressView {
    /// Who lives there.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The company.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub company: String,
    /// Street, house number and the like.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<String>,
    /// The postcode.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub postcode: String,
    /// The city.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub city: String,
    /// The state, county or province.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub region: String,
    /// The country: that of the order, or its billing country.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub country: String,
}

/// Why something was done, in the caller's words.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NoteView {
    /// The text.
    pub text: String,
}

/// No log shows personal data.
macro_rules! hidden {
    ($($name:ident),+) => {
        $(
            impl fmt::Debug for $name {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.debug_struct(stringify!($name)).finish_non_exhaustive()
                }
            }
        )+
    };
}

hidden!(PersonalView, AddressView, NoteView);

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_can_be_read_has_its_fields_beside_the_status() {
        let readable = Opened::Readable(NoteView { text: "hello".into() });
        let shown = json!({"status": "readable", "text": "hello"});
        assert_eq!(serde_json::to_value(&readable).expect("is JSON"), shown);
        assert_eq!(
            serde_json::from_value::<Opened<NoteView>>(shown).expect("reads back"),
            readable
        );
        let erased = serde_json::to_value(Opened::<NoteView>::Erased).expect("is JSON");
        assert_eq!(erased, json!({"status": "erased"}));
        let later = json!({"status": "archived", "since": "2026-11-23"});
        let read = serde_json::from_value::<Opened<NoteView>>(later).expect("is tolerated");
        assert_eq!(read, Opened::Unavailable);
        assert!(!format!("{readable:?}").contains("hello"), "{readable:?}");
    }
}
