//! Reports to the shop service when the keys of the installation were last used: many in one command.

use std::{sync::Arc, time::Duration};

use events::proto::{
    self, command,
    shop::{KeyUse, NoteKeyUse},
};
use prost::Message;
use protocol::{
    actor::ActorKind,
    command::OutgoingCommand,
    id::{Shop, fingerprint},
    subject::Lane,
    time::Timestamp,
};
use tokio::time::sleep;

use crate::{problem::Problem, state::AppState, trace::new_id};

/// How long further uses are gathered before they are reported.
const GATHER_INTERVAL: Duration = Duration::from_secs(1);
/// How long the answer is waited for.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Reports uses to the shop service, until the gateway stops.
pub(crate) async fn report(state: Arc<AppState>) {
    let uses = &state.managed_keys.uses;
    let next = async || {
        uses.wait().await;
        sleep(GATHER_INTERVAL).await;
    };
    while state.shutdown.run_until_cancelled(next()).await.is_some() {
        loop {
            let taken = uses.take();
            if taken.is_empty() {
                break;
            }
            if let Err(problem) = send(&state, &taken).await {
                tracing::warn!(?problem, "the last use of API keys could not be noted");
                uses.give_back(&taken);
                break;
            }
        }
    }
}

async fn send(state: &AppState, uses: &[(String, Timestamp)]) -> Result<(), Problem> {
    let uses =
        uses.iter().map(|(id, at)| KeyUse { key_id: id.clone(), used_at: Some((*at).into()) });
    let note = command::Body::NoteKeyUse(NoteKeyUse { uses: uses.collect() });
    let content = proto::Command { body: Some(note), ..Default::default() };
    let command = proto::Command {
        id: new_id().to_string(),
        shop: Shop::installation().to_string(),
        time: Some(state.clock.now().into()),
        fingerprint: fingerprint(&content.encode_to_vec()),
        actor: Some(ActorKind::Service.actor("gateway")),
        ..content
    };
    let command = OutgoingCommand::try_from(command).map_err(|error| Problem::internal(&error))?;
    let sent = state.services.client().send(Lane::Live, command, ANSWER_TIMEOUT).await;
    sent.map(|_| ()).map_err(|error| Problem::unavailable(&error))
}
