//! A mail.

use std::time::SystemTime;

use lettre::{
    Address, Message,
    message::{Mailbox, MultiPart, SinglePart, header::ContentType},
};

use crate::template::Rendered;

/// A mail to one person.
#[derive(Clone)]
pub struct Mail {
    /// The name of the sender.
    pub sender_name: String,
    /// The address of the sender.
    pub sender_address: String,
    /// The address of the receiver.
    pub to: String,
    /// Identifies the mail: what stands left of the `@` in its `Message-ID`. The domain is the sender's.
    pub id: String,
    /// The date that it shows.
    pub date: SystemTime,
    /// The language of its parts: a BCP 47 tag.
    pub language: String,
    /// What it says.
    pub content: Rendered,
}

/// A mail cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum MailError {
    /// The sender's address is none.
    #[error("the address of the sender is none")]
    Sender,
    /// The receiver's address is none. It is not shown.
    #[error("the address of the receiver is none")]
    Receiver,
    /// Something else is wrong with it.
    #[error("the mail cannot be written")]
    Write(#[source] lettre::error::Error),
}

/// Shows nothing personal.
impl std::fmt::Debug for Mail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mail").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Whether a text is the address of a mailbox, as RFC 5321 has it.
pub fn is_address(text: &str) -> bool {
    text.parse::<Address>().is_ok()
}

impl Mail {
    /// Its `Message-ID`.
    pub fn message_id(&self) -> String {
        let domain = self.sender_address.rsplit('@').next().unwrap_or_default();
        format!("<{}@{domain}>", self.id)
    }

    pub(crate) fn message(&self) -> Result<Message, MailError> {
        let from: Address = self.sender_address.parse().map_err(|_| MailError::Sender)?;
        let to: Address = self.to.parse().map_err(|_| MailError::Receiver)?;
        let name = Some(self.sender_name.clone()).filter(|name| !name.is_empty());
        let Rendered { subject, text, html } = &self.content;
        let html = SinglePart::builder()
            .header(ContentType::TEXT_HTML)
            .header(ContentLanguage(self.language.clone()))
            .body(html.clone());
        let plain = SinglePart::builder()
            .header(ContentType::TEXT_PLAIN)
            .header(ContentLanguage(self.language.clone()))
            .body(text.clone());
        Message::builder()
            .from(Mailbox::new(name, from))
            .to(Mailbox::new(None, to))
            .subject(subject)
            .date(self.date)
            .message_id(Some(self.message_id()))
            // So that no robot answers it (RFC 3834).
            .header(AutoSubmitted)
            .multipart(MultiPart::alternative().singlepart(plain).singlepart(html))
            .map_err(MailError::Write)
    }
}

/// Says that the mail was written by a program.
#[derive(Debug, Clone)]
struct AutoSubmitted;

impl lettre::message::header::Header for AutoSubmitted {
    fn name() -> lettre::message::header::HeaderName {
        lettre::message::header::HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> lettre::message::header::HeaderValue {
        lettre::message::header::HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}

/// The language of a part.
#[derive(Debug, Clone)]
struct ContentLanguage(String);

impl lettre::message::header::Header for ContentLanguage {
    fn name() -> lettre::message::header::HeaderName {
        lettre::message::header::HeaderName::new_from_ascii_str("Content-Language")
    }

    fn parse(text: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self(text.to_owned()))
    }

    fn display(&self) -> lettre::message::header::HeaderValue {
        lettre::message::header::HeaderValue::new(Self::name(), self.0.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn mail(to: &str, subject: &str) -> Mail {
        Mail {
            sender_name: "Grüße, \"Acme\"".to_owned(),
            sender_address: "orders@acme.example".to_owned(),
            to: to.to_owned(),
            id: "0190b3a1-0000-7000-8000-000000000001".to_owned(),
            date: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000),
            language: "en".to_owned(),
            content: Rendered {
                subject: subject.to_owned(),
                text: "Thank you, ☃".to_owned(),
                html: "<p>Thank you, ☃</p>".to_owned(),
            },
        }
    }

    #[test]
    fn a_mail_has_two_parts_and_an_id_that_follows_from_the_event() {
        let written =
            mail("ann@example.com", "Your order").message().expect("is a mail").formatted();
        let written = String::from_utf8(written).expect("is ASCII");
        assert!(written.is_ascii(), "servers without 8BITMIME take it");
        for part in [
            "To: ann@example.com\r\n",
            "Message-ID: <0190b3a1-0000-7000-8000-000000000001@acme.example>\r\n",
            "Auto-Submitted: auto-generated\r\n",
            "Content-Language: en\r\n",
            "multipart/alternative",
            "text/plain",
            "text/html",
        ] {
            assert!(written.contains(part), "{part} is not in {written}");
        }
    }

    #[test]
    fn nothing_in_a_subject_adds_a_header_and_no_address_is_shown() {
        let written =
            mail("ann@example.com", "a\r\nBcc: eve@example.com").message().expect("a mail");
        let headers = written.headers().to_string();
        assert!(!headers.lines().any(|line| line.starts_with("Bcc")), "{headers}");
        assert_eq!(written.envelope().to().len(), 1);
        let error = mail("ann@@example.com", "a").message().expect_err("no address");
        assert!(!error.to_string().contains("ann"));
        assert!(!format!("{:?}", mail("ann@example.com", "a")).contains("ann"));
    }
}
