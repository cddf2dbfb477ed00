//! The commands of a page of the documentation, run as they stand there, and what they print.
//!
//! Blocks that are marked `sh` are run, one after the other in one shell; the block marked `text` behind one is what
//! it prints. Blocks marked `console` are not run: commands that do not end, or need what a test does not have. The
//! section [`START`] is run by a test of its own: the others start an installation in their own way.

use std::{
    env, fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Stdio,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

use crate::rig::{EXIT_TIMEOUT, Installation, KEY};

/// The section with what an installation is started with.
const START: &str = "## Start";
/// The examples that a page copies.
const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/erp");
/// The key and the gateway of the pages.
const KEY_OF_PAGES: &str = "change-me-please";
const GATEWAY_OF_PAGES: &str = "http://127.0.0.1:8080";
/// Ends what a block prints.
const MARK: &[u8] = b"----- end of block -----\n";
/// Where the shell notes which commands failed, and what was answered by HTTP.
const FAILED: &str = "failed-commands";
const ANSWERS: &str = "answers";

/// curl, which notes each request and its status, and reads a stream for a moment only.
const CURL: &str = r#"#!/bin/bash
case "$*" in *event-stream*) limit=(--max-time 2) ;; esac
errors=$(mktemp)
"$CURL" --verbose "${limit[@]}" "$@" 2>"$errors"
code=$?
grep -aE '^(> [A-Z]+ /|< HTTP/)' "$errors" >>"$ANSWERS"
grep -a '^curl: ' "$errors" >&2
rm "$errors"
[ "$code" = 28 ] && [ -n "${limit[*]}" ] && exit 0
exit "$code"
"#;

/// A block of commands, and the output that the page shows for it.
#[derive(Debug, Default)]
pub(crate) struct Block {
    pub(crate) commands: String,
    shown: Option<String>,
}

impl Block {
    /// Commands that no page has.
    pub(crate) fn of(commands: &str) -> Self {
        Self { commands: format!("{commands}\n"), shown: None }
    }
}

/// The blocks of a page in order, but for those that start an installation.
pub(crate) fn blocks(page: &str) -> Vec<Block> {
    blocks_of(page, |section| section != START)
}

/// The block of a page that starts an installation.
pub(crate) fn start(page: &str) -> Block {
    let mut blocks = blocks_of(page, |section| section == START);
    assert_eq!(blocks.len(), 1, "the page has one block that starts an installation");
    blocks.remove(0)
}

fn blocks_of(page: &str, is_wanted: impl Fn(&str) -> bool) -> Vec<Block> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(page);
    let page = fs::read_to_string(path).expect("the page is there");
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
                    "sh" if is_wanted(section) => {
                        blocks.push(Block { commands: std::mem::take(text), shown: None });
                    }
                    "text" if is_wanted(section) => {
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

/// A shell beside an installation, in its folder.
pub(crate) struct Shell {
    folder: PathBuf,
    gateway: String,
    replaced: Vec<(String, String)>,
    input: ChildStdin,
    output: ChildStdout,
    _child: Child,
}

impl Shell {
    pub(crate) fn start(installation: &Installation) -> Self {
        let folder = installation.folder.path().to_owned();
        let programs = folder.join("programs");
        fs::create_dir(&programs).expect("the folder can be made");
        fs::write(programs.join("curl"), CURL).expect("it is written");
        let executable = fs::Permissions::from_mode(0o755);
        fs::set_permissions(programs.join("curl"), executable).expect("it is ours");
        let path = env::var("PATH").expect("there is a path");
        let mut curls = env::split_paths(&path).map(|folder| folder.join("curl"));
        let real_curl = curls.find(|file| file.is_file()).expect("there is curl");
        let ours = Path::new(env!("CARGO_BIN_EXE_tradewind")).parent().expect("it is in a folder");
        let gateway = format!("http://{}", installation.listen);
        let mut shell = Command::new("bash");
        for (name, _) in env::vars_os() {
            if name.to_string_lossy().starts_with("TRADEWIND_") {
                shell.env_remove(name);
            }
        }
        let mut child = shell
            .current_dir(&folder)
            .env("PATH", format!("{}:{}:{path}", programs.display(), ours.display()))
            .env("CURL", real_curl)
            .env("ANSWERS", folder.join(ANSWERS))
            .env("TRADEWIND_LISTEN", installation.listen.to_string())
            .env("GATEWAY", &gateway)
            .env("EXAMPLES", EXAMPLES)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("bash starts");
        let input = child.stdin.take().expect("it is piped");
        let output = child.stdout.take().expect("it is piped");
        Self { folder, gateway, replaced: Vec::new(), input, output, _child: child }
    }

    /// Replaces a text of the page, such as the address of a receiver.
    pub(crate) fn replace(&mut self, from: &str, to: &str) {
        self.replaced.push((from.to_owned(), to.to_owned()));
    }

    /// Runs a block and compares what it prints with what the page shows. Its commands succeed, unless the page shows
    /// their error, and so do their requests. What it printed.
    pub(crate) async fn run(&mut self, block: &Block) -> String {
        let mut commands = block.commands.replace(KEY_OF_PAGES, KEY);
        commands = commands.replace(GATEWAY_OF_PAGES, &self.gateway);
        for (from, to) in &self.replaced {
            commands = commands.replace(from, to);
        }
        for file in [FAILED, ANSWERS] {
            fs::write(self.folder.join(file), "").expect("it is written");
        }
        fs::write(self.folder.join("block"), commands).expect("it is written");
        let mark = String::from_utf8_lossy(MARK);
        let script = format!(
            "exec 2>&1; set -o pipefail; trap 'echo \"$BASH_COMMAND\" >> {FAILED}' ERR; \
             source ./block < /dev/null; trap - ERR; printf '%s\\n' '{}'\n",
            mark.trim_end()
        );
        self.input.write_all(script.as_bytes()).await.expect("bash reads");
        let printed = timeout(EXIT_TIMEOUT, self.read()).await;
        let printed = printed.unwrap_or_else(|_| panic!("it does not end:\n{}", block.commands));
        let read = |file| fs::read_to_string(self.folder.join(file)).expect("it is there");
        let (failed, answers) = (read(FAILED), read(ANSWERS));
        let shows = |text| block.shown.as_ref().is_some_and(|shown| shown.contains(text));
        assert!(failed.is_empty() || shows("error: "), "failed: {failed}\n{printed}");
        let refused: Vec<_> = answers.lines().filter(|line| is_refusal(line)).collect();
        assert!(refused.is_empty() || shows("urn:tradewind:problem:"), "{answers}\n{printed}");
        if let Some(expected) = &block.shown {
            let (printed, expected) = (without_times(&printed), without_times(expected));
            assert_eq!(printed, expected, "of\n{}", block.commands);
        }
        printed
    }

    async fn read(&mut self) -> String {
        let mut printed = Vec::new();
        while !printed.ends_with(MARK) {
            let read = self.output.read_buf(&mut printed).await.expect("it can be read");
            assert!(read > 0, "bash ended: {}", String::from_utf8_lossy(&printed));
        }
        printed.truncate(printed.len() - MARK.len());
        String::from_utf8(printed).expect("it is UTF-8")
    }
}

/// Whether a line of the answers is the status of a request that was refused.
fn is_refusal(line: &str) -> bool {
    let status = line.strip_prefix("< HTTP/").and_then(|rest| rest.split(' ').nth(1));
    status.is_some_and(|status| status >= "400")
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
