//! The commands of docs/erp.md, as they stand there, and what they print.

use std::{fs, path::Path};

use tokio::process::Command;

use crate::rig::{Installation, KEY, output};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/erp.md");
/// The examples that the page copies.
const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/erp");
/// What an installation is started with, which the test does in its own way.
const START: &str = "## Start";
/// Stands between the blocks of commands in what is printed.
const MARK: &str = "----- next -----";

/// A block of commands, and the output that the page shows for it.
#[derive(Debug, Default)]
struct Block {
    commands: String,
    shown: Option<String>,
}

/// The blocks of a page in order, but for those of the section about the start.
fn blocks(page: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut section = "";
    let mut fence: Option<(&str, String)> = None;
    for line in page.lines() {
        match &mut fence {
            None if line.starts_with("## ") => section = line,
            None => {
                if let Some(language) = line.strip_prefix("```") {
                    fence = Some((language, String::new()));
                }
            }
            Some((language, text)) if line == "```" => {
                match *language {
                    "sh" if section != START => {
                        blocks.push(Block { commands: std::mem::take(text), shown: None });
                    }
                    "text" => {
                        let last = blocks.last_mut().expect("commands come before their output");
                        last.shown = Some(std::mem::take(text));
                    }
                    _ => {}
                }
                fence = None;
            }
            Some((_, text)) => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    blocks
}

/// Times differ from run to run: each is `TIME`; and a position is `POSITION`.
fn without_times(text: &str) -> String {
    let mut rest = text;
    let mut shown = String::new();
    while let Some(at) = rest.find("\"20") {
        let (before, time) = rest.split_at(at + 1);
        shown.push_str(before);
        let end = time.find('"').unwrap_or(time.len());
        shown.push_str(if time[..end].ends_with('Z') { "TIME" } else { &time[..end] });
        rest = &time[end..];
    }
    // How many events there were depends on the version.
    let text = shown + rest;
    match text.split_once("\"position\":\"inventory.0=") {
        Some((before, after)) => {
            let after = after.trim_start_matches(|digit: char| digit.is_ascii_digit());
            format!("{before}POSITION{after}")
        }
        None => text,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_of_the_page_print_what_it_says() {
    let page = fs::read_to_string(PAGE).expect("the page is there");
    let blocks = blocks(&page);
    assert!(blocks.len() >= 6, "the page has commands: {blocks:?}");
    let installation = Installation::new().await;
    let serving = installation.serve(&["serve"]).await;
    let program = Path::new(env!("CARGO_BIN_EXE_tradewind"));
    let path = std::env::var("PATH").expect("there is a path");
    let folder = program.parent().expect("it is in a folder").display();
    let script: Vec<_> = blocks
        .iter()
        .map(|block| block.commands.replace("change-me-please", KEY) + "\necho '" + MARK + "'\n")
        .collect();
    let mut shell = Command::new("bash");
    shell
        .args(["-c", &format!("exec 2>&1\n{}", script.concat())])
        .current_dir(installation.folder.path())
        .env("PATH", format!("{folder}:{path}"))
        .env("TRADEWIND_LISTEN", installation.listen.to_string())
        .env("EXAMPLES", EXAMPLES)
        .env("GATEWAY", format!("http://{}", installation.listen));
    let printed = output(shell).await;
    let parts: Vec<_> = printed.out.split(&format!("{MARK}\n")).collect();
    assert_eq!(parts.len(), blocks.len() + 1, "{}", printed.out);
    for (block, part) in blocks.iter().zip(parts) {
        let shown = block.shown.as_deref().unwrap_or_default();
        assert_eq!(without_times(part), without_times(shown), "of\n{}", block.commands);
    }
    serving.stop().await;
}
