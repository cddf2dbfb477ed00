//! Compiles `proto/` with protox, so that nobody needs protoc, and generates the Rust types with prost.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message;

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    println!("cargo::rerun-if-changed={}", root.display());

    let descriptors = protox::compile(
        [
            "tradewind/events/v1/event.proto",
            "tradewind/commands/v1/command.proto",
            "tradewind/catalog/v1/queries.proto",
            "tradewind/inventory/v1/queries.proto",
            "tradewind/notify/v1/queries.proto",
            "tradewind/order/v1/personal.proto",
            "tradewind/order/v1/queries.proto",
            "tradewind/payment/v1/queries.proto",
            "tradewind/shop/v1/queries.proto",
        ],
        [&root],
    )?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptors.binpb"), descriptors.encode_to_vec())?;
    prost_build::Config::new()
        .extern_path(".tradewind.engine.v1", "::protocol::proto")
        .include_file("contract.rs")
        // Few endpoints have it, and every answer about one would be as much larger.
        .boxed(".tradewind.notify.v1.EndpointSettings.mail")
        .compile_fds(descriptors)?;
    Ok(())
}
