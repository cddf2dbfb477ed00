//! A note in the document of an account. It makes the functions panic that write and read the document.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::panic_where;

#[derive(Debug, Clone, Default)]
pub(super) struct Note(pub(super) Option<String>);

impl Note {
    pub(super) fn text(&self) -> &str {
        self.0.as_deref().unwrap_or_default()
    }
}

impl Serialize for Note {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        panic_where(self.text(), "serialize");
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Note {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let note = Self(Option::deserialize(deserializer)?);
        panic_where(note.text(), "deserialize");
        Ok(note)
    }
}
