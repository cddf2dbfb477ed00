//! What has begun goes on when more new commands come than can be handled.

use futures::StreamExt;
use protocol::subject::Lane;
use testkit::{Db, eventually};

use crate::{
    contract::INTAKE,
    gate::Gate,
    ledger::Ledger,
    rig::{Rig, Running, counted, deposit, deposits, store},
};

testkit::on_both_databases!(steps_of_sagas_have_their_share_of_every_batch);

async fn steps_of_sagas_have_their_share_of_every_batch(db: Db) {
    const COMMANDS: usize = 1_900;
    const STEPS: usize = 300;
    /// Two batches may be full of commands before the steps are read: while the first of them is
    /// appended, the second is decided. Of the next one they take at most their share.
    const MAX_COMMANDS_BEFORE: usize = 2 * 500 + 200;
    let rig = Rig::start(db).await;
    let gate = Gate::default();
    let engine = rig.engine_with(gate.faults()).await;
    let client = engine.client();
    let commands = (0..COMMANDS).map(|number| deposit("new", number as i64));
    let stored = commands.map(|command| store(&client, Lane::Live, command));
    futures::stream::iter(stored).buffered(400).collect::<Vec<_>>().await;
    let steps = (0..STEPS).map(|number| ("acme", "begun", counted(number as i64, 1)));
    rig.write_events(steps).await;

    let entering = gate.close();
    let running = Running::start(&engine, &Ledger::default());
    entering.await.expect("something is about to be appended");
    rig.await_read("INBOX-0").await;
    rig.await_read(&format!("{}-0", INTAKE.to_uppercase())).await;
    gate.open();
    eventually("all is handled", async || {
        let log = rig.log().await;
        deposits(&log, "new").len() == COMMANDS && deposits(&log, "begun").len() == STEPS
    })
    .await;
    let log = rig.check(&engine).await;
    let is_of = |aggregate: &str, index: usize| log[index].event.aggregate_id == aggregate;
    let last = (0..log.len()).rposition(|index| is_of("begun", index)).expect("it is there");
    let before = (0..last).filter(|index| is_of("new", *index)).count();
    assert!(before <= MAX_COMMANDS_BEFORE, "{before} of {COMMANDS} commands came before");
    running.stop().await;
}
