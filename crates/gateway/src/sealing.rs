//! Seals what is personal or secret before it enters the inbox, and opens what is personal for those who
//! may read it.
//!
//! What is personal belongs to an order: it does not open as that of another one. The key is that of the
//! customer, or for a guest of the order.

use events::{
    http::Opened,
    id::{CustomerId, OrderId},
    proto,
    sealed::order_context,
};
use person_keys::{Error, Person, PersonKeys, Sealed};
use prost::Message;
use protocol::{
    id::{Shop, hex},
    time::Timestamp,
};

use crate::problem::{Code, Problem};

/// What of an order is sealed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Part {
    /// Its personal data.
    Personal,
    /// The note of its cancellation.
    Cancellation,
    /// The note with which it was taken off hold.
    Release,
}

/// The keys of persons, where the gateway has some.
#[derive(Debug)]
pub(crate) struct Sealing {
    keys: Option<PersonKeys>,
}

/// An order as far as it matters whose key seals what is personal in it.
#[derive(Debug)]
pub(crate) struct Owner {
    pub(crate) order_id: OrderId,
    /// None for a guest.
    pub(crate) customer_id: Option<CustomerId>,
    /// When it was placed; none when it is being placed.
    pub(crate) placed_at: Option<Timestamp>,
}

impl Owner {
    fn person(&self) -> Person {
        match &self.customer_id {
            Some(customer_id) => Person::customer(customer_id),
            None => Person::guest(&self.order_id),
        }
    }
}

impl Sealing {
    pub(crate) fn new(keys: Option<PersonKeys>) -> Self {
        Self { keys }
    }

    /// Gives a command a fingerprint over what will be sealed in it as well. Keyed, since the command
    /// is in a log: it says nothing to those who do not have the key.
    pub(crate) async fn fingerprint(
        &self,
        command: &mut proto::Command,
        plaintext: &[u8],
    ) -> Result<(), Problem> {
        let proto::Command { shop, id, fingerprint, .. } = &*command;
        let parts = [shop.as_bytes(), id.as_bytes(), fingerprint.as_bytes(), plaintext];
        let fingerprint = self.keys()?.fingerprint(&parts).await;
        command.fingerprint = hex(&fingerprint.map_err(|error| problem(&error))?);
        Ok(())
    }

    /// When the person was erased last, if ever.
    pub(crate) async fn last_erasure(
        &self,
        shop: &Shop,
        owner: &Owner,
    ) -> Result<Option<Timestamp>, Problem> {
        let erased_at = self.keys()?.last_erasure(shop, &owner.person()).await;
        erased_at.map_err(|error| problem(&error))
    }

    /// Seals a part of an order. When the person was erased since the order was placed, nobody can open
    /// it: what was erased does not come back by a request that is repeated.
    pub(crate) async fn seal(
        &self,
        shop: &Shop,
        owner: &Owner,
        part: Part,
        plaintext: &[u8],
    ) -> Result<proto::Sealed, Problem> {
        let (keys, person) = (self.keys()?, owner.person());
        let context = part.context(owner.order_id);
        let is_erased = match owner.placed_at {
            Some(placed_at) => self.last_erasure(shop, owner).await? >= Some(placed_at),
            None => false,
        };
        let Sealed { key_id, ciphertext } = if is_erased {
            PersonKeys::seal_for_nobody(shop, &person, &context, plaintext)
        } else {
            let sealed = keys.seal(shop, &person, &context, plaintext).await;
            sealed.map_err(|error| problem(&error))?
        };
        Ok(proto::Sealed { key_id, ciphertext })
    }

    /// Opens a part of an order. What cannot be opened is no reason not to show the order.
    pub(crate) async fn open<M: Message + Default>(
        &self,
        shop: &Shop,
        order_id: OrderId,
        part: Part,
        sealed: proto::Sealed,
    ) -> Opened<M> {
        let Some(keys) = &self.keys else { return Opened::Unavailable };
        let proto::Sealed { key_id, ciphertext } = sealed;
        let sealed = Sealed { key_id, ciphertext };
        let error: Box<dyn std::error::Error> =
            match keys.open(shop, &part.context(order_id), &sealed).await {
                Ok(None) => return Opened::Erased,
                Ok(Some(plaintext)) => match M::decode(plaintext.as_slice()) {
                    Ok(message) => return Opened::Readable(message),
                    Err(error) => error.into(),
                },
                Err(error) => error.into(),
            };
        tracing::error!(order.id = %order_id, error = &*error, "what is personal in an order cannot be opened");
        Opened::Unavailable
    }

    /// Seals something that is of no person, with a master key: the key's name and the ciphertext. It
    /// opens for this context alone.
    pub(crate) fn seal_value(
        &self,
        context: &str,
        plaintext: &[u8],
    ) -> Result<(String, Vec<u8>), Problem> {
        Ok(self.keys()?.masters().seal_value(context, plaintext))
    }

    /// A keyed hash of these parts, the first of which says what it is for: the same in all gateways of the
    /// installation, whatever master keys it has, and nobody else can compute it.
    pub(crate) async fn mac(&self, parts: &[&[u8]]) -> Result<[u8; 32], Problem> {
        self.keys()?.fingerprint(parts).await.map_err(|error| problem(&error))
    }

    /// Whether there are keys at all.
    pub(crate) fn has_keys(&self) -> bool {
        self.keys.is_some()
    }

    fn keys(&self) -> Result<&PersonKeys, Problem> {
        self.keys.as_ref().ok_or_else(|| {
            let detail = "this installation takes no personal data, no notes and no webhook \
                endpoints, and makes no API keys: its operator sets person-keys and master-key-file";
            Problem::new(Code::NoPersonKeys, detail)
        })
    }
}

impl Part {
    /// What a ciphertext is bound to, besides shop, person and key.
    fn context(self, order_id: OrderId) -> String {
        let part = match self {
            Self::Personal => "personal",
            Self::Cancellation => "cancellation",
            Self::Release => "release",
        };
        order_context(order_id, part)
    }
}

fn problem(error: &Error) -> Problem {
    match error {
        Error::Database(_) => Problem::unavailable(error),
        Error::UnknownMaster { .. } | Error::Corrupt { .. } | Error::Format { .. } => {
            Problem::internal(error)
        }
    }
}
