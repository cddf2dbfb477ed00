//! How the body of a delivery is made of its event.

use serde::{Deserialize, Serialize};

/// What a delivery holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Payload {
    /// The whole event.
    Full,
    /// What identifies it.
    Thin,
}

/// How the body of a delivery is made of its event: chosen when it is scheduled, and the same for each attempt and
/// replay, whatever becomes of the settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rendering {
    /// What the body holds.
    pub payload: Payload,
    /// The version of the rules by which it is written.
    pub version: u32,
}
