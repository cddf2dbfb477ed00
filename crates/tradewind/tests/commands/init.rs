//! `tradewind init`: a nats-server with what it makes lets in those who have a key, and by TLS.

use std::{fs, net::SocketAddr, path::PathBuf, process::Stdio};

use tempfile::TempDir;
use testkit::{Authority, eventually, nats_server};
use tokio::process::{Child, Command};

use crate::rig::{self, CommandOutput, bare, free_address, output};

/// What is said to who has no key that the server knows.
const NOT_LET_IN: &str = "does not let this process in";

/// A server as `tradewind init` configures it, which asks for certificates of an authority of its own.
struct Closed {
    folder: TempDir,
    address: SocketAddr,
    server: Child,
}

impl Closed {
    async fn start() -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let path = |name: &str| folder.path().join(name);
        let made = output({
            let mut init = bare(&["init"]);
            init.arg(folder.path().join("made"));
            init
        });
        assert_eq!(made.await.code, Some(0));
        let authority = Authority::new();
        let (certificate, key) = authority.certificate(&["127.0.0.1"]);
        let files = [("ca.pem", authority.pem()), ("cert.pem", certificate), ("key.pem", key)];
        for (name, text) in files {
            fs::write(path(name), text).expect("it is written");
        }
        // In the file, as an operator does it: a server whose flags ask for TLS cannot read its users again.
        let configuration = path("made/nats/single.conf");
        let mut text = fs::read_to_string(&configuration).expect("it was made");
        text.push_str("\ntls {\n  verify: true\n");
        for (name, file) in
            [("ca_file", "ca.pem"), ("cert_file", "cert.pem"), ("key_file", "key.pem")]
        {
            text.extend(["  ", name, ": \"", &path(file).display().to_string(), "\"\n"]);
        }
        text.push_str("}\n");
        fs::write(&configuration, text).expect("it is written");
        let (address, monitor) = (free_address(), free_address());
        let server = Command::new(nats_server())
            .arg("--config")
            .arg(&configuration)
            .args(["--port", &address.port().to_string()])
            .args(["--http_port", &monitor.port().to_string()])
            .env("TRADEWIND_NATS_STORE", path("store"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("nats-server starts");
        Self { folder, address, server }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A command that knows the server and has a certificate.
    fn command(&self, arguments: &[&str], key: Option<&str>) -> Command {
        let mut command = bare(arguments);
        command
            .args(["--nats-url", &format!("tls://{}", self.address)])
            .arg("--nats-ca-file")
            .arg(self.path("ca.pem"))
            .arg("--nats-cert-file")
            .arg(self.path("cert.pem"))
            .arg("--nats-cert-key-file")
            .arg(self.path("key.pem"));
        if let Some(key) = key {
            command.arg("--nats-key-file").arg(self.path("made/keys").join(key));
        }
        command
    }

    async fn run(&self, arguments: &[&str], key: Option<&str>) -> CommandOutput {
        output(self.command(arguments, key)).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_a_key_and_a_certificate_is_let_in() {
    let closed = Closed::start().await;
    eventually("the operator creates the streams", async || {
        closed.run(&["streams", "apply"], Some("operator.nk")).await.code == Some(0)
    })
    .await;
    let refused = closed.run(&["streams", "diff"], None).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.err.contains(NOT_LET_IN), "{refused:?}");

    let mut stranger = bare(&["streams", "diff"]);
    stranger
        .args(["--nats-url", &format!("tls://{}", closed.address)])
        .arg("--nats-key-file")
        .arg(closed.path("made/keys/operator.nk"))
        .arg("--nats-ca-file")
        .arg(closed.path("ca.pem"));
    let refused = output(stranger).await;
    assert_eq!(refused.code, Some(1), "without a certificate: {refused:?}");

    // All services and the gateway, as the process that may do what they all may.
    let listen = free_address().to_string();
    let mut serve = closed.command(&["serve"], Some("tradewind.nk"));
    serve
        .args(["--listen", &listen, "--log", "warn"])
        .arg("--api-key-file")
        .arg(closed.path("made/api-key"))
        .arg("--database")
        .arg(closed.path("projections"))
        .arg("--person-keys")
        .arg(closed.path("person-keys"))
        .arg("--provider-dir")
        .arg(closed.path("provider"))
        .kill_on_drop(true);
    let _serving = serve.spawn().expect("it starts");
    let url = format!("http://{listen}/readyz");
    eventually("it is ready", async || {
        rig::get(&url).await.is_ok_and(|answer| answer.status().is_success())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_integrator_is_let_in_once_the_server_has_read_its_users_again() {
    let closed = Closed::start().await;
    eventually("the server takes connections", async || {
        closed.run(&["streams", "apply"], Some("operator.nk")).await.code == Some(0)
    })
    .await;
    let folder = closed.path("made").display().to_string();
    let add = ["integrator", "add", "reports", "--shop", "acme", "--folder", &folder];
    let added = output(bare(&add)).await;
    assert_eq!(added.code, Some(0), "{added:?}");
    assert!(added.out.contains("order.*.acme.*"), "{added:?}");
    let again = output(bare(&add)).await;
    assert!(again.err.contains("there is a user reports already"), "{again:?}");
    let is_let_in = async || {
        let tried = closed.run(&["streams", "diff"], Some("reports.nk")).await;
        // It may ask for nothing.
        assert_eq!(tried.code, Some(1), "{tried:?}");
        !tried.err.contains(NOT_LET_IN)
    };
    assert!(!is_let_in().await, "the server does not know it yet");
    let id = closed.server.id().expect("it runs").to_string();
    let sent = Command::new("kill").args(["-HUP", &id]).status().await;
    assert!(sent.expect("kill runs").success());
    eventually("it is let in", is_let_in).await;
}
