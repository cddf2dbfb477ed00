//! Commands about rejections: tries them again, or drops them.

use std::time::Duration;

use events::{
    http::RejectionResultView,
    id::Connector,
    proto::{
        command::Body,
        inventory::{
            DropRejections, DropRejectionsAnswer, RedriveRejections, RedriveRejectionsAnswer,
            StockResult,
        },
    },
};
use protocol::subject::Lane;

use super::RejectionId;
use crate::{
    accepted::Accepted,
    extract::RequestContext,
    inventory::outcome,
    problem::Problem,
    services::{Answer, Reply},
    state::AppState,
};

/// What is done with rejections.
pub(super) enum Act {
    Redrive,
    /// With the reason.
    Drop(String),
}

pub(super) const NOT_FOUND: &str = "not_found";
pub(super) const PENDING: &str = "pending";
/// Of which it is not known whether the command is stored.
pub(super) const UNANSWERED: &str = "unanswered";
/// What is said of a rejection that is pending.
pub(super) const NOT_ANSWERED: &str =
    "stored, and not answered in time: command_url tells what becomes of it";

/// What a command about rejections came to.
pub(super) enum Handled {
    /// What became of each, and whether an earlier request under the same key did it.
    Results { results: Vec<RejectionResultView>, replayed: bool },
    /// It is stored, and was not answered in time.
    Pending(Accepted),
}

pub(super) fn shown(id: &RejectionId, result: &str, detail: Option<&str>) -> RejectionResultView {
    let detail = detail.map(str::to_owned);
    RejectionResultView { id: id.to_string(), result: result.to_owned(), detail, command_url: None }
}

/// Sends a command about rejections of one connector, and reads what became of each. Its answer is waited for, for
/// `timeout` at most.
pub(super) async fn handle(
    state: &AppState,
    context: &RequestContext,
    (part, timeout): (Option<usize>, Duration),
    (connector, numbers): (&Connector, &[u64]),
    act: &Act,
) -> Result<Handled, Problem> {
    let sent = numbers.to_vec();
    let connector_name = connector.to_string();
    let shown = |number: &u64, result: &str, detail: Option<&str>| {
        let id = RejectionId { connector: connector.clone(), number: *number };
        shown(&id, result, detail)
    };
    let (results, replayed) = match act {
        Act::Redrive => {
            let body = RedriveRejections { connector: connector_name, numbers: sent };
            let command = context.command(part, Body::RedriveRejections(body));
            let reply = state.services.send(context, Lane::Live, command, timeout).await?;
            let answer: Answer<RedriveRejectionsAnswer> = match reply {
                Reply::Answered(answer) => answer,
                Reply::Pending(accepted) => return Ok(Handled::Pending(accepted)),
            };
            let of_each = numbers.iter().zip(answer.body.results());
            let result = |(number, result)| match result {
                StockResult::Unspecified => Ok(shown(number, NOT_FOUND, None)),
                result => outcome(result)
                    .map(|outcome| shown(number, outcome.result, outcome.detail))
                    .map_err(Problem::from),
            };
            (of_each.map(result).collect::<Result<_, Problem>>()?, answer.replayed)
        }
        Act::Drop(reason) => {
            let (connector, reason) = (connector_name, reason.clone());
            let body = DropRejections { connector, numbers: sent, reason };
            let command = context.command(part, Body::DropRejections(body));
            let reply = state.services.send(context, Lane::Live, command, timeout).await?;
            let answer: Answer<DropRejectionsAnswer> = match reply {
                Reply::Answered(answer) => answer,
                Reply::Pending(accepted) => return Ok(Handled::Pending(accepted)),
            };
            let is_dropped = |number: &u64| answer.body.dropped.contains(number);
            let result = |number| {
                shown(number, if is_dropped(number) { "dropped" } else { NOT_FOUND }, None)
            };
            (numbers.iter().map(result).collect(), answer.replayed)
        }
    };
    Ok(Handled::Results { results, replayed })
}
