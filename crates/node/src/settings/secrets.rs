//! What may not be given by a flag, because all users of a machine see the command lines of its processes;
//! and what is not shown when it is wrong.

use std::ffi::OsStr;

use clap::{
    Arg, ArgMatches, Command, builder::TypedValueParser, error::ErrorKind, parser::ValueSource,
};

/// A setting that holds a secret, or may: its id, and where it is given instead.
struct SecretSetting {
    id: &'static str,
    is_secret: fn(&str) -> bool,
    instead: &'static str,
}

const SECRET_SETTINGS: [SecretSetting; 5] = [
    SecretSetting {
        id: "api_key",
        is_secret: |_| true,
        instead: "set TRADEWIND_API_KEY, or --api-key-file, or `api-key` in the file of --config",
    },
    SecretSetting {
        id: "nats_url",
        is_secret: has_user,
        instead: "set TRADEWIND_NATS_URL, or `nats-url` in the file of --config, or --nats-key-file \
                  and an address without a user",
    },
    SecretSetting {
        id: "database",
        is_secret: has_password,
        instead: "set TRADEWIND_DATABASE, or `database` in the file of --config, or keep the password \
                  in PGPASSFILE",
    },
    SecretSetting {
        id: "person_keys",
        is_secret: has_password,
        instead: "set TRADEWIND_PERSON_KEYS, or `person-keys` in the file of --config, or keep the \
                  password in PGPASSFILE",
    },
    SecretSetting {
        id: "webhook_proxy",
        is_secret: has_user,
        instead: "set TRADEWIND_WEBHOOK_PROXY, or `webhook-proxy` in the file of --config",
    },
];

/// What is wrong with a command line that holds a secret; `None` when none does. The secret is not in the text.
pub fn secret_in_flags(matches: &ArgMatches) -> Option<String> {
    let found = SECRET_SETTINGS.iter().find(|setting| {
        let is_flag = matches.value_source(setting.id) == Some(ValueSource::CommandLine);
        let values = matches.get_raw(setting.id).into_iter().flatten();
        is_flag && values.into_iter().any(|it| (setting.is_secret)(&it.to_string_lossy()))
    });
    if let Some(SecretSetting { id, instead, .. }) = found {
        let flag = id.replace('_', "-");
        let what = if *id == "api_key" { "" } else { " with a password" };
        return Some(format!(
            "--{flag}{what} is refused: other users of this machine would see it in the list of \
             processes; {instead}"
        ));
    }
    matches.subcommand().and_then(|(_, inner)| secret_in_flags(inner))
}

/// Whether one of the addresses of NATS names a user or a token.
fn has_user(urls: &str) -> bool {
    urls.split(',').any(|url| user_info(url).is_some())
}

/// Whether the address of a database has a password.
fn has_password(url: &str) -> bool {
    let in_query = url.split_once('?').is_some_and(|(_, query)| {
        query.split('&').any(|pair| pair.to_ascii_lowercase().starts_with("password="))
    });
    in_query || user_info(url).is_some_and(|user| user.contains(':'))
}

/// What stands before the host of an address.
fn user_info(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    authority.rsplit_once('@').map(|(user, _)| user)
}

/// Reads a value that may hold a password, and does not show it when it is wrong.
#[derive(Clone)]
pub(super) struct SecretValueParser(pub(super) fn(&str) -> Result<String, String>);

impl TypedValueParser for SecretValueParser {
    type Value = String;

    fn parse_ref(
        &self,
        command: &Command,
        argument: Option<&Arg>,
        value: &OsStr,
    ) -> Result<String, clap::Error> {
        let read = value.to_str().ok_or_else(|| "must be UTF-8".to_owned()).and_then(self.0);
        read.map_err(|problem| {
            let name = argument.map(Arg::to_string).unwrap_or_default();
            let message = format!("wrong value for '{name}': {problem}");
            command.clone().error(ErrorKind::ValueValidation, message)
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::{Args, Command};

    use super::*;
    use crate::settings::Settings;

    fn refused(arguments: &[&str]) -> Option<String> {
        let inner = Command::new("serve");
        let command = Settings::augment_args(Command::new("tradewind").subcommand(inner));
        let all = ["tradewind"].iter().chain(arguments);
        let matches = command.try_get_matches_from(all).expect("it parses");
        secret_in_flags(&matches)
    }

    #[test]
    fn no_flag_holds_a_secret() {
        for (arguments, variable) in [
            (["--api-key", "hush"], "TRADEWIND_API_KEY"),
            (["--nats-url", "nats://a:1,nats://me:hush@b:1"], "TRADEWIND_NATS_URL"),
            (["--nats-url", "nats://hush@b:1"], "TRADEWIND_NATS_URL"),
            (["--database", "postgres://me:hush@db/x"], "TRADEWIND_DATABASE"),
            (["--database", "postgres://db/x?user=me&password=hush"], "TRADEWIND_DATABASE"),
            (["--person-keys", "postgres://me:hush@db/x"], "TRADEWIND_PERSON_KEYS"),
        ] {
            for place in [vec!["serve"], Vec::new()] {
                let refused = refused(&[&place[..], &arguments].concat()).expect("it is refused");
                assert!(refused.contains(arguments[0]) && refused.contains(variable), "{refused}");
                assert!(!refused.contains("hush"), "{refused}");
            }
        }
    }

    #[test]
    fn what_holds_no_secret_may_be_a_flag() {
        for arguments in [
            ["--api-key-file", "key"],
            ["--nats-url", "nats://a:1,tls://b:1"],
            ["--database", "postgres://me@db/x?host=/run/a@b:1"],
            ["--database", "folder/a:b@c"],
            ["--person-keys", "keys"],
        ] {
            assert_eq!(refused(&arguments), None, "{arguments:?}");
        }
    }
}
