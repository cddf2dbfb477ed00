//! A command as it is handed to the engine's client.

use prost::Message;

use crate::proto::CommandEnvelope;

/// A command to a service. The engine knows where it goes; what is to be done is the service's own.
#[derive(Debug, Clone, PartialEq)]
pub struct OutgoingCommand {
    /// The service that it is for.
    pub service: &'static str,
    /// Its name: the last token of its subject.
    pub name: &'static str,
    /// The aggregate that it concerns: when something of that is parked, the command is parked behind
    /// it. A command that concerns several has its own id here.
    pub aggregate: String,
    /// What every command has.
    pub envelope: CommandEnvelope,
    /// What is to be done, encoded: the fields of the whole message that are not the envelope's.
    pub body: Vec<u8>,
}

impl OutgoingCommand {
    /// The message as it is in the inbox: protobuf merges what is concatenated.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.envelope.encode_to_vec();
        bytes.extend_from_slice(&self.body);
        bytes
    }
}
