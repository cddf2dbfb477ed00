//! One process at a time runs a partition; processes share the partitions, and take over.

use std::{fs, path::PathBuf, sync::atomic::Ordering};

use engine::{Config, Engine, Location};
use protocol::{id::Shop, subject};
use sqlx::Executor;
use tempfile::TempDir;
use testkit::{Db, eventually};

use crate::{
    contract::{ACCOUNT, Command},
    ledger::Ledger,
    rig::{Rig, Running, connect, deposit, deposits, send},
};

/// The partitions of the tests in which processes share them.
const PARTITIONS: u32 = 4;

testkit::on_both_databases!(
    another_process_takes_over_when_the_first_is_stopped,
    another_process_takes_over_when_the_first_is_killed,
    a_rebuild_is_done_by_who_runs_the_service,
);

async fn another_process_takes_over_when_the_first_is_stopped(db: Db) {
    takes_over(db, async |first| first.stop().await).await;
}

async fn another_process_takes_over_when_the_first_is_killed(db: Db) {
    takes_over(db, async |first| first.kill().await).await;
}

async fn takes_over(db: Db, end: impl AsyncFnOnce(Running)) {
    let rig = Rig::start(db).await;
    let (here, elsewhere) = (rig.engine().await, rig.engine_elsewhere().await);
    let (first, second) = (Ledger::default(), Ledger::default());
    let running = Running::start_claimed(&here, &first);
    send(&here.client(), deposit("A", 1)).await;
    let waiting = Running::start_claimed(&elsewhere, &second);
    send(&here.client(), deposit("A", 2)).await;
    assert_eq!(decided(&first, &second), (true, false));

    end(running).await;
    send(&here.client(), deposit("A", 3)).await;
    assert_eq!(decided(&first, &second), (true, true));
    rig.check(&here).await;
    assert_eq!(deposits(&rig.check(&elsewhere).await, "A"), [1, 2, 3]);
    waiting.stop().await;
}

/// Which of the two has decided anything.
fn decided(first: &Ledger, second: &Ledger) -> (bool, bool) {
    let has = |ledger: &Ledger| ledger.decided.load(Ordering::SeqCst) > 0;
    (has(first), has(second))
}

async fn a_rebuild_is_done_by_who_runs_the_service(db: Db) {
    let rig = Rig::start(db).await;
    let engine = rig.engine().await;
    let running = Running::start_claimed(&engine, &Ledger::default());
    send(&engine.client(), deposit("A", 1)).await;
    let mut connection = rig.db.connect(ACCOUNT).await;
    let tamper = "update account set document = '{}' where key = 'A'";
    connection.execute(tamper).await.expect("it can be tampered with");
    rig.engine_elsewhere().await.rebuild::<Ledger>().await.expect("it is rebuilt where it runs");
    rig.check(&engine).await;
    send(&engine.client(), deposit("A", 2)).await;
    running.stop().await;
    assert_eq!(deposits(&rig.check(&engine).await, "A"), [1, 2]);
}

/// Several processes, each with projections of its own.
struct Processes {
    rig: Rig,
    folder: TempDir,
}

impl Processes {
    async fn start() -> Self {
        let rig = Rig::start(Db::sqlite()).await;
        Self { rig, folder: TempDir::new().expect("a temporary folder can be made") }
    }

    /// A process of that name. When the one before of that name is gone, it has its identity.
    async fn engine(&self, name: &str) -> Engine {
        connect(Config {
            database: Location::Folder(self.folder.path().join(name)),
            instance: name.to_owned(),
            identity_file: Some(self.identity_file(name)),
            partitions: PARTITIONS,
            ..self.rig.config()
        })
        .await
    }

    fn identity_file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name).join("node-id")
    }

    /// The identity of the process of that name, as soon as it has one.
    fn identity(&self, name: &str) -> Option<String> {
        let id = fs::read_to_string(self.identity_file(name)).ok()?;
        Some(id.trim().to_owned()).filter(|id| !id.is_empty())
    }

    /// The identity of who has claimed each partition.
    async fn claims(&self) -> Vec<String> {
        let context = self.rig.server.jetstream().await;
        let mut claims = Vec::new();
        for partition in 0..PARTITIONS {
            let subject = format!("lease.account.{partition}");
            let claim = match context.get_stream_no_info("LEASES").await {
                Ok(stream) => stream.get_last_raw_message_by_subject(&subject).await.ok(),
                Err(_) => None,
            };
            let payload = claim.map(|claim| claim.payload).unwrap_or_default();
            claims.push(String::from_utf8_lossy(&payload).into_owned());
        }
        claims
    }

    /// Waits until the processes run so many partitions each.
    async fn share(&self, wanted: &[(&str, usize)]) {
        eventually(&format!("the shares are {wanted:?}"), async || {
            let claims = self.claims().await;
            wanted.iter().all(|(name, count)| {
                self.identity(name)
                    .is_some_and(|id| claims.iter().filter(|claim| **claim == id).count() == *count)
            })
        })
        .await;
    }

    /// Sends a command to each partition, all of which are answered.
    async fn use_all(&self, engine: &Engine) {
        for partition in 0..PARTITIONS {
            let shop = shop_of(partition);
            let command = Command { shop: shop.to_string(), ..deposit("A", 1) };
            send(&engine.client(), command).await;
        }
    }
}

/// A shop of that partition.
fn shop_of(partition: u32) -> Shop {
    let mut shops = (0..).filter_map(|number| Shop::parse(&format!("shop-{number}")).ok());
    shops.find(|shop| subject::partition(shop, PARTITIONS) == partition).expect("there is one")
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_share_the_partitions_evenly() {
    let processes = Processes::start().await;
    let a = processes.engine("a").await;
    let running = Running::start_claimed(&a, &Ledger::default());
    processes.share(&[("a", 4)]).await;
    processes.use_all(&a).await;

    let b = processes.engine("b").await;
    let also_running = Running::start_claimed(&b, &Ledger::default());
    processes.share(&[("a", 2), ("b", 2)]).await;
    processes.use_all(&a).await;

    running.stop().await;
    processes.share(&[("a", 0), ("b", 4)]).await;
    processes.use_all(&a).await;
    also_running.stop().await;
    let verified = b.verify::<Ledger>().await.expect("it can be verified");
    assert_eq!((verified.events, verified.mismatches), (3 * u64::from(PARTITIONS), vec![]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_partitions_of_a_killed_process_go_to_the_others() {
    let processes = Processes::start().await;
    let (a, b) = (processes.engine("a").await, processes.engine("b").await);
    let killed = Running::start_claimed(&a, &Ledger::default());
    let running = Running::start_claimed(&b, &Ledger::default());
    processes.share(&[("a", 2), ("b", 2)]).await;
    killed.kill().await;
    drop(a);
    processes.share(&[("a", 0), ("b", 4)]).await;
    processes.use_all(&b).await;

    let a = processes.engine("a").await;
    let running_again = Running::start_claimed(&a, &Ledger::default());
    processes.share(&[("a", 2), ("b", 2)]).await;
    processes.use_all(&b).await;
    running_again.stop().await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_that_starts_again_has_its_identity_and_its_partitions() {
    let processes = Processes::start().await;
    let a = processes.engine("a").await;
    let killed = Running::start_claimed(&a, &Ledger::default());
    processes.share(&[("a", 4)]).await;
    let id = processes.identity("a").expect("it has claimed");
    killed.kill().await;
    drop(a);
    assert_eq!(processes.claims().await, vec![id.clone(); 4], "nothing was released");

    let a = processes.engine("a").await;
    let running = Running::start_claimed(&a, &Ledger::default());
    processes.use_all(&a).await;
    assert_eq!(processes.identity("a").as_ref(), Some(&id));
    assert_eq!(processes.claims().await, vec![id; 4]);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_processes_with_a_copied_identity_one_takes_another() {
    let processes = Processes::start().await;
    let (original, copy) = (processes.identity_file("a"), processes.identity_file("b"));
    for file in [&original, &copy] {
        fs::create_dir_all(file.parent().expect("it is in a folder")).expect("it is made");
        fs::write(file, "01a1f9923765774a38aecc5cd0d2e445\n").expect("it is written");
    }
    let (a, b) = (processes.engine("a").await, processes.engine("b").await);
    let running = [&a, &b].map(|engine| Running::start_claimed(engine, &Ledger::default()));
    eventually("one has another identity", async || {
        processes.identity("a") != processes.identity("b")
    })
    .await;
    processes.share(&[("a", 2), ("b", 2)]).await;
    processes.use_all(&a).await;
    for ledger in running {
        ledger.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_that_the_server_lost_are_written_again() {
    let mut processes = Processes::start().await;
    let (a, b) = (processes.engine("a").await, processes.engine("b").await);
    let running = [&a, &b].map(|engine| Running::start_claimed(engine, &Ledger::default()));
    processes.share(&[("a", 2), ("b", 2)]).await;
    let claims = processes.claims().await;

    processes.rig.server.kill().await;
    processes.rig.server.start_again().await;
    eventually("the same have claimed the same", async || processes.claims().await == claims).await;
    processes.use_all(&a).await;
    for running in running {
        running.stop().await;
    }
}
