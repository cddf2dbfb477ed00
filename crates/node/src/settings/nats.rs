//! How a process proves to nats-server who it is.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;
use engine::NatsSecurity;
use secrecy::SecretString;

/// How a process proves to nats-server who it is, and how it knows the server. A user and password in the
/// address are another way.
#[derive(Debug, Clone, Default, Args)]
pub struct NatsOptions {
    /// A file with the key of its user at nats-server, as `tradewind init` makes them
    #[arg(
        id = "nats_key_file",
        long = "nats-key-file",
        global = true,
        env = "TRADEWIND_NATS_KEY_FILE",
        value_name = "FILE"
    )]
    pub key_file: Option<PathBuf>,

    /// A file with the credentials of its user at nats-server: a token and its key (`.creds`)
    #[arg(
        id = "nats_creds_file",
        long = "nats-creds-file",
        global = true,
        env = "TRADEWIND_NATS_CREDS_FILE",
        value_name = "FILE"
    )]
    pub creds_file: Option<PathBuf>,

    /// A file of certificates (PEM) of authorities that sign nats-server's; with `tls://` addresses
    #[arg(
        id = "nats_ca_file",
        long = "nats-ca-file",
        global = true,
        env = "TRADEWIND_NATS_CA_FILE",
        value_name = "FILE"
    )]
    pub ca_file: Option<PathBuf>,

    /// The file of its certificate (PEM), for a nats-server that asks for one
    #[arg(
        id = "nats_cert_file",
        long = "nats-cert-file",
        global = true,
        env = "TRADEWIND_NATS_CERT_FILE",
        value_name = "FILE"
    )]
    pub cert_file: Option<PathBuf>,

    /// The file of the key of that certificate (PEM)
    #[arg(
        id = "nats_cert_key_file",
        long = "nats-cert-key-file",
        global = true,
        env = "TRADEWIND_NATS_CERT_KEY_FILE",
        value_name = "FILE"
    )]
    pub cert_key_file: Option<PathBuf>,

    /// What the files say, once they are read.
    #[arg(skip)]
    pub security: NatsSecurity,
}

impl NatsOptions {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// When one cannot be read, or they do not go together.
    pub(super) fn read_files(&mut self) -> Result<()> {
        let read = |file: &Option<PathBuf>| -> Result<Option<SecretString>> {
            let Some(file) = file else { return Ok(None) };
            let text = std::fs::read_to_string(file);
            Ok(Some(text.with_context(|| format!("read {}", file.display()))?.into()))
        };
        if self.key_file.is_some() && self.creds_file.is_some() {
            bail!("nats-key-file and nats-creds-file are both set: unset one of them");
        }
        let certificate = match (&self.cert_file, &self.cert_key_file) {
            (Some(certificate), Some(key)) => Some((certificate.clone(), key.clone())),
            (None, None) => None,
            _ => bail!("nats-cert-file and nats-cert-key-file go together: set both of them"),
        };
        self.security = NatsSecurity {
            nkey: read(&self.key_file)?,
            credentials: read(&self.creds_file)?,
            ca_file: self.ca_file.clone(),
            certificate,
        };
        Ok(())
    }
}
