//! What the shop service decides: about shops, and about API keys. No I/O, no clock, no async.

pub(crate) mod keys;
pub(crate) mod shops;

use engine::{Aggregate, AnyRows, Decision, Recorded, Revision, Rows, Rules, State};
use protocol::{id::Shop, time::Timestamp};

use crate::Shops;

/// What the service is asked to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// With a shop.
    Shop(shops::Input),
    /// With an API key.
    Key(keys::Input),
    /// To note when API keys were used.
    KeyUse(Vec<keys::Use>),
}

/// Something happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// To a shop.
    Shop(shops::Event),
    /// To an API key.
    Key(keys::Event),
}

/// What the sender of a command is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// About a shop.
    Shop(shops::Answer),
    /// About an API key.
    Key(keys::Answer),
}

/// The rows of one shop: itself; or for that of the installation, its API keys.
#[derive(Debug, Default)]
pub struct Tables {
    /// The shop.
    pub shops: Rows<Shop, shops::ShopRow>,
    /// The API keys.
    pub keys: Rows<keys::KeyId, keys::KeyRow>,
}

impl State for Tables {
    fn tables(&mut self) -> Vec<&mut dyn AnyRows> {
        vec![&mut self.shops, &mut self.keys]
    }
}

impl Rules for Shops {
    type State = Tables;

    fn aggregate(event: &Event) -> Aggregate {
        match event {
            Event::Shop(event) => Aggregate::new(shops::KIND, &event.name),
            Event::Key(event) => Aggregate::new(keys::KIND, &event.id),
        }
    }

    fn revision(tables: &Tables, event: &Event) -> Revision {
        let revision = match event {
            Event::Shop(event) => tables.shops.get(&event.name).map(|row| row.revision),
            Event::Key(event) => tables.keys.get(&event.id).map(|row| row.revision),
        };
        revision.unwrap_or_default()
    }

    fn decide(&self, tables: &Tables, input: &Input, now: Timestamp) -> Decision<Event, Answer> {
        match input {
            Input::Shop(input) => {
                let (event, answer) = shops::decide(&tables.shops, input, now);
                let event = event.map(Event::Shop);
                Decision::answered(event.into_iter().collect(), Answer::Shop(answer))
            }
            Input::Key(input) => {
                let (event, answer) = keys::decide(&tables.keys, input, now);
                let event = event.map(Event::Key);
                Decision::answered(event.into_iter().collect(), Answer::Key(answer))
            }
            Input::KeyUse(uses) => {
                let noted = keys::note_use(&tables.keys, uses);
                Decision::events(noted.into_iter().map(Event::Key).collect())
            }
        }
    }

    fn apply(tables: &mut Tables, recorded: &Recorded<Event>) {
        let (revision, time) = (recorded.revision(), recorded.time);
        match &recorded.event {
            Event::Shop(event) => shops::apply(&mut tables.shops, event, revision, time),
            Event::Key(event) => keys::apply(&mut tables.keys, event, revision, time),
        }
    }
}
