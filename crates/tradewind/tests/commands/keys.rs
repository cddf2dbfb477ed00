//! API keys, by the command line.

use std::{fs, os::unix::fs::PermissionsExt as _};

use client::Client;
use reqwest::Method;

use crate::rig::{Installation, SHOP};

/// The status of a request of that key.
async fn status(installation: &Installation, key: &str) -> u16 {
    let url = format!("http://{}", installation.listen);
    let api = Client::new(&url, key, SHOP).expect("a client").without_retries();
    let answer = api.send(api.request(Method::GET, "products")).await.expect("it is answered");
    answer.status.as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_added_rotated_and_revoked_and_shown_once() {
    let installation = Installation::new().await;
    let serving = installation.serve(&["serve"]).await;
    installation.create_shop().await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("reports.key");
    let name = file.display().to_string();
    let add = ["keys", "add", "reports", "--shops", SHOP, "--scopes", "read"];
    let added = installation.run(&[&add[..], &["--secret-file", &name]].concat()).await;
    assert_eq!(added.code, Some(0), "{}", added.err);
    assert!(!added.out.contains("tw_"), "{}", added.out);
    let mode = fs::metadata(&file).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let key = fs::read_to_string(&file).expect("it reads");
    let key = key.trim();
    assert_eq!(status(&installation, key).await, 200);
    let id = key.split('_').nth(1).expect("it has an id").to_owned();
    // No file is overwritten, and no key made for nothing.
    let again = installation.run(&[&add[..], &["--secret-file", &name]].concat()).await;
    assert_eq!(again.code, Some(1), "{}", again.out);

    let rotated = installation.run(&["keys", "rotate", &id, "--keep-old", "0s"]).await;
    assert_eq!(rotated.code, Some(0), "{}", rotated.err);
    let second = rotated.out.lines().find(|line| line.starts_with("tw_")).expect("it is shown");
    assert_eq!((status(&installation, key).await, status(&installation, second).await), (401, 200));

    let listed = installation.run(&["keys", "list"]).await;
    assert!(listed.out.contains(&id) && listed.out.contains("1 keys"), "{}", listed.out);
    let shown = installation.run(&["keys", "show", &id]).await;
    assert!(shown.out.contains("\"status\": \"active\""), "{}", shown.out);
    let revoked = installation.run(&["keys", "revoke", &id, "--reason", "it got out"]).await;
    assert_eq!(revoked.code, Some(0), "{}", revoked.err);
    assert_eq!(status(&installation, second).await, 401);
    let history = installation.run(&["keys", "history", &id]).await;
    let said: Vec<_> = ["key_revoked by api_key default: it got out", "key_rotated", "key_added"]
        .into_iter()
        .filter(|part| history.out.contains(part))
        .collect();
    assert_eq!(said.len(), 3, "{}", history.out);
    for output in [listed, shown, revoked, history] {
        assert!(!output.out.contains(second) && !output.err.contains(second));
    }
    serving.stop().await;
}
