//! Placeholder until its author's file lands: overwrite it.

/// Placeholder.
#[derive(Debug, clap::Args)]
pub struct Options {}

/// Placeholder.
pub async fn run(_: &crate::settings::Settings, _: Options) -> anyhow::Result<std::process::ExitCode> {
    anyhow::bail!("not written yet")
}
