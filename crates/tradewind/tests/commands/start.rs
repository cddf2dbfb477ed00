//! What the pages of the documentation start an installation with, as it stands there.

use std::{
    env, fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
};

use tempfile::TempDir;
use testkit::{eventually, nats_server};

use crate::{
    page,
    rig::{free_address, get, http},
};

/// The key of the pages.
const KEY: &str = "change-me-please";
/// Ends with its standard input, and ends what it has started then.
const SHELL: &str = "trap 'kill $(jobs -p); wait' EXIT; source ./block < /dev/null; read";

#[tokio::test(flavor = "multi_thread")]
async fn the_page_for_integrators_starts_an_installation() {
    starts("integrators.md").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_for_erps_starts_an_installation() {
    starts("erp.md").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_on_http_starts_an_installation() {
    starts("http.md").await;
}

/// Runs the commands in an empty folder. They are as on the page, but that the ports are free ones.
async fn starts(page: &str) {
    let folder = TempDir::new().expect("a temporary folder");
    let (nats, monitor, gateway) = (free_address(), free_address(), free_address());
    let programs = folder.path().join("programs");
    fs::create_dir(&programs).expect("the folder can be made");
    let server = format!(
        "#!/bin/bash\nexec '{}' --port {} --http_port {} \"$@\"\n",
        nats_server().display(),
        nats.port(),
        monitor.port()
    );
    fs::write(programs.join("nats-server"), server).expect("it is written");
    let executable = fs::Permissions::from_mode(0o755);
    fs::set_permissions(programs.join("nats-server"), executable).expect("it is ours");
    fs::write(folder.path().join("block"), page::start(page).commands).expect("it is written");
    let ours = Path::new(env!("CARGO_BIN_EXE_tradewind")).parent().expect("it is in a folder");
    let path = env::var("PATH").expect("there is a path");
    let mut shell = Command::new("bash");
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("TRADEWIND_") {
            shell.env_remove(name);
        }
    }
    let mut child = shell
        .args(["-c", SHELL])
        .current_dir(folder.path())
        .env("PATH", format!("{}:{}:{path}", programs.display(), ours.display()))
        .env("TRADEWIND_NATS_URL", format!("nats://{nats}"))
        .env("TRADEWIND_LISTEN", gateway.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("bash starts");
    eventually("the gateway is ready", async || {
        let answer = get(&format!("http://{gateway}/readyz")).await;
        answer.is_ok_and(|answer| answer.status().is_success())
    })
    .await;
    let url = format!("http://{gateway}/v1/shops/acme");
    let put = http().put(url).bearer_auth(KEY).body("{}");
    let created = put.header("content-type", "application/json").send().await;
    assert_eq!(created.expect("it is answered").status(), 201);
    drop(child.stdin.take());
    tokio::task::spawn_blocking(move || child.wait()).await.expect("it ends").expect("it ran");
}
