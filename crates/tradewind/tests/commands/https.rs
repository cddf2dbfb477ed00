//! Commands that speak to a gateway with a certificate.

use std::fs;

use testkit::{Authority, eventually};

use crate::rig::{CommandOutput, Installation, SHOP, output};

/// A gateway with a certificate for 127.0.0.1, of an authority that nobody else trusts.
struct Encrypted {
    installation: Installation,
    url: String,
}

impl Encrypted {
    fn file(&self, name: &str) -> String {
        self.installation.folder.path().join(name).display().to_string()
    }

    async fn run(&self, gateway: &str, arguments: &[&str]) -> CommandOutput {
        self.installation.run(&[arguments, &["--gateway", gateway]].concat()).await
    }

    /// Checks that a command is refused at once, and with what.
    async fn refused(&self, gateway: &str, arguments: &[&str], expected: &str) {
        let refused = self.run(gateway, arguments).await;
        assert_eq!(refused.code, Some(1), "{refused:?}");
        assert!(refused.err.contains(expected), "{refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_speak_to_a_gateway_whose_authority_they_know() {
    let installation = Installation::new().await;
    let url = format!("https://{}", installation.listen);
    let here = Encrypted { installation, url };
    let authority = Authority::new();
    let (certificate, key) = authority.certificate(&["127.0.0.1"]);
    for (name, text) in [
        ("ca.pem", authority.pem()),
        ("other.pem", Authority::new().pem()),
        ("cert.pem", certificate),
        ("key.pem", key),
        ("products.csv", "sku,title,price.minor,price.currency\nMUG,A mug,950,GBP\n".to_owned()),
    ] {
        fs::write(here.file(name), text).expect("it is written");
    }
    let (certificate, key) = (here.file("cert.pem"), here.file("key.pem"));
    let serve = ["serve", "--tls-cert-file", &certificate, "--tls-key-file", &key];
    let serving = here.installation.start(&serve);
    let trusted = here.file("ca.pem");
    let list = ["keys", "list", "--ca-file", &trusted];
    eventually("a command is answered", async || here.run(&here.url, &list).await.code == Some(0))
        .await;
    let mut create = here.installation.command(&["shops", "create", SHOP]);
    create.env("TRADEWIND_CA_FILE", &trusted);
    let created = output(create).await;
    assert_eq!(created.code, Some(0), "{created:?}");

    // An upload has a client of its own.
    let products = here.file("products.csv");
    let push = ["erp", "push", &products, "--shop", SHOP, "--to", "products"];
    let pushed = here.run(&here.url, &[&push[..], &["--ca-file", &trusted]].concat()).await;
    assert!(pushed.out.contains("1 created"), "{pushed:?}");
    let mut replay = here.installation.command(&["events", "replay", "--shop", SHOP]);
    replay.args(["--gateway", &here.url]).env("TRADEWIND_CA_FILE", &trusted);
    let replayed = output(replay).await;
    assert!(replayed.out.contains("catalog.created"), "{replayed:?}");

    let of_other_authority = "signed by an authority that is not trusted: name the certificate";
    here.refused(&here.url, &["keys", "list"], of_other_authority).await;
    let other = here.file("other.pem");
    let other = ["keys", "list", "--ca-file", &other];
    here.refused(&here.url, &other, of_other_authority).await;
    let by_name = here.url.replace("127.0.0.1", "localhost");
    here.refused(&by_name, &list, "for other names than that of its address").await;
    here.refused(&by_name, &list, "127.0.0.1").await;
    for (file, problem) in [("products.csv", "must be certificates as PEM"), ("none.pem", "read ")]
    {
        let file = here.file(file);
        here.refused(&here.url, &["keys", "list", "--ca-file", &file], problem).await;
    }
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_without_a_certificate_is_not_called_by_https() {
    let installation = Installation::new().await;
    let serving = installation.serve(&["serve"]).await;
    let url = format!("https://{}", installation.listen);
    let here = Encrypted { installation, url };
    here.refused(&here.url, &["keys", "list"], "speaks no TLS: use http://").await;
    serving.stop().await;
}
