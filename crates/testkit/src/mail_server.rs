//! A mail server: aiosmtpd, in a process of its own.

use std::{
    path::Path,
    process::Stdio,
    sync::{Arc, Mutex},
};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::{Child, ChildStdin, Command},
};

use crate::{Authority, eventually, install_tools};

/// A mail that a [`MailServer`] has accepted, or has taken before it misbehaved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedMail {
    /// Whom it is from, as the envelope has it.
    pub from: String,
    /// Whom it is to, as the envelope has it.
    pub to: Vec<String>,
    /// The mail.
    pub message: String,
    /// Which connection it came over, from 1.
    pub connection: u64,
    /// Whether that was encrypted.
    pub is_encrypted: bool,
    /// Who had logged in there.
    pub user: Option<String>,
}

impl ReceivedMail {
    /// A header of it; empty without one.
    pub fn header(&self, name: &str) -> &str {
        let head = self.message.split("\r\n\r\n").next().unwrap_or_default();
        let named = head.split("\r\n").filter_map(|line| line.split_once(": "));
        let mut values = named.filter(|(key, _)| key.eq_ignore_ascii_case(name));
        values.next().map_or("", |(_, value)| value)
    }
}

/// How a [`MailServer`] is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailTls {
    /// Without encryption.
    None,
    /// After STARTTLS.
    Starttls,
    /// With encryption from the first byte on.
    Implicit,
}

/// A mail server. It misbehaves as a test wants it, by who a mail is to.
pub struct MailServer {
    port: u16,
    input: tokio::sync::Mutex<ChildStdin>,
    seen: Arc<Mutex<Seen>>,
    _child: Child,
    _files: Option<TempDir>,
}

#[derive(Default)]
struct Seen {
    port: Option<u16>,
    mails: Vec<ReceivedMail>,
    set: Vec<String>,
}

impl MailServer {
    /// Starts one without encryption or login; `folder` keeps what is installed for it between runs. Nothing
    /// where it cannot be had, which is a failure where CI runs.
    pub async fn start(folder: &Path) -> Option<Self> {
        Self::start_with(folder, json!({"tls": "none"})).await
    }

    /// Starts one at `localhost` that asks for this user and password.
    pub async fn start_encrypted(
        folder: &Path,
        tls: MailTls,
        authority: &Authority,
        (user, password): (&str, &str),
    ) -> Option<Self> {
        let (certificate, key) = authority.certificate(&["localhost"]);
        let files = tempfile::tempdir().expect("a temporary folder");
        let write = |name: &str, text: &str| {
            let path = files.path().join(name);
            std::fs::write(&path, text).expect("it can be written");
            path.display().to_string()
        };
        let tls = match tls {
            MailTls::None => "none",
            MailTls::Starttls => "starttls",
            MailTls::Implicit => "implicit",
        };
        let options = json!({"tls": tls, "user": user, "password": password,
            "certificate": write("certificate.pem", &certificate), "key": write("key.pem", &key)});
        let server = Self::start_with(folder, options).await?;
        // It reads the files for each connection.
        Some(Self { _files: Some(files), ..server })
    }

    async fn start_with(folder: &Path, options: Value) -> Option<Self> {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("mail-server");
        let tools = install_tools(&program, folder).await?;
        let mut child = Command::new(tools.join("python/bin/python"))
            .arg(program.join("serve.py"))
            .arg(options.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("it starts");
        let input = child.stdin.take().expect("it is piped");
        let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let noted = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                let line: Value = serde_json::from_str(&line).expect("a line is JSON");
                noted.lock().expect("is free").note(&line);
            }
        });
        let port = || seen.lock().expect("is free").port;
        eventually("the mail server listens", async || port().is_some()).await;
        let port = port()?;
        Some(Self { port, input: input.into(), seen, _child: child, _files: None })
    }

    /// Its port, at 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Sets what becomes of mails to addresses with that part before the `@`: an answer to RCPT such as
    /// `450 4.2.1 later`, or `hang`, `close`, `hang_after_data`, `close_after_data`, `accept`.
    pub async fn behave(&self, mailbox: &str, behaviour: &str) {
        let count = || {
            let seen = self.seen.lock().expect("is free");
            seen.set.iter().filter(|set| *set == mailbox).count()
        };
        let before = count();
        let line = json!({"mailbox": mailbox, "behaviour": behaviour}).to_string() + "\n";
        self.input.lock().await.write_all(line.as_bytes()).await.expect("it reads");
        eventually("it behaves so", async || count() > before).await;
    }

    /// The mails that came, in their order: all that it has accepted until now.
    pub async fn received(&self) -> Vec<ReceivedMail> {
        // It says that it has taken this over after what it said before.
        self.behave("", "accept").await;
        self.seen.lock().expect("is free").mails.clone()
    }
}

impl Seen {
    fn note(&mut self, line: &Value) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        if let Some(port) = line["port"].as_u64() {
            self.port = u16::try_from(port).ok();
        }
        if let Some(mailbox) = line["set"].as_str() {
            self.set.push(mailbox.to_owned());
        }
        let mail = &line["mail"];
        if mail.is_object() {
            self.mails.push(ReceivedMail {
                from: text(&mail["from"]),
                to: mail["to"].as_array().into_iter().flatten().map(text).collect(),
                message: text(&mail["message"]),
                connection: mail["connection"].as_u64().unwrap_or_default(),
                is_encrypted: mail["is_encrypted"] == true,
                user: mail["user"].as_str().map(str::to_owned),
            });
        }
    }
}
