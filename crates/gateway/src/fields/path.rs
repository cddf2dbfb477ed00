//! Where a field is: as an error names it, and as a JSON pointer.

use std::{
    borrow::Cow,
    fmt::{self, Write as _},
};

/// What stands in a URI fragment as it is, beside letters and digits (RFC 3986).
const FRAGMENT_MARKS: &[u8] = b"-._!$&'()*+,;=:@?";

/// The path of a field. Becomes text only for an error.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Path<'p> {
    /// The whole body, by its name in errors.
    Root(&'p str),
    /// What is no JSON, and whose members are known by their names: the parameters of a query, a line of CSV.
    Named(&'p str),
    /// An item of a list that is reported by itself: its members are named without the list.
    Line(&'p Path<'p>),
    /// A member of an object.
    Member(&'p Path<'p>, &'p str),
    /// An item of a list.
    Item(&'p Path<'p>, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root(_) | Self::Named(_) | Self::Line(_) => Ok(()),
            Self::Member(Self::Root(_) | Self::Named(_) | Self::Line(_), name) => f.write_str(name),
            Self::Member(parent, name) => write!(f, "{parent}.{name}"),
            Self::Item(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

impl Path<'_> {
    /// The body of a request.
    pub(crate) const BODY: Path<'static> = Path::Root("the body");

    /// The name of the field without its path, for a sentence.
    pub(crate) fn name(&self) -> Cow<'_, str> {
        match self {
            Self::Root(name) | Self::Named(name) | Self::Member(_, name) => Cow::Borrowed(name),
            Self::Line(_) => Cow::Borrowed("the line"),
            Self::Item(..) => Cow::Owned(self.to_string()),
        }
    }

    /// The JSON pointer to the field (RFC 6901), as a URI fragment; `None` for what is no JSON.
    pub(crate) fn pointer(&self) -> Option<String> {
        match self {
            Self::Root(_) => Some("#".to_owned()),
            Self::Named(_) => None,
            Self::Line(place) => place.pointer(),
            Self::Member(parent, name) => {
                let mut pointer = parent.pointer()? + "/";
                push_token(&mut pointer, name);
                Some(pointer)
            }
            Self::Item(parent, index) => Some(format!("{}/{index}", parent.pointer()?)),
        }
    }
}

/// Adds a name to a JSON pointer that is a URI fragment: escaped as the one wants it, and then as the other does.
fn push_token(pointer: &mut String, name: &str) {
    for byte in name.bytes() {
        match byte {
            b'~' => pointer.push_str("~0"),
            b'/' => pointer.push_str("~1"),
            byte if byte.is_ascii_alphanumeric() || FRAGMENT_MARKS.contains(&byte) => {
                pointer.push(byte.into());
            }
            // Writing to text does not fail.
            byte => write!(pointer, "%{byte:02X}").unwrap_or_default(),
        }
    }
}
