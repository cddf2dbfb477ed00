//! What clients send about the mails of a shop.

use utoipa::ToSchema;

/// All settings of the mails of a shop. Those that are absent have their defaults.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewMailSettings {
    /// The types of events of which mails are sent: `order.confirmed`, `order.cancelled`, `order.shipped`,
    /// `order.refunded`; empty when none are.
    #[schema(max_items = 4)]
    events: Vec<String>,
    /// Who sends them.
    sender: NewSender,
    /// Their language: a BCP 47 tag.
    #[schema(min_length = 2, max_length = 35, default = "en")]
    language: Option<String>,
    /// Templates that take the place of the built-in ones, at most one of each event.
    #[schema(max_items = 4)]
    templates: Option<Vec<NewMailTemplate>>,
}

/// Who sends mails, as the receiver sees it.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewSender {
    /// The name.
    #[schema(min_length = 1, max_length = 100)]
    name: String,
    /// The address.
    #[schema(min_length = 3, max_length = 254)]
    address: String,
}

/// What the mail of an event looks like.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewMailTemplate {
    /// The type of the event.
    event: String,
    /// The template of its subject.
    #[schema(min_length = 1, max_length = 32768)]
    subject: String,
    /// The template of its text.
    #[schema(min_length = 1, max_length = 32768)]
    text: String,
    /// The template of its HTML.
    #[schema(min_length = 1, max_length = 32768)]
    html: String,
}
