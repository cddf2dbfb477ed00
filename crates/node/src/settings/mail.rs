//! How mails are sent: the operator's mail server. Its password comes from a file alone, so that neither the
//! command line nor the environment shows it.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use mail::{Login, Server, Timeouts, Tls};

/// How mails are sent. The processes that run `notify` need it.
#[derive(Clone, Default, Args)]
pub struct MailOptions {
    /// The mail server (SMTP): its name, which its certificate must have, or its address; without it no
    /// mails are sent
    #[arg(
        id = "smtp_host",
        long = "smtp-host",
        global = true,
        env = "TRADEWIND_SMTP_HOST",
        value_name = "HOST"
    )]
    pub host: Option<String>,

    /// The port of the mail server [default: 465, 587 or 25, as --smtp-tls says]
    #[arg(id = "smtp_port", long = "smtp-port", global = true, env = "TRADEWIND_SMTP_PORT", value_name = "PORT",
          value_parser = clap::value_parser!(u16).range(1..))]
    pub port: Option<u16>,

    /// How what is sent to the mail server is encrypted [default: starttls]
    #[arg(
        id = "smtp_tls",
        long = "smtp-tls",
        global = true,
        env = "TRADEWIND_SMTP_TLS",
        value_enum
    )]
    pub tls: Option<TlsOption>,

    /// The user at the mail server; none where it asks for nobody
    #[arg(
        id = "smtp_user",
        long = "smtp-user",
        global = true,
        env = "TRADEWIND_SMTP_USER",
        value_name = "NAME"
    )]
    pub user: Option<String>,

    /// A file whose only line is the password of the user
    #[arg(
        id = "smtp_password_file",
        long = "smtp-password-file",
        global = true,
        env = "TRADEWIND_SMTP_PASSWORD_FILE",
        value_name = "FILE"
    )]
    pub password_file: Option<PathBuf>,

    /// A file of certificates (PEM) of authorities that are trusted besides those of the system
    #[arg(
        id = "smtp_ca_file",
        long = "smtp-ca-file",
        global = true,
        env = "TRADEWIND_SMTP_CA_FILE",
        value_name = "FILE"
    )]
    pub ca_file: Option<PathBuf>,
}

/// How what is sent to the mail server is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TlsOption {
    /// From the first byte on: port 465
    Implicit,
    /// After STARTTLS, which the server must offer: port 587
    Starttls,
    /// Not at all, and without a password: for a server on this machine, port 25
    None,
}

impl TlsOption {
    fn port(self) -> u16 {
        match self {
            Self::Implicit => 465,
            Self::Starttls => 587,
            Self::None => 25,
        }
    }
}

/// Says where mails are sent and not by whom.
impl fmt::Debug for MailOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MailOptions").field("host", &self.host).finish_non_exhaustive()
    }
}

impl MailOptions {
    /// The mail server; `None` when there are no settings for one.
    pub fn server(&self) -> Result<Option<Server>> {
        let Some(host) = self.host.clone() else {
            if self.user.is_some() || self.password_file.is_some() {
                bail!("smtp-user and smtp-password-file are for a mail server: set smtp-host");
            }
            return Ok(None);
        };
        let tls = self.tls.unwrap_or(TlsOption::Starttls);
        let login = match (&self.user, &self.password_file) {
            (Some(user), Some(file)) => {
                let password = read(file)?.trim_end().into();
                Some(Login { user: user.clone(), password })
            }
            (None, None) => None,
            _ => bail!("set smtp-user and smtp-password-file both, or neither"),
        };
        let trusted_roots_pem = self.ca_file.as_deref().map(read).transpose()?;
        Ok(Some(Server {
            host,
            port: self.port.unwrap_or_else(|| tls.port()),
            tls: match tls {
                TlsOption::Implicit => Tls::Implicit,
                TlsOption::Starttls => Tls::Starttls,
                TlsOption::None => Tls::None,
            },
            login,
            trusted_roots_pem,
            timeouts: Timeouts::default(),
        }))
    }
}

fn read(file: &Path) -> Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("read {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_login(file: &Path) -> MailOptions {
        MailOptions {
            host: Some("mail.example.com".to_owned()),
            user: Some("acme".to_owned()),
            password_file: Some(file.to_owned()),
            ..MailOptions::default()
        }
    }

    #[test]
    fn the_password_is_read_from_a_file_and_shown_nowhere() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("password");
        std::fs::write(&file, "hush-hush\n").expect("it can be written");
        let options = with_login(&file);
        let server = options.server().expect("they are good").expect("there is one");
        assert_eq!((server.port, server.tls), (587, Tls::Starttls));
        let login = server.login.clone().expect("there is one");
        assert_eq!(secrecy::ExposeSecret::expose_secret(&login.password), "hush-hush");
        for shown in [format!("{options:?}"), format!("{server:?}"), format!("{login:?}")] {
            assert!(!shown.contains("hush"), "{shown}");
        }
    }

    #[test]
    fn settings_that_do_not_go_together_are_refused() {
        let none = MailOptions::default();
        assert!(none.server().expect("they are good").is_none());
        let user = Some("acme".to_owned());
        assert!(MailOptions { user: user.clone(), ..none.clone() }.server().is_err());
        let host = Some("mail.example.com".to_owned());
        assert!(MailOptions { host, user, ..none }.server().is_err());
        assert!(with_login(Path::new("/nowhere")).server().is_err());
    }
}
