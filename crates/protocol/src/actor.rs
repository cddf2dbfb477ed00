//! Who asks for something, as events and commands name them.

use crate::proto::Actor;

/// The id of the operator who runs commands: whoever may is one.
pub const COMMAND_LINE: &str = "command_line";

/// What an actor is. The list is that of `Actor.kind` in `engine/v1/envelope.proto`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ActorKind {
    /// An API key, by its id.
    ApiKey,
    /// The subject of a token.
    Subject,
    /// An ERP connector that sends its lines to nats-server, by its name.
    Connector,
    /// A customer, by the id that orders name. Nothing is written with it before customers have accounts.
    Customer,
    /// Who runs the command line.
    Operator,
    /// A service that acts by itself, by its name.
    Service,
}

impl ActorKind {
    /// Every kind.
    pub const ALL: [Self; 6] = [
        Self::ApiKey,
        Self::Subject,
        Self::Connector,
        Self::Customer,
        Self::Operator,
        Self::Service,
    ];

    /// The kind as it is in messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ApiKey => "api_key",
            Self::Subject => "subject",
            Self::Connector => "connector",
            Self::Customer => "customer",
            Self::Operator => "operator",
            Self::Service => "service",
        }
    }

    /// The actor of this kind with that id.
    pub fn actor(self, id: impl Into<String>) -> Actor {
        Actor { kind: self.as_str().to_owned(), id: id.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_contract_lists_every_kind() {
        let envelope = include_str!("../../../proto/tradewind/engine/v1/envelope.proto");
        let (_, actor) = envelope.split_once("message Actor {").expect("it has the message");
        let (listed, _) = actor.split_once("string kind").expect("it has the field");
        let listed: Vec<_> = listed.split('`').skip(1).step_by(2).collect();
        assert_eq!(listed, ActorKind::ALL.map(ActorKind::as_str));
    }
}
