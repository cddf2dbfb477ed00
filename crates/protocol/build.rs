//! Generates the Rust types of the engine's messages from `proto/`, with protox and prost.

use std::{env, error::Error, path::PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    println!("cargo::rerun-if-changed={}", root.join("tradewind/engine").display());

    let descriptors = protox::compile(["tradewind/engine/v1/envelope.proto"], [&root])?;
    prost_build::Config::new().compile_fds(descriptors)?;
    Ok(())
}
