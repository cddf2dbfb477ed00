//! `--nats-creds-file`: a nats-server whose users come with tokens, signed by an account of an operator.

use std::fs;

use data_encoding::BASE64URL_NOPAD;
use engine::server::Users;
use nkeys::KeyPair;
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::{Db, TestServer, eventually};

use crate::rig::{self, bare, free_address, output};

/// A token: what somebody says of somebody, signed with his key.
fn token(issuer: &KeyPair, subject: &KeyPair, name: &str, nats: &Value) -> String {
    let encode = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    let header = encode(&json!({"typ": "JWT", "alg": "ed25519-nkey"}));
    let claims = encode(&json!({
        "jti": name,
        "iat": 1_764_000_000,
        "iss": issuer.public_key(),
        "sub": subject.public_key(),
        "name": name,
        "nats": nats,
    }));
    let signed = format!("{header}.{claims}");
    let signature = issuer.sign(signed.as_bytes()).expect("it has a private key");
    format!("{signed}.{}", BASE64URL_NOPAD.encode(&signature))
}

/// What an account may use: everything, and JetStream where it has a store.
fn account(has_store: bool) -> Value {
    let names = ["subs", "data", "payload", "imports", "exports", "conn", "leaf"];
    let of_store = ["mem_storage", "disk_storage", "streams", "consumer"];
    let mut limits = json!({"wildcards": true});
    for name in names.iter().chain(of_store.iter().filter(|_| has_store)) {
        limits[*name] = json!(-1);
    }
    json!({"type": "account", "version": 2, "limits": limits, "default_permissions": {"pub": {}, "sub": {}}})
}

/// A file of credentials: the token of a user of an account, and its key.
fn credentials(account: &KeyPair, publish: &Value) -> String {
    let user = KeyPair::new_user();
    let nats = json!({"type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1,
        "pub": publish, "sub": {}});
    let seed = user.seed().expect("it has a private key");
    let token = token(account, &user, "user", &nats);
    format!(
        "-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n\
         -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_with_credentials_is_let_in_and_serves() {
    let (operator, system, ours) =
        (KeyPair::new_operator(), KeyPair::new_account(), KeyPair::new_account());
    let of_operator =
        token(&operator, &operator, "operator", &json!({"type": "operator", "version": 2}));
    let preload = |key: &KeyPair, name: &str, has_store| {
        let token = token(&operator, key, name, &account(has_store));
        format!("  {}: {token}\n", key.public_key())
    };
    let configuration = format!(
        "operator: {of_operator}\nsystem_account: {}\nresolver: MEMORY\nresolver_preload: {{\n{}{}}}\n",
        system.public_key(),
        preload(&system, "system", false),
        preload(&ours, "tradewind", true),
    );
    let users = Users { configuration, default: String::new(), passwords: Vec::new() };
    let server = TestServer::start_with_users(users).await;
    let folder = TempDir::new().expect("a temporary folder");
    let file = |name: &str, text: &str| {
        fs::write(folder.path().join(name), text).expect("it is written");
        folder.path().join(name).display().to_string()
    };
    let good = file("good.creds", &credentials(&ours, &json!({})));
    let url = server.url();
    let run =
        async |arguments: &[&str]| output(bare(&[arguments, &["--nats-url", &url]].concat())).await;
    let applied = run(&["streams", "apply", "--nats-creds-file", &good]).await;
    assert_eq!(applied.code, Some(0), "{applied:?}");

    for (name, text) in [
        ("stranger.creds", credentials(&KeyPair::new_account(), &json!({}))),
        ("no.creds", "nothing".to_owned()),
    ] {
        let file = file(name, &text);
        let refused = run(&["streams", "diff", "--nats-creds-file", &file]).await;
        assert_eq!(refused.code, Some(1), "{name}: {refused:?}");
    }
    let refused = run(&["streams", "diff"]).await;
    assert!(refused.err.contains("does not let this process in"), "{refused:?}");
    assert!(refused.err.contains("; name the key of a user with --nats-key-file"), "{refused:?}");
    // What its token denies, the server denies.
    let limited =
        file("limited.creds", &credentials(&ours, &json!({"deny": ["$JS.API.STREAM.>"]})));
    let refused = run(&["streams", "diff", "--nats-creds-file", &limited]).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");

    let (db, listen) = (Db::sqlite(), free_address().to_string());
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (keys, provider) = (path("person-keys"), path("provider"));
    let mut serve = bare(&["serve", "--nats-url", &url, "--nats-creds-file", &good]);
    serve
        .args(["--listen", &listen, "--database", &db.setting()])
        .env("TRADEWIND_API_KEY", "secret");
    serve.args(["--person-keys", &keys, "--provider-dir", &provider, "--log", "warn"]);
    let _serving = serve.kill_on_drop(true).spawn().expect("it starts");
    let ready = format!("http://{listen}/readyz");
    eventually("it is ready", async || {
        rig::get(&ready).await.is_ok_and(|answer| answer.status().is_success())
    })
    .await;
}
