//! The file of settings.

use std::{ffi::OsString, path::PathBuf};

use anyhow::{Context, Result, bail};
use clap::Command;

/// Gives the command the file's settings as defaults, so that flags and environment win over them
/// and a wrong value is refused with its name, wherever it came from.
pub fn with_file(command: Command, arguments: &[OsString]) -> Result<Command> {
    let Some(file) = file(&command, arguments) else { return Ok(command) };
    let text = std::fs::read_to_string(&file)
        .with_context(|| format!("read the settings in {}", file.display()))?;
    let settings: toml::Table =
        text.parse().with_context(|| format!("parse the settings in {}", file.display()))?;
    settings.iter().try_fold(command, |command, (key, value)| {
        with_setting(command, key, value).with_context(|| format!("in {}", file.display()))
    })
}

fn with_setting(command: Command, key: &str, value: &toml::Value) -> Result<Command> {
    let argument = command.get_arguments().find(|argument| argument.get_long() == Some(key));
    let Some(id) = argument.filter(|a| a.get_id() != "config").map(|a| a.get_id().clone()) else {
        bail!("there is no setting {key:?}; `tradewind --help` lists all");
    };
    let value = match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Integer(number) => number.to_string(),
        toml::Value::Boolean(flag) => flag.to_string(),
        toml::Value::Float(number) => number.to_string(),
        toml::Value::Datetime(_) | toml::Value::Array(_) | toml::Value::Table(_) => {
            bail!("{key} must be a text, a number, true or false")
        }
    };
    Ok(command.mut_arg(id, |argument| argument.default_value(value)))
}

/// The file that the arguments or the environment name.
fn file(command: &Command, arguments: &[OsString]) -> Option<PathBuf> {
    let matches =
        command.clone().ignore_errors(true).try_get_matches_from(arguments.iter().cloned()).ok()?;
    let mut deepest = &matches;
    while let Some((_, inner)) = deepest.subcommand() {
        deepest = inner;
    }
    let named = [deepest, &matches]
        .into_iter()
        .find_map(|matches| matches.try_get_one::<PathBuf>("config").ok().flatten());
    named.cloned().filter(|path| !path.as_os_str().is_empty())
}
