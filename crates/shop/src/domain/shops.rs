//! Shops: created, changed, suspended and resumed.

use engine::{Revision, Rows};
use events::shop::Settings;
use protocol::{id::Shop, time::Timestamp};
use serde::{Deserialize, Serialize};

/// What the aggregate is.
pub(crate) const KIND: &str = "shop";

/// A shop as the last event about it left it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShopRow {
    /// How it works.
    pub settings: Settings,
    /// Whether it takes no requests.
    pub suspended: bool,
    /// Its version, and where its last event is.
    pub revision: Revision,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// What the service is asked to do with a shop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// The shop.
    pub name: Shop,
    /// What is to be done.
    pub request: Request,
}

/// What can be done with a shop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Create it.
    Create {
        /// How it is to work.
        settings: Settings,
    },
    /// Give it other settings.
    Change {
        /// How it is to work.
        settings: Settings,
        /// The only version at which it is changed; `None`: at any.
        expected_version: Option<u64>,
    },
    /// Let it take no requests any more.
    Suspend {
        /// Why, for people.
        reason: String,
        /// The version that the shop must have; `None`: any.
        expected_version: Option<u64>,
    },
    /// Let it take requests again.
    Resume {
        /// Why, for people.
        reason: String,
        /// The version that the shop must have; `None`: any.
        expected_version: Option<u64>,
    },
}

/// Something happened to a shop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The shop.
    pub name: Shop,
    /// What happened.
    pub fact: Fact,
}

/// What can happen to a shop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// It came into being.
    Created {
        /// How it works.
        settings: Settings,
    },
    /// Its settings changed.
    Changed {
        /// How it worked.
        before: Settings,
        /// How it works from then on.
        after: Settings,
    },
    /// It takes no requests any more.
    Suspended {
        /// Why, for people.
        reason: String,
    },
    /// It takes requests again.
    Resumed {
        /// Why, for people.
        reason: String,
    },
}

/// What the sender of a command is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Which command it answers.
    pub to: Command,
    /// What became of it.
    pub outcome: Outcome,
    /// The shop from then on; `None` when there is none.
    pub shop: Option<(Shop, ShopRow)>,
}

/// The kind of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// To create a shop.
    Create,
    /// To change one.
    Change,
    /// To suspend one.
    Suspend,
    /// To resume one.
    Resume,
}

/// What became of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The shop is new.
    Created,
    /// It changed.
    Changed,
    /// It was so already.
    Unchanged,
    /// There is one of that name, with other settings.
    Exists,
    /// There is none of that name.
    Unknown,
    /// It has another version than was expected.
    OtherVersion,
}

/// What follows from a request, and what its sender is answered.
pub(super) fn decide(
    shops: &Rows<Shop, ShopRow>,
    input: &Input,
    now: Timestamp,
) -> (Option<Event>, Answer) {
    let known = shops.get(&input.name);
    let (fact, outcome) = follow(known, &input.request);
    let shop = match &fact {
        Some(fact) => {
            let mut revision = known.map(|row| row.revision).unwrap_or_default();
            revision.version += 1;
            Some(after(known, fact, revision, now))
        }
        None => known.cloned(),
    };
    let answer = Answer {
        to: command(&input.request),
        outcome,
        shop: shop.map(|row| (input.name.clone(), row)),
    };
    (fact.map(|fact| Event { name: input.name.clone(), fact }), answer)
}

/// Folds what happened to a shop.
pub(super) fn apply(
    shops: &mut Rows<Shop, ShopRow>,
    event: &Event,
    revision: Revision,
    time: Timestamp,
) {
    let row = after(shops.get(&event.name), &event.fact, revision, time);
    shops.put(event.name.clone(), row);
}

/// The fact that follows from a request, and what became of it.
fn follow(known: Option<&ShopRow>, request: &Request) -> (Option<Fact>, Outcome) {
    let Some(shop) = known else {
        return match request {
            Request::Create { settings } => {
                (Some(Fact::Created { settings: settings.clone() }), Outcome::Created)
            }
            Request::Change { .. } | Request::Suspend { .. } | Request::Resume { .. } => {
                (None, Outcome::Unknown)
            }
        };
    };
    match request {
        Request::Create { settings } if *settings == shop.settings => (None, Outcome::Unchanged),
        Request::Create { .. } => (None, Outcome::Exists),
        Request::Change { expected_version: Some(expected), .. }
        | Request::Suspend { expected_version: Some(expected), .. }
        | Request::Resume { expected_version: Some(expected), .. }
            if *expected != shop.revision.version =>
        {
            (None, Outcome::OtherVersion)
        }
        Request::Change { settings, .. } if *settings == shop.settings => {
            (None, Outcome::Unchanged)
        }
        Request::Change { settings, .. } => {
            let (before, after) = (shop.settings.clone(), settings.clone());
            (Some(Fact::Changed { before, after }), Outcome::Changed)
        }
        Request::Suspend { .. } if shop.suspended => (None, Outcome::Unchanged),
        Request::Suspend { reason, .. } => {
            (Some(Fact::Suspended { reason: reason.clone() }), Outcome::Changed)
        }
        Request::Resume { .. } if !shop.suspended => (None, Outcome::Unchanged),
        Request::Resume { reason, .. } => {
            (Some(Fact::Resumed { reason: reason.clone() }), Outcome::Changed)
        }
    }
}

fn command(request: &Request) -> Command {
    match request {
        Request::Create { .. } => Command::Create,
        Request::Change { .. } => Command::Change,
        Request::Suspend { .. } => Command::Suspend,
        Request::Resume { .. } => Command::Resume,
    }
}

/// The shop after a fact.
fn after(known: Option<&ShopRow>, fact: &Fact, revision: Revision, time: Timestamp) -> ShopRow {
    let new = || ShopRow {
        settings: Settings::default(),
        suspended: false,
        revision: Revision::default(),
        created_at: time,
        updated_at: time,
    };
    let mut row = known.cloned().unwrap_or_else(new);
    match fact {
        Fact::Created { settings } => row.settings = settings.clone(),
        Fact::Changed { after, .. } => row.settings = after.clone(),
        Fact::Suspended { .. } => row.suspended = true,
        Fact::Resumed { .. } => row.suspended = false,
    }
    (row.revision, row.updated_at) = (revision, time);
    row
}
