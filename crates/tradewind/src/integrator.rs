//! `tradewind integrator`: users of nats-server who read public events, and programs that read with them.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result};
use clap::{Args, Subcommand, ValueEnum};
use nkeys::KeyPair;
use node::{nats_users::NatsUser, say, settings::Settings};
use protocol::id::Shop;

use crate::init::add_user;

/// What stands in the programs for what is filled in.
const SERVER: &str = "nats://127.0.0.1:4222";
const KEY_FILE: &str = "here/keys/reports.nk";
const PUBLIC_KEY: &str = "the public key";
const SHOP: &str = "acme";
/// What the program in Rust has for our own lints, and nobody else needs.
const LINT: &str = "#![expect(";

/// What is done with integrators.
#[derive(Debug, Subcommand)]
pub(crate) enum Integrator {
    /// Add one, with a key of its own
    Add {
        /// Who.
        #[command(flatten)]
        reader: Reader,
        /// Print a program that reads with it as well
        #[arg(long, value_enum, value_name = "LANGUAGE")]
        example: Option<Language>,
    },
    /// Print a program that reads the events of one that was added
    Example {
        /// The language
        #[arg(value_enum)]
        language: Language,
        /// Who.
        #[command(flatten)]
        reader: Reader,
    },
}

/// Somebody who reads public events at nats-server.
#[derive(Debug, Args)]
pub(crate) struct Reader {
    /// Its name: that of its file with the key
    name: String,
    /// The shop whose events it reads
    #[arg(long, required_unless_present = "all_shops", value_parser = Shop::parse)]
    shop: Option<Shop>,
    /// It reads the events of all shops
    #[arg(long, conflicts_with = "shop")]
    all_shops: bool,
    /// The folder that `tradewind init` made
    #[arg(long, default_value = "tradewind-installation")]
    folder: PathBuf,
}

/// A language that there is a program in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Language {
    /// With async-nats and prost
    Rust,
    /// With nats-py and protobuf
    Python,
    /// With @nats-io/transport-node and @bufbuild/protobuf
    #[value(name = "javascript")]
    JavaScript,
    /// With the standard library alone
    Go,
}

/// Carries out a command.
pub(crate) fn run(settings: &Settings, what: &Integrator) -> Result<()> {
    match what {
        Integrator::Add { reader, example } => {
            reader.add()?;
            if let Some(language) = example {
                say!("");
                say!("{}", reader.example(*language, settings)?);
            }
            Ok(())
        }
        Integrator::Example { language, reader } => {
            say!("{}", reader.example(*language, settings)?);
            Ok(())
        }
    }
}

impl Reader {
    fn key_file(&self) -> PathBuf {
        self.folder.join("keys").join(format!("{}.nk", self.name))
    }

    /// The shop as a token of subjects.
    fn token(&self) -> &str {
        self.shop.as_ref().map_or("*", Shop::as_str)
    }

    /// Adds the user, who may subscribe to public events and nothing else.
    fn add(&self) -> Result<()> {
        let Self { name, shop, folder, .. } = self;
        let user = || NatsUser::of_integrator(name, shop.as_ref());
        let key = add_user(name, folder, user)?;
        let of_shop =
            shop.as_ref().map_or("--all-shops".to_owned(), |shop| format!("--shop {shop}"));
        let options = format!("{name} {of_shop} --folder {}", folder.display());
        say!(
            "its key is in {}. It may subscribe to public events and nothing else:",
            key.display()
        );
        say!("");
        for subject in user().subscribe {
            say!("  {subject}");
        }
        say!("");
        say!("a program that does, in rust, python, javascript or go:");
        say!("");
        say!("  tradewind integrator example python {options} > read.py");
        say!("");
        say!("docs/integrators.md says what can be relied on.");
        Ok(())
    }

    /// A program that reads with its key, from the first of the servers of the settings.
    fn example(&self, language: Language, settings: &Settings) -> Result<String> {
        let file = self.key_file();
        let missing = || {
            let (name, file) = (&self.name, file.display());
            format!("read {file}: add the user with `tradewind integrator add {name}` first")
        };
        let file = fs::canonicalize(&file).with_context(missing)?;
        let seed = fs::read_to_string(&file).with_context(missing)?;
        let key = KeyPair::from_seed(seed.trim())
            .with_context(|| format!("{} is no key of a user", file.display()))?;
        let server = settings.nats_url.split(',').next().unwrap_or_default();
        // A user and password in the address are those of a process of ours.
        let server = match server.rsplit_once('@') {
            Some((_, address)) => format!("nats://{address}"),
            None => server.to_owned(),
        };
        let file = file.display().to_string();
        Ok(language.program(&server, &file, &key.public_key(), self.token()))
    }
}

impl Language {
    fn template(self) -> &'static str {
        match self {
            Self::Rust => include_str!("../examples/integrator.rs"),
            Self::Python => include_str!("../examples/integrator.py"),
            Self::JavaScript => include_str!("../examples/integrator.mjs"),
            Self::Go => include_str!("../examples/integrator.go"),
        }
    }

    /// The program with its values filled in; each is a text in double quotes, which all four languages read alike.
    fn program(self, server: &str, key_file: &str, public_key: &str, shop: &str) -> String {
        let lines = self.template().lines().filter(|line| !line.starts_with(LINT));
        let mut text = lines.collect::<Vec<_>>().join("\n").replace("\n\n\n", "\n\n");
        for (default, value) in
            [(SERVER, server), (KEY_FILE, key_file), (PUBLIC_KEY, public_key), (SHOP, shop)]
        {
            text = text.replace(&format!("{default:?}"), &format!("{value:?}"));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_program_has_the_values_of_its_user() {
        for language in Language::value_variants() {
            let template = language.template();
            let program = language.program("nats://host:1", "/keys/a \"b\".nk", "UABC", "beta");
            for (name, default, value) in [
                ("server", SERVER, "\"nats://host:1\""),
                ("key", KEY_FILE, "\"/keys/a \\\"b\\\".nk\""),
                ("shop", SHOP, "\"beta\""),
            ] {
                assert_eq!(
                    template.matches(&format!("{default:?}")).count(),
                    1,
                    "{name}: {language:?}"
                );
                assert!(program.contains(value), "{name}: {program}");
                assert!(!program.contains(&format!("{default:?}")), "{name}: {program}");
            }
            assert!(!program.contains(LINT), "{program}");
            assert_eq!(program.contains("UABC"), *language == Language::Go);
        }
    }

    #[test]
    fn every_program_reads_what_its_user_may() {
        let subjects = NatsUser::of_integrator("reports", None).subscribe;
        let services = subjects.iter().filter_map(|subject| Some(subject.split_once('.')?.0));
        let services = services.map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ");
        for language in Language::value_variants() {
            assert!(language.template().contains(&services), "{services}: {language:?}");
        }
    }
}
