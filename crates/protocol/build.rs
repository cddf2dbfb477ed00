//! Generates the Rust types of the engine's messages from `proto/`, with protox and prost.

use std::{env, error::Error, path::PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    println!("cargo::rerun-if-changed={}", root.join("tradewind/engine").display());

    let files =
        ["envelope", "queries", "replies"].map(|it| format!("tradewind/engine/v1/{it}.proto"));
    let descriptors = protox::compile(files, [&root])?;
    prost_build::Config::new().compile_fds(descriptors)?;
    Ok(())
}
