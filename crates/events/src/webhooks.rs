//! What webhook endpoints and the mails of a shop can be: the limits of their settings, which the gateway names
//! to clients and the service enforces.
//!
//! The mails of a shop are deliveries to an endpoint of its own ([`mail_endpoint_id`]), which no route of
//! webhooks shows.

use protocol::id::{ParseError, Shop};

use crate::proto::notify;

/// The most filters of types of an endpoint.
pub const MAX_EVENT_TYPES: usize = 100;
/// The most headers of an endpoint.
pub const MAX_HEADERS: usize = 20;
/// The most deliveries in a second that an endpoint can ask for.
pub const MAX_PER_SECOND: u32 = 100_000;
/// The most deliveries under way that an endpoint can ask for.
pub const MAX_IN_FLIGHT: u32 = 64;
/// The most attempts after the first that an endpoint's own schedule can have.
pub const MAX_RETRIES: usize = 23;
/// The shortest pause of an endpoint's own schedule, in seconds.
pub const MIN_PAUSE_S: u32 = 5;
/// The longest that an endpoint's own schedule can take, in seconds: 8 days.
pub const MAX_SCHEDULE_S: u32 = 8 * 86_400;
/// The most characters of a description or a note.
pub const MAX_TEXT_LENGTH: usize = 500;

/// The most characters of the name of a sender of mails.
pub const MAX_SENDER_NAME_LENGTH: usize = 100;
/// The most characters of an address of mail.
pub const MAX_ADDRESS_LENGTH: usize = 254;
/// The most bytes of all templates of a shop together: they are in one event.
pub const MAX_TEMPLATES_BYTES: usize = 200 << 10;
/// The longest id: that of the mails of a shop with the longest name.
const MAX_ID_LENGTH: usize = 72;
/// How the id of the endpoint of mails begins, and no other.
const MAIL_PREFIX: &str = "mail_";

/// How many bytes of [`MAX_TEMPLATES_BYTES`] these templates are.
pub fn templates_bytes(templates: &[notify::MailTemplate]) -> usize {
    templates.iter().map(|it| it.subject.len() + it.text.len() + it.html.len()).sum()
}

/// The endpoint to which the mails of a shop are deliveries.
pub fn mail_endpoint_id(shop: &Shop) -> String {
    format!("{MAIL_PREFIX}{shop}")
}

/// Whether it is the endpoint of the mails of a shop.
pub fn is_mail_endpoint(id: &str) -> bool {
    id.starts_with(MAIL_PREFIX)
}

/// Reads the id of an endpoint, a replay or an abort; `what` names it in the error.
///
/// # Errors
///
/// When it is not 1 to 72 letters, digits, hyphens and underscores.
pub fn parse_id(what: &'static str, text: &str) -> Result<String, ParseError> {
    let is_id = (1..=MAX_ID_LENGTH).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    let rule = "must be 1 to 72 letters, digits, hyphens and underscores";
    if is_id { Ok(text.to_owned()) } else { Err(ParseError::new(what, rule, text)) }
}

/// What a sealed value of an endpoint is bound to: it opens for this endpoint alone.
pub fn sealing_context(shop: &Shop, endpoint_id: &str) -> String {
    format!("{shop}/{endpoint_id}")
}
