//! Keeps the promise of proto/: what was published can be read for good, and every line of it is
//! explained. [`lint`] and [`comments`] say how it is written, [`envelopes`] that the engine's part of
//! the envelopes is the engine's.
//!
//! `proto/committed.binpb` is what was promised: all files of proto/ as compiled when they were
//! last committed. [`wire_json`] compares it with what they are now. A compatible change is taken
//! over by `make proto`, which runs this test with `UPDATE_COMMITTED_PROTO=1`; one that breaks
//! readers is refused, unless the value is `breaking`. Both files are committed together.

mod comments;
mod envelopes;
mod lint;
mod wire_json;

use std::{
    collections::BTreeMap,
    env, fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use prost::Message;
use prost_types::FileDescriptorSet;
use protox::{
    Compiler,
    file::{File, FileResolver},
};

#[test]
fn proto_keeps_what_was_committed() {
    let committed = folder().join("committed.binpb");
    let before = match fs::read(&committed) {
        Ok(bytes) => FileDescriptorSet::decode(&*bytes).expect("committed.binpb is not damaged"),
        Err(error) if error.kind() == ErrorKind::NotFound => FileDescriptorSet::default(),
        Err(error) => panic!("cannot read {}: {error}", committed.display()),
    };
    let mut after = compiled();
    for file in &mut after.file {
        // Comments may change at will.
        file.source_code_info = None;
    }
    let violations = wire_json::breaking(&before, &after);

    match (env::var("UPDATE_COMMITTED_PROTO").as_deref(), violations.is_empty()) {
        (Ok("breaking"), _) | (Ok("1"), true) => {
            fs::write(&committed, after.encode_to_vec()).expect("committed.binpb can be written");
        }
        (Ok("1") | Err(_), false) => panic!(
            "proto/ breaks its readers in {} places; `make proto UPDATE=breaking` takes it over \
             nevertheless, before anybody reads it:\n{}",
            violations.len(),
            violations.join("\n")
        ),
        (Err(_), true) => assert!(
            before == after,
            "proto/ has changed compatibly: run `make proto` and commit proto/committed.binpb too"
        ),
        (Ok(value), _) => panic!("UPDATE_COMMITTED_PROTO is 1 or breaking, not {value}"),
    }
}

#[test]
fn proto_has_only_what_the_rules_judge() {
    for file in compiled().file.iter().filter(|file| !file.name().starts_with("google/")) {
        let name = file.name();
        assert_eq!(file.syntax(), "proto3", "{name}");
        assert!(file.service.is_empty(), "{name} has a service; wire_json has no rules for RPCs");
        assert!(
            file.extension.is_empty(),
            "{name} has extensions; wire_json has no rules for them"
        );
    }
}

#[test]
fn everything_in_proto_has_a_comment() {
    let mut set = compiled();
    set.file.retain(|file| !file.name().starts_with("google/"));
    let missing = comments::uncommented(&set);
    assert!(missing.is_empty(), "no comment above:\n{}", missing.join("\n"));
}

#[test]
fn proto_is_written_by_the_rules_of_buf() {
    let mut set = compiled();
    set.file.retain(|file| !file.name().starts_with("google/"));
    let violations = lint::violations(&set);
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

#[test]
fn the_envelopes_have_the_engines_part() {
    for (whole, envelope) in [
        ("tradewind.events.v1.Event", "tradewind.engine.v1.Envelope"),
        ("tradewind.commands.v1.Command", "tradewind.engine.v1.CommandEnvelope"),
    ] {
        let differences = envelopes::differences(&compiled(), whole, envelope);
        assert!(differences.is_empty(), "{whole} and {envelope}:\n{}", differences.join("\n"));
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto")
}

/// All files of proto/ as they are now, with their comments and what they import.
fn compiled() -> FileDescriptorSet {
    let mut files = Vec::new();
    collect(&folder(), &mut files);
    files.sort();
    protox::compile(files, [folder()]).expect("proto/ compiles")
}

/// One file that is only in memory, with its comments.
fn compile_text(text: &str) -> FileDescriptorSet {
    compile_files(vec![("t.proto".to_owned(), text.to_owned())])
}

/// Files that are only in memory, by name, with their comments.
fn compile_files(files: Vec<(String, String)>) -> FileDescriptorSet {
    struct Memory(BTreeMap<String, String>);
    impl FileResolver for Memory {
        fn open_file(&self, name: &str) -> Result<File, protox::Error> {
            let text = self.0.get(name).ok_or_else(|| protox::Error::file_not_found(name))?;
            File::from_source(name, text)
        }
    }
    let files: BTreeMap<_, _> = files.into_iter().collect();
    let names: Vec<_> = files.keys().cloned().collect();
    let mut compiler = Compiler::with_file_resolver(Memory(files));
    compiler.include_source_info(true);
    compiler.open_files(names).expect("the texts compile").file_descriptor_set()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the folder can be listed") {
        let path = entry.expect("the folder can be listed").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            files.push(path);
        }
    }
}
