//! The shops: which there are, how each works, and whether it takes requests; and the API keys of the
//! installation.
//!
//! - `wire`: bytes to domain and back; the only file that sees protobuf;
//! - `domain`: the rules, without I/O, clock or async: inputs, events, `decide`, `apply`;
//! - `store`: how its rows are stored, and the SQL of its lists;
//! - `query`: the questions that it answers from its projection.
//!
//! `CreateShop`, `ChangeShop`, `SuspendShop` and `ResumeShop` come in; `created`, `changed`,
//! `suspended` and `resumed` go out. The aggregate is the shop, its id the shop's name. The services
//! that work by a shop's settings read these events into replicas; the gateway asks for a shop before
//! it lets a request through to the others.
//!
//! `AddKey`, `RotateKey` and `RevokeKey` lead to `key_added`, `key_rotated` and `key_revoked`, and
//! `NoteKeyUse` of a gateway to `key_used`, at most once an hour for each key. The aggregate is the key. A
//! key may be for several shops: its events, commands and rows are those of
//! [`Shop::installation`](protocol::id::Shop::installation), whose partition they have. They are not
//! public, and hold a keyed digest of each secret, never the secret.
//!
//! To add a setting: see `events::shop`.

mod domain;
mod query;
mod store;
#[cfg(test)]
mod tests;
mod wire;

use engine::{Definition, Service, Source, Table};

/// The shop service, to be run by an engine.
pub fn service() -> Definition<Shops> {
    Definition::new(Shops)
}

/// The shop service, as the engine sees it.
#[derive(Debug, Clone, Copy)]
pub struct Shops;

impl Service for Shops {
    const NAME: &'static str = "shop";
    const SOURCES: &'static [Source] = &[];
    const TABLES: &'static [Table] = store::TABLES;
    const FORMAT: u32 = 2;
}
