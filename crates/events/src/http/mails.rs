//! Mails to the customers of orders, as JSON. Nothing here shows an address or what a mail says.

use protocol::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::webhooks::EndpointStatistics;

/// How a shop sends mails.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MailSettingsView {
    /// The types of events of which mails are sent; empty when none are.
    pub events: Vec<String>,
    /// Who sends them.
    pub sender: SenderView,
    /// Their language: a BCP 47 tag.
    pub language: String,
    /// Templates that take the place of the built-in ones.
    pub templates: Vec<MailTemplateView>,
    /// Counts the changes of these settings, from 1.
    pub version: u64,
    /// When they were made.
    pub created_at: Timestamp,
    /// When they last changed.
    pub updated_at: Timestamp,
    /// What became of the mails.
    pub statistics: EndpointStatistics,
    /// Until when none are sent because most attempts of late failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_until: Option<Timestamp>,
}

/// Who sends mails, as the receiver sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SenderView {
    /// The name.
    pub name: String,
    /// The address.
    pub address: String,
}

/// What the mail of an event looks like.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MailTemplateView {
    /// The type of the event.
    pub event: String,
    /// The template of its subject.
    pub subject: String,
    /// The template of its text.
    pub text: String,
    /// The template of its HTML.
    pub html: String,
}

/// A page of mails.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MailList {
    /// The mails, by number.
    pub mails: Vec<MailView>,
    /// The `after` of the next page; null at the end.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub next: Option<String>,
}

/// A mail: an event of an order, to its customer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MailView {
    /// Its number among the mails of the shop: dense, from 1.
    pub seq: u64,
    /// The type of the event.
    pub event_type: String,
    /// The position of the event in the log of orders.
    pub position: u64,
    /// `pending`, `retry_at`, `delivered`, `exhausted`, `held` or `aborted`.
    pub state: String,
    /// How many attempts have failed.
    pub failed_attempts: u32,
    /// When it is tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_at: Option<Timestamp>,
    /// What went wrong last.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub last_error: String,
    /// The reply code of SMTP of the last failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_code: Option<u32>,
    /// When it was scheduled.
    pub scheduled_at: Timestamp,
    /// The attempts of the last 30 days, the oldest first; only where one mail is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<Vec<MailAttemptView>>,
}

/// An attempt at a mail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MailAttemptView {
    /// Counts the attempts at the mail, from 1; from 1 again when it was asked for again.
    pub number: u32,
    /// When it was made.
    pub at: Timestamp,
    /// The time that it took, in microseconds.
    pub latency_us: u64,
    /// The reply code of SMTP, if there was a reply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<u32>,
    /// The enhanced status code of that reply, such as `5.1.1`, if it had one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub enhanced_code: String,
    /// What went wrong; empty when the mail server accepted it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub error: String,
    /// Whether a person asked for it again.
    pub is_resend: bool,
    /// Its `Message-ID`; empty when nothing was sent.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message_id: String,
}

/// A mail that is sent once more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MailResend {
    /// Its number.
    pub seq: u64,
}
