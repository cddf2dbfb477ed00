//! What is kept of a response.

use http_body_util::BodyExt;
use hyper::body::{Body, Bytes};
use tokio::time::{Instant, timeout_at};

/// The most bytes that are read of the body of a response; a longer one is not read further, and its
/// connection is closed.
pub(crate) const MAX_RESPONSE_BYTES: usize = 16 * 1_024;
/// The most bytes that are kept of the body of a response.
pub const MAX_EXCERPT_BYTES: usize = 4_096;

/// The most bytes that are looked at for what is secret: so much more than are kept that nothing
/// secret is cut in two where the excerpt ends.
const MAX_EXAMINED_BYTES: usize = 2 * MAX_EXCERPT_BYTES;
/// What stands where something secret stood.
const REDACTED: &str = "[redacted]";
/// What is secret if it is shorter is too short to be looked for: it would be found in any text.
const MIN_SECRET_CHARS: usize = 4;

/// Reads a body until it ends, fails, is too long or `deadline` has passed; returns its beginning,
/// for [`redact`].
///
/// A body that is read to its end leaves its connection usable; dropped earlier, it is closed.
pub(crate) async fn read<B>(mut body: B, deadline: Instant) -> Vec<u8>
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut kept = Vec::new();
    let mut read = 0;
    while !body.is_end_stream() && read <= MAX_RESPONSE_BYTES {
        let Ok(Some(Ok(frame))) = timeout_at(deadline, body.frame()).await else { break };
        let Some(data) = frame.data_ref() else { continue };
        let room = MAX_EXAMINED_BYTES - kept.len();
        kept.extend_from_slice(&data[..data.len().min(room)]);
        read += data.len();
    }
    kept
}

/// What may be shown of a body: text, without the `secrets` of the request, which some receivers
/// repeat, and without what looks like an e-mail address or a webhook's secret.
pub(crate) fn redact<'a>(body: &[u8], secrets: impl IntoIterator<Item = &'a str>) -> String {
    let mut text = String::from_utf8_lossy(body).replace(is_unprintable, " ");
    for secret in secrets {
        let parts = secret.split(|it| it == ' ' || is_unprintable(it));
        for part in parts.filter(|part| part.len() >= MIN_SECRET_CHARS) {
            if text.contains(part) {
                text = text.replace(part, REDACTED);
            }
        }
    }
    if text.contains(['@', '_']) {
        text = redact_words(&text);
    }
    truncate(&mut text, MAX_EXCERPT_BYTES);
    text
}

/// Some databases store no NUL; other control characters confuse terminals.
fn is_unprintable(character: char) -> bool {
    character.is_control() && !['\n', '\t'].contains(&character)
}

fn redact_words(text: &str) -> String {
    let is_separator = |it: char| it.is_whitespace() || "\"'<>()[]{},;:=&?/\\|".contains(it);
    let words = text.split_inclusive(is_separator).map(|word| {
        let end = word.trim_end_matches(is_separator);
        if is_personal(end) { format!("{REDACTED}{}", &word[end.len()..]) } else { word.to_owned() }
    });
    words.collect()
}

fn is_personal(word: &str) -> bool {
    let is_address =
        word.split_once('@').is_some_and(|(user, host)| !user.is_empty() && host.contains('.'));
    is_address || word.contains("whsec_") || word.contains("whsk_")
}

/// Cuts a text where it exceeds `limit` bytes, between two characters.
fn truncate(text: &mut String, limit: usize) {
    if text.len() > limit {
        text.truncate(text.floor_char_boundary(limit));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_secret_in_the_request_is_not_kept() {
        let body = b"got authorization: Bearer s3cret-key and v1,abcd= from you";
        let shown = redact(body, ["Bearer s3cret-key", "v1,abcd="]);
        assert_eq!(shown, "got authorization: [redacted] [redacted] and [redacted] from you");
    }

    #[test]
    fn a_secret_with_a_control_character_is_not_kept() {
        let secret = "s3cret\u{85}hidden";
        assert_eq!(redact(secret.as_bytes(), [secret]), "[redacted] [redacted]");
    }

    #[test]
    fn addresses_of_people_and_secrets_are_not_kept() {
        let shown = redact(br#"{"mail":"ann@example.org","key":"whsec_abc"} a@b _ @x"#, []);
        assert_eq!(shown, r#"{"mail":"[redacted]","key":"[redacted]"} a@b _ @x"#);
    }

    #[test]
    fn a_secret_at_the_end_of_the_excerpt_is_not_kept_in_part() {
        let body = format!("{}Bearer-s3cret", "x".repeat(MAX_EXCERPT_BYTES - 6));
        assert_eq!(redact(body.as_bytes(), ["Bearer-s3cret"])[MAX_EXCERPT_BYTES - 6..], *"[redac");
    }

    #[test]
    fn what_is_no_text_becomes_text_of_bounded_length() {
        assert_eq!(redact(b"a\0b\xff\n", []), "a b\u{fffd}\n");
        let shown = redact(&[0xff; MAX_EXCERPT_BYTES], []);
        assert_eq!(shown.len(), MAX_EXCERPT_BYTES / 3 * 3, "it is cut between two characters");
    }

    #[test]
    fn a_short_value_is_not_looked_for() {
        assert_eq!(redact(b"a banana", ["a", "1"]), "a banana");
    }
}
