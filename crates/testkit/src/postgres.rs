//! One private Postgres cluster for all test processes of a user.
//!
//! Making a cluster takes a second or two, and some test runners start a process for each test.
//! So the first process that needs a cluster makes it in a well-known folder, and those that come
//! while it runs use it. Nobody has to stop it: each process holds a shared lock on the file
//! `users` for as long as it lives, whatever way it ends, and a watchdog (`postgres.sh`), which is
//! also the parent of the Postgres server, stops it when that lock has been free for a while.
//! The lock on the file `lock` makes sure that nobody finds a cluster that is about to go.

use std::{
    fs::{self, File, TryLockError},
    io,
    net::{Ipv4Addr, TcpListener},
    os::unix::{fs::chown, process::CommandExt},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    thread::sleep,
    time::{Duration, Instant},
};

use postgres_server::{Programs, account, find_on_path, user_id};

/// Makes the cluster, starts it, and stops it when nobody uses it any more.
const WATCHDOG: &str = include_str!("postgres.sh");
/// How long a new cluster may take until it answers.
const START_TIMEOUT: Duration = Duration::from_mins(1);
/// The interval between two attempts to connect to it, or to lock its list of users.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// A database of one test; dropped there when it is dropped here.
#[derive(Debug)]
pub(crate) struct Database {
    cluster: &'static Cluster,
    name: String,
}

/// The cluster, as this process uses it.
#[derive(Debug)]
struct Cluster {
    programs: Programs,
    port: u16,
    /// Holds the shared lock that keeps the cluster running.
    _users: File,
}

/// Makes a database; an `Err` says what is not installed.
pub(crate) fn make_database() -> Result<Database, String> {
    static CLUSTER: OnceLock<Result<Cluster, String>> = OnceLock::new();
    static MADE: AtomicU32 = AtomicU32::new(0);
    let cluster = CLUSTER.get_or_init(join).as_ref().map_err(Clone::clone)?;
    let number = MADE.fetch_add(1, Ordering::Relaxed);
    let database = Database { cluster, name: format!("t_{}_{number}", std::process::id()) };
    // A process with the same number may have been killed before it dropped its database.
    cluster.run("dropdb", &["--if-exists", "--force", &database.name]);
    cluster.run("createdb", &[&database.name]);
    Ok(database)
}

impl Database {
    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{}", self.cluster.port, self.name)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // Not worth a second panic when the test has failed: it goes with the cluster anyway.
        let drop = self.cluster.command("dropdb", &["--force", &self.name]).output();
        drop.ok();
    }
}

impl Cluster {
    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        self.programs.client(program, self.port, arguments)
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let output = self.command(program, arguments).output().expect("a program of Postgres runs");
        let problem = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {arguments:?}: {problem}");
    }
}

/// Uses the cluster that runs, or makes one.
fn join() -> Result<Cluster, String> {
    let programs = Programs::find().map_err(|missing| missing.to_string())?;
    if find_on_path("flock").is_none() {
        return Err("flock (of util-linux) is not installed".to_owned());
    }
    let user = user_id().expect("a temporary file can be made");
    let home = std::env::temp_dir().join(format!("tradewind-test-postgres-{user}"));
    fs::create_dir_all(&home).expect("the folder of the cluster can be made");
    // Free again when it is closed, at the end of this function.
    let lock = File::create(home.join("lock")).expect("the lock can be made");
    lock.lock().expect("the lock can be taken");
    let users = File::create(home.join("users")).expect("the list of users can be made");
    share(&users);
    let folder = home.join("cluster");
    let noted = fs::read_to_string(folder.join("port")).ok().and_then(|port| port.parse().ok());
    let port = match noted.filter(|port| programs.answers(*port)) {
        Some(port) => port,
        None => start(&programs, &home, &folder),
    };
    Ok(Cluster { programs, port, _users: users })
}

/// Takes the shared lock. The watchdog tries the exclusive one now and then, for a moment.
fn share(users: &File) {
    loop {
        match users.try_lock_shared() {
            Ok(()) => return,
            Err(TryLockError::WouldBlock) => sleep(POLL_INTERVAL),
            Err(TryLockError::Error(error)) => {
                panic!("the list of users cannot be locked: {error}")
            }
        }
    }
}

/// Starts a cluster; what is left of an earlier one goes.
fn start(programs: &Programs, home: &Path, folder: &Path) -> u16 {
    fs::remove_dir_all(folder).ok();
    fs::create_dir(folder).expect("the folder of the cluster can be made");
    let port = free_port();
    let log = folder.join("log");
    #[expect(
        clippy::zombie_processes,
        reason = "it outlives this process, for those who come next"
    )]
    let mut watchdog = spawn_watchdog(programs, home, folder, port).expect("sh runs");
    let deadline = Instant::now() + START_TIMEOUT;
    while !programs.answers(port) {
        let ended = watchdog.try_wait().expect("the watchdog can be waited for");
        let said = || fs::read_to_string(&log).unwrap_or_default();
        assert!(ended.is_none(), "the Postgres cluster did not start: {}", said());
        assert!(Instant::now() < deadline, "the Postgres cluster does not answer: {}", said());
        sleep(POLL_INTERVAL);
    }
    fs::write(folder.join("port"), port.to_string()).expect("the port can be noted");
    port
}

fn spawn_watchdog(programs: &Programs, home: &Path, folder: &Path, port: u16) -> io::Result<Child> {
    let log = File::create(folder.join("log"))?;
    let mut command = Command::new("sh");
    command.arg("-c").arg(WATCHDOG).arg("postgres.sh");
    command.args([programs.folder(), home, folder]).arg(port.to_string());
    command.current_dir(folder).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    // Not in the group of this process, which may be killed as a whole while others use it.
    command.process_group(0);
    if let Some((user, group)) = account().expect("there is a user who may run Postgres") {
        chown(folder, Some(user), Some(group))?;
        command.uid(user).gid(group);
    }
    command.spawn()
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    listener.local_addr().expect("it has an address").port()
}
