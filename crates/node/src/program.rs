//! What the engine cannot know of Tradewind by itself: its name, its streams, its commands.

use engine::{Program, Remedy};

/// Tradewind, for the engine.
pub static PROGRAM: Program =
    Program { name: "tradewind", streams: include_str!("../../../nats/streams.toml"), remedy };

/// Why something failed, with all causes, and what an operator does about it, on one line.
pub fn explain(error: &anyhow::Error) -> String {
    let of_engine = error.chain().find_map(|cause| cause.downcast_ref::<engine::Error>());
    match of_engine.and_then(engine::Error::remedy) {
        Some(it) => format!("{error:#}; {}", remedy(&it)),
        None => format!("{error:#}"),
    }
}

fn remedy(remedy: &Remedy) -> String {
    match remedy {
        Remedy::NameUser => {
            "name the key of a user with --nats-key-file, as `tradewind init` makes them".to_owned()
        }
        Remedy::ChangeStreams => "`tradewind streams diff` shows it, `tradewind streams apply` \
                                  changes the stream"
            .to_owned(),
        Remedy::CreateStreams => "start a service, or run `tradewind streams apply`".to_owned(),
        Remedy::ResetPosition { service } => format!(
            "restore the right copy, or continue with the stream as it is with `tradewind positions \
             reset {service} PARTITION SOURCE`"
        ),
        Remedy::RebuildReplica { service } => format!(
            "restore the right copy, or read the replica anew with `tradewind rebuild {service}`"
        ),
        Remedy::Rebuild { service } => {
            format!("restore it, or take the log as it is with `tradewind rebuild {service}`")
        }
        Remedy::ReplaceDatabase => {
            "move that file, and those beside it that end in -wal and -shm, to \
                                    another folder: the service makes a new one and folds its log \
                                    into it"
                .to_owned()
        }
        Remedy::VoidMessage { service, partition, sequence } => format!(
            "void it with `tradewind log void {service} {partition} {sequence}` if it is no event of \
             the service"
        ),
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context;
    use engine::Error;

    use super::*;

    #[track_caller]
    fn check(error: Error, command: &str) {
        let explained = explain(&Err::<(), _>(error).context("start").expect_err("it failed"));
        let (what, remedy) = explained.rsplit_once("; ").expect("something can be done");
        assert!(what.starts_with("start: "), "{what}");
        assert!(remedy.contains(command), "{remedy}");
    }

    #[test]
    fn an_error_of_the_engine_is_followed_by_the_command_to_run() {
        let stream = || "ORDER-0".to_owned();
        let service = "order";
        check(
            Error::Drift { stream: stream(), differences: "max_age: is 1s".to_owned() },
            "`tradewind streams diff` shows it, `tradewind streams apply`",
        );
        check(Error::NoStream { stream: stream() }, "`tradewind streams apply`");
        let reset = "`tradewind positions reset order PARTITION SOURCE`";
        let (position, last) = (5, 3);
        for (is_replica, command) in [(false, reset), (true, "`tradewind rebuild order`")] {
            check(
                Error::PositionBeyondEnd { service, stream: stream(), position, last, is_replica },
                command,
            );
            check(
                Error::StreamReplaced { service, stream: stream(), position, is_replica },
                command,
            );
        }
        check(
            Error::LogLost { service, stream: stream(), last, position },
            "`tradewind rebuild order`",
        );
        let (partition, sequence) = (2, 7);
        let aggregate = "order".to_owned();
        let (version, next) = (1, 3);
        let stream = stream();
        check(
            Error::Version { service, partition, stream, sequence, aggregate, version, next },
            "`tradewind log void order 2 7`",
        );
    }

    #[test]
    fn what_no_command_mends_is_shown_alone() {
        let error = anyhow::anyhow!(Error::ServerTooOld { version: "2.9.10".to_owned() });
        assert_eq!(
            explain(&error.context("start")),
            "start: nats-server 2.9.10 is too old: 2.12 or newer is needed"
        );
    }
}
