//! Files of an ERP, by the command line.

use std::{fmt::Write as _, fs, path::Path};

use serde_json::Value;

use crate::rig::{CommandOutput, Installation};

async fn push(installation: &Installation, file: &Path, more: &[&str]) -> CommandOutput {
    let file = file.to_str().expect("is UTF-8");
    let arguments = [&["erp", "push", "--shop", "acme", file], more].concat();
    installation.run(&arguments).await
}

async fn on_hand(installation: &Installation, sku: &str) -> Value {
    let level: Value = installation.api().get(&format!("inventory/{sku}")).await.expect("a level");
    level["on_hand"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_pushed_and_its_rejected_lines_are_mended() {
    let installation = Installation::new().await;
    let serving = installation.serve(&["serve"]).await;
    installation.create_shop().await;
    let folder = installation.folder.path();
    let products = folder.join("products.csv");
    let rows = "Artikel;Name;Preis\nMUG;A mug;950\nCUP;A cup;7.00\n";
    fs::write(&products, rows).expect("it is written");
    let mapping = [
        "--to",
        "products",
        "--map",
        "sku=Artikel",
        "--map",
        "title=Name",
        "--map",
        "price.minor=Preis",
        "--set",
        "price.currency=GBP",
    ];
    let pushed = push(&installation, &products, &mapping).await;
    assert_eq!(pushed.code, Some(1), "{pushed:?}");
    assert!(pushed.out.ends_with("products.csv: 2 lines: 1 created, 1 rejected\n"), "{pushed:?}");
    let rejects = folder.join("products.rejects.csv");
    let rejected = fs::read_to_string(&rejects).expect("it is written");
    assert_eq!(
        rejected,
        "Artikel;Name;Preis;reject_reason\nCUP;A cup;7.00;\"line 3: minor must be an integer, got \
         \"\"7.00\"\" (column 3)\"\n"
    );

    fs::write(&rejects, rejected.replace(";7.00;", ";700;")).expect("it is written");
    let pushed = push(&installation, &rejects, &mapping).await;
    assert_eq!(pushed.code, Some(0), "{pushed:?}");
    assert!(pushed.out.ends_with("1 lines: 1 created\n"), "{pushed:?}");

    let stock = folder.join("stock.ndjson");
    let mut lines = String::new();
    for n in 1..=250 {
        writeln!(
            lines,
            "{{\"type\":\"adjustment\",\"sku\":\"MUG\",\"delta\":1,\"reason\":\"found\",\
                 \"document\":\"A-{n}\",\"sequence\":{n}}}"
        )
        .expect("text can be written to");
    }
    fs::write(&stock, lines).expect("it is written");
    for result in ["applied", "duplicate"] {
        let pushed = push(&installation, &stock, &["--set", "connector=erp", "--gzip"]).await;
        assert_eq!(pushed.code, Some(0), "{pushed:?}");
        assert!(pushed.out.ends_with(&format!("250 lines: 250 {result}\n")), "{pushed:?}");
        assert_eq!(on_hand(&installation, "MUG").await, 250);
    }
    assert!(!folder.join("stock.rejects.ndjson").exists());

    let missing = push(&installation, &folder.join("nothing.csv"), &[]).await;
    assert_eq!(missing.code, Some(1), "{missing:?}");
    assert!(missing.err.contains("nothing.csv"), "{missing:?}");
    let of_text = push(&installation, &folder.join("stock.txt"), &[]).await;
    assert!(of_text.err.contains("--format"), "{of_text:?}");
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_goes_on_when_the_gateway_is_killed_within_it() {
    let installation = Installation::new().await;
    let serving = installation.serve(&["serve"]).await;
    installation.stock("MUG", 0).await;
    let file = installation.folder.path().join("stock.csv");
    let mut rows = "type,sku,delta,reason,connector,document,sequence\n".to_owned();
    let count = 30_000;
    for n in 1..=count {
        writeln!(rows, "adjustment,MUG,1,found,warehouse,A-{n},{n}")
            .expect("text can be written to");
    }
    fs::write(&file, rows).expect("it is written");
    let pushing = push(&installation, &file, &[]);
    let breaking = async {
        testkit::eventually("some lines have had their effect", async || {
            on_hand(&installation, "MUG").await.as_i64().is_some_and(|units| units > 500)
        })
        .await;
        serving.kill().await;
        installation.serve(&["serve"]).await
    };
    let (pushed, serving) = tokio::join!(pushing, breaking);
    assert_eq!(pushed.code, Some(0), "{pushed:?}");
    let report = pushed.out.trim_end();
    assert!(report.contains("stock.csv: 30000 lines: "), "{report}");
    assert!(pushed.err.contains("goes on behind the last result"), "{pushed:?}");
    assert_eq!(on_hand(&installation, "MUG").await, count);
    serving.stop().await;
}
