//! The program that the engine is a part of: what the engine cannot know of it by itself.

use crate::{Error, error::describe};

/// What the engine must know of the program that it is a part of. One constant of the program.
#[derive(Debug, Clone, Copy)]
pub struct Program {
    /// Its name, by which nats-server shows its connections.
    pub name: &'static str,
    /// The definitions of its streams, as TOML.
    pub streams: &'static str,
    /// What its operator does about an error, as a clause that names the command to run. It follows
    /// the error wherever the engine shows one: in the log, in readiness, in answers.
    pub remedy: fn(&Remedy) -> String,
}

/// What an operator does about an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// Lets the process prove who it is, as a user that nats-server lets in.
    NameUser,
    /// Looks at how streams differ from their definitions, and changes them.
    ChangeStreams,
    /// Creates the streams, by hand or by starting a service.
    CreateStreams,
    /// Restores the right copy of a stream, or lets the service read the one that is there anew.
    ResetPosition {
        /// The service that reads it.
        service: &'static str,
    },
    /// Reads a replica anew, from the beginning, with a rebuild.
    RebuildReplica {
        /// The service that holds it.
        service: &'static str,
    },
    /// Restores the log, or takes it as it is.
    Rebuild {
        /// The service.
        service: &'static str,
    },
    /// Takes the damaged file of a database away: the log is folded into a new one.
    ReplaceDatabase,
    /// Lets the partition pass over a message that is no event of the service.
    VoidMessage {
        /// The service.
        service: &'static str,
        /// The partition.
        partition: u32,
        /// The sequence of the message in the log.
        sequence: u64,
    },
}

impl Program {
    /// An error with all its causes, and what an operator does about it, on one line.
    pub(crate) fn describe(&self, error: &Error) -> String {
        let described = describe(error);
        match error.remedy() {
            Some(remedy) => format!("{described}; {}", (self.remedy)(&remedy)),
            None => described,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::WireError;

    const PROGRAM: Program =
        Program { name: "test", streams: "", remedy: |remedy| format!("{remedy:?}") };

    #[track_caller]
    fn check(error: &Error, described: &str) {
        assert_eq!(PROGRAM.describe(error), described);
    }

    #[test]
    fn a_remedy_follows_the_causes_of_an_error() {
        check(
            &Error::Unreadable {
                service: "account",
                partition: 3,
                stream: "ACCOUNT-3".to_owned(),
                sequence: 7,
                source: WireError::Missing("id"),
            },
            "ACCOUNT-3 holds a message at 7 that this version cannot read; a newer version may: id is \
             missing; VoidMessage { service: \"account\", partition: 3, sequence: 7 }",
        );
        let no_stream = Error::NoStream { stream: "INBOX-0".to_owned() };
        check(&no_stream, "cannot find INBOX-0: there is none; CreateStreams");
    }

    #[test]
    fn what_has_no_remedy_stands_alone() {
        let error = Error::jetstream("append to", "ACCOUNT-0", "no answer");
        check(&error, "cannot append to ACCOUNT-0: no answer");
    }
}
