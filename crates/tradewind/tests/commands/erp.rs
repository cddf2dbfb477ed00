//! Files of an ERP, by the command line.

use std::{fmt::Write as _, fs, io::Write as _, path::Path};

use serde_json::Value;
use testkit::eventually;

use crate::{
    operator::check,
    rig::{CommandOutput, Installation, KEY, bare, output},
};

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

#[tokio::test]
async fn a_push_removes_neither_its_file_nor_the_list_of_one_that_it_cannot_read() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name);
    let push = async |arguments: &[&str]| {
        let mut command = bare(&[&["erp", "push", "--shop", "acme"], arguments].concat());
        command.current_dir(folder.path()).env("TRADEWIND_API_KEY", KEY);
        output(command).await
    };
    let text = "sku,quantity\nMUG,5\n";
    fs::write(path("stock.csv"), text).expect("it is written");
    std::os::unix::fs::symlink("stock.csv", path("link.csv")).expect("it is made");
    fs::hard_link(path("stock.csv"), path("other.csv")).expect("it is made");
    for rejects in ["stock.csv", "./stock.csv", "link.csv", "other.csv"] {
        let refused = push(&["stock.csv", "--rejects", rejects]).await;
        check(&refused, 1, &[], &["the rejected lines of stock.csv would replace it"]);
        assert_eq!(fs::read_to_string(path("stock.csv")).expect("it is there"), text);
    }

    fs::write(path("stock.rejects.csv"), "of an earlier run").expect("it is written");
    let refused = push(&["stock.csv", "--map", "sku=Item"]).await;
    check(&refused, 1, &[], &["there is no column \"Item\""]);
    fs::copy(path("stock.csv"), path("orders.edi")).expect("it is copied");
    fs::write(path("orders.edi.rejects.csv"), "of an earlier run").expect("it is written");
    let mapping = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/erp/x12-850.toml");
    let mapping = mapping.display().to_string();
    let refused = push(&["orders.edi", "--mapping", &mapping]).await;
    check(&refused, 1, &[], &["the file begins with neither ISA"]);
    for list in ["stock.rejects.csv", "orders.edi.rejects.csv"] {
        assert!(path(list).exists(), "{list} is removed");
    }
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

#[tokio::test(flavor = "multi_thread")]
async fn files_that_appear_in_a_folder_are_pushed_and_moved() {
    let installation = Installation::new().await;
    let serving = installation.serve(&["serve"]).await;
    installation.stock("MUG", 0).await;
    let folder = installation.folder.path().join("outbox");
    fs::create_dir(&folder).expect("it is made");
    let path = |name: &str| folder.join(name);
    let write = |name: &str, sku: &str, sequence: u32| {
        let head = "type,sku,delta,reason,document,sequence\n";
        let row = |sku: &str, number: u32| {
            format!("adjustment,{sku},1,found,A-{sequence}-{number},{sequence}\n")
        };
        let text = head.to_owned() + &row("MUG", 1) + &row(sku, 2);
        fs::write(path(name), text).expect("it is written");
    };
    let arguments = ["erp", "push", "--shop", "acme", "--set", "connector=wms", "--watch"];
    let arguments = [&arguments[..], &[folder.to_str().expect("is UTF-8")]].concat();
    let moved = async |name: &str| {
        eventually("it is moved", async || path(name).exists()).await;
    };

    write("one.csv", "MUG", 1);
    let watching = installation.start(&arguments);
    moved("done/one.csv").await;
    write("two.csv", "BOWL", 2);
    moved("rejected/two.csv").await;
    let rejected = fs::read_to_string(path("rejected/two.rejects.csv")).expect("it is written");
    assert!(rejected.starts_with("type,sku,delta,reason,document,sequence,reject_reason\n"));
    assert_eq!(rejected.lines().count(), 2, "{rejected}");
    assert!(rejected.contains("adjustment,BOWL,1,found,A-2-2,2,"), "{rejected}");
    fs::write(path("three.csv"), "what,is,this\n1,2,3\n").expect("it is written");
    fs::write(path("left.txt"), "no format").expect("it is written");
    moved("rejected/three.csv").await;
    assert!(path("rejected/three.csv.reason.txt").exists());
    assert_eq!(on_hand(&installation, "MUG").await, 3);

    // Killed, and started again: what appeared meanwhile is pushed, and what was pushed before stays.
    watching.kill().await;
    write("four.csv", "MUG", 4);
    write("one.csv", "MUG", 1);
    let watching = installation.start(&arguments);
    moved("done/four.csv").await;
    moved("done/one.2.csv").await;
    assert_eq!(on_hand(&installation, "MUG").await, 5);
    assert!(path("left.txt").exists());

    // A file that cannot be moved does not end it: it is pushed again, and has no second effect.
    fs::remove_dir_all(path("done")).expect("it is removed");
    write("five.csv", "MUG", 5);
    eventually("it is pushed", async || on_hand(&installation, "MUG").await == 7).await;
    fs::create_dir(path("done")).expect("it is made");
    moved("done/five.csv").await;
    assert_eq!(on_hand(&installation, "MUG").await, 7);
    watching.kill().await;
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_is_written_while_its_file_is_pushed_counts() {
    let installation = Installation::new().await;
    let serving = installation.serve(&["serve"]).await;
    installation.stock("MUG", 0).await;
    let folder = installation.folder.path().join("outbox");
    fs::create_dir(&folder).expect("it is made");
    let file = folder.join("stock.csv");
    let row = |n: i64| format!("adjustment,MUG,1,found,A-{n},{n}\n");
    let mut rows = "type,sku,delta,reason,document,sequence\n".to_owned();
    let count = 10_000;
    rows.extend((1..=count).map(row));
    fs::write(&file, rows).expect("it is written");
    let watched = folder.display().to_string();
    // Compressed, all of it is read before the first of its lines has its effect.
    let arguments = ["erp", "push", "--shop", "acme", "--set", "connector=wms", "--gzip"];
    let arguments = [&arguments[..], &["--watch", &watched]].concat();
    let watching = installation.start(&arguments);
    eventually("some lines have had their effect", async || {
        on_hand(&installation, "MUG").await.as_i64().is_some_and(|units| units > 500)
    })
    .await;
    let appended = fs::OpenOptions::new().append(true).open(&file);
    appended
        .and_then(|mut file| file.write_all(row(count + 1).as_bytes()))
        .expect("the file is not moved yet");
    eventually("it is moved", async || folder.join("done/stock.csv").exists()).await;
    assert_eq!(on_hand(&installation, "MUG").await, count + 1);
    watching.kill().await;
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn workbooks_and_interchanges_of_a_folder_are_pushed_by_a_mapping() {
    let installation = Installation::new().await;
    let serving = installation.serve(&["serve"]).await;
    installation.stock("MUG", 0).await;
    let folder = installation.folder.path().join("inbox");
    fs::create_dir(&folder).expect("it is made");
    let path = |name: &str| folder.join(name);
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/erp");
    let example = |name: &str| examples.join(name);
    for (file, name, mapping, rejects) in [
        ("stock.xlsx", "stock.xlsx", "stock.toml", "stock.rejects.xlsx"),
        ("x12-846.edi", "x12-846.001", "x12-846.toml", "x12-846.001.rejects.csv"),
    ] {
        let arguments = ["erp", "push", "--shop", "acme", "--mapping"];
        let mapping = example(mapping).display().to_string();
        let watched = folder.display().to_string();
        let arguments = [&arguments[..], &[&mapping, "--watch", &watched]].concat();
        let watching = installation.start(&arguments);
        fs::copy(example(file), path(name)).expect("it is copied");
        eventually("it is moved", async || path("rejected").join(name).exists()).await;
        assert!(path("rejected").join(rejects).exists(), "{rejects}");
        watching.kill().await;
    }
    assert_eq!(on_hand(&installation, "MUG").await, 118);
    let text = fs::read_to_string(example("x12-846.edi")).expect("it is there");
    fs::write(path("cut.edi"), text.replace("IEA*", "IEX*")).expect("it is written");
    let mapping = example("x12-846.toml").display().to_string();
    let watched = folder.display().to_string();
    let watching = installation.start(&[
        "erp",
        "push",
        "--shop",
        "acme",
        "--mapping",
        &mapping,
        "--watch",
        &watched,
    ]);
    let reason = path("rejected/cut.edi.reason.txt");
    eventually("it is refused", async || reason.exists() && !path("cut.edi").exists()).await;
    let reason = fs::read_to_string(reason).expect("it is there");
    assert!(reason.contains("IEX is not expected here, IEA or GS is"), "{reason}");
    // Another file of the same stem leaves the list of the first as it is.
    let list = path("rejected/x12-846.001.rejects.csv");
    let before = fs::read_to_string(&list).expect("it is there");
    fs::copy(example("x12-846.edi"), path("x12-846.002")).expect("it is copied");
    eventually("it is moved", async || !path("x12-846.002").exists()).await;
    assert_eq!(fs::read_to_string(&list).expect("it is there"), before);
    watching.kill().await;
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejected_lines_and_connectors_are_looked_at_by_the_command_line() {
    let installation = Installation::new().await;
    let serving = installation.serve(&["serve"]).await;
    installation.stock("MUG", 0).await;
    let file = installation.folder.path().join("stock.csv");
    let mut rows = "type,sku,quantity,connector,document,sequence\n".to_owned();
    for (number, sku) in (1..).zip(["BOWL", "JUG", "MUG", "BOWL"]) {
        writeln!(rows, "count,{sku},5,wms,C-{number},{number}").expect("text can be written to");
    }
    fs::write(&file, rows).expect("it is written");
    assert_eq!(push(&installation, &file, &[]).await.code, Some(1));
    let erp = async |arguments: &[&str]| {
        let arguments = [&["erp"], arguments, &["--shop", "acme"]].concat();
        let output = installation.run(&arguments).await;
        assert_eq!(output.code, Some(0), "{output:?}");
        output.out
    };
    let read = |text: String| serde_json::from_str::<Value>(&text).expect("it is JSON");
    let listed = read(erp(&["rejections", "list", "--sku", "BOWL", "--limit", "1"]).await);
    assert_eq!(listed["rejections"][0]["id"], "wms.1", "{listed}");
    let after = listed["next"].as_str().expect("there is a next page").to_owned();
    let listed = read(erp(&["rejections", "list", "--sku", "BOWL", "--after", &after]).await);
    assert_eq!(listed["rejections"][0]["id"], "wms.3", "{listed}");
    let shown = read(erp(&["rejections", "show", "wms.2"]).await);
    assert_eq!(shown["line"]["sku"], "JUG", "{shown}");
    let still = read(erp(&["rejections", "redrive", "wms.2"]).await);
    assert_eq!(still["result"], "unknown_sku", "{still}");
    let dropped = erp(&["rejections", "drop", "--sku", "BOWL", "--note", "not sold here"]).await;
    assert_eq!(dropped.lines().last(), Some("{\"count\":2}"), "{dropped}");
    let redriven = erp(&["rejections", "redrive", "--all"]).await;
    assert!(redriven.ends_with("{\"count\":1}\n"), "{redriven}");
    let unchosen = installation.run(&["erp", "rejections", "redrive", "--shop", "acme"]).await;
    assert_eq!(unchosen.code, Some(2), "all of them must be asked for: {unchosen:?}");
    let connectors = read(erp(&["connectors", "list"]).await);
    let names = connectors["connectors"].as_array().expect("a list").iter();
    assert_eq!(names.map(|it| it["connector"].clone()).collect::<Vec<_>>(), ["erp", "wms"]);
    let shown = read(erp(&["connectors", "show", "wms"]).await);
    assert_eq!(shown["rejections"], 1, "{shown}");
    serving.stop().await;
}
