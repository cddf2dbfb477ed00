//! What is kept of a response.

use http_body_util::BodyExt;
use hyper::body::{Body, Bytes};
use tokio::time::{Instant, timeout_at};

/// The most bytes that are read of the body of a response; a longer one is not read further, and its
/// connection is closed.
pub(crate) const MAX_RESPONSE_BYTES: usize = 16 * 1_024;
/// The most bytes that are kept of the body of a response.
pub const MAX_EXCERPT_BYTES: usize = 4_096;

/// The most bytes that are looked at for what is secret: so much more than are kept that little is lost when what
/// was redacted is shorter than before.
const MAX_EXAMINED_BYTES: usize = 2 * MAX_EXCERPT_BYTES;
/// What stands where something secret stood.
const REDACTED: &str = "[redacted]";
/// What is secret if it is shorter is too short to be looked for: it would be found in any text.
const MIN_SECRET_BYTES: usize = 4;
/// How often the escapes of JSON are undone: JSON is often a string of JSON.
const MAX_ESCAPES: usize = 2;

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
    let text = String::from_utf8_lossy(body).replace(is_unprintable, " ");
    let mut text = redact_parts(text, &parts(secrets));
    if text.contains(['@', '_']) {
        text = redact_words(&text);
    }
    truncate(&mut text, MAX_EXCERPT_BYTES);
    text
}

/// What is looked for: the words of each secret, also as a receiver reads them that takes headers for Latin-1.
fn parts<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let in_latin_1 = |secret: &str| secret.bytes().map(char::from).collect::<String>();
    let read = secrets.into_iter().flat_map(|secret| [secret.to_owned(), in_latin_1(secret)]);
    let mut parts: Vec<String> = Vec::new();
    for secret in read {
        let words = secret.split(|it| it == ' ' || is_unprintable(it));
        parts.extend(words.filter(|it| it.len() >= MIN_SECRET_BYTES).map(str::to_owned));
    }
    parts.sort_unstable();
    parts.dedup();
    parts
}

/// All parts are looked for in the whole text before anything is replaced, so that one that begins another leaves
/// nothing of it.
fn redact_parts(text: String, parts: &[String]) -> String {
    let mut is_secret = vec![false; text.len()];
    let mut reading = Reading::of(&text);
    for _ in 0..=MAX_ESCAPES {
        for part in parts {
            reading.mark(part, &mut is_secret);
        }
        reading = reading.unescaped();
    }
    if !is_secret.contains(&true) {
        return text;
    }
    let mut shown = String::with_capacity(text.len());
    for (at, character) in text.char_indices() {
        if !is_secret[at] {
            shown.push(character);
        } else if at == 0 || !is_secret[at - 1] {
            shown.push_str(REDACTED);
        }
    }
    shown
}

/// A text with some of its escapes undone.
struct Reading {
    text: String,
    /// Where each byte of the text, and its end, is in what was received.
    origin: Vec<usize>,
}

impl Reading {
    fn of(text: &str) -> Self {
        Self { text: text.to_owned(), origin: (0..=text.len()).collect() }
    }

    /// The same with the escapes of JSON undone, up to one that is cut off.
    fn unescaped(&self) -> Self {
        let capacity = self.text.len();
        let mut text = String::with_capacity(capacity);
        let (mut origin, mut at) = (Vec::with_capacity(capacity + 1), 0);
        while let Some((character, len)) = unescape(&self.text[at..]) {
            text.push(if is_unprintable(character) { ' ' } else { character });
            origin.resize(text.len(), self.origin[at]);
            at += len;
        }
        origin.push(self.origin[at]);
        Self { text, origin }
    }

    /// Marks in what was received where `part` is in the text.
    fn mark(&self, part: &str, is_secret: &mut [bool]) {
        for (start, found) in self.text.match_indices(part) {
            is_secret[self.origin[start]..self.origin[start + found.len()]].fill(true);
        }
        // What was received may end within the part, and within a character of it.
        let text = self.text.trim_end_matches(char::REPLACEMENT_CHARACTER);
        let is_cut = |len: &usize| part.get(..*len).is_some_and(|it| text.ends_with(it));
        if let Some(len) = (MIN_SECRET_BYTES..part.len()).rev().find(is_cut) {
            is_secret[self.origin[text.len() - len]..].fill(true);
        }
    }
}

/// The first character of a text with an escape of JSON undone, and its bytes in the text; none at the end, and where
/// the escape is cut off.
fn unescape(text: &str) -> Option<(char, usize)> {
    let mut characters = text.chars();
    let first = characters.next()?;
    if first != '\\' {
        return Some((first, first.len_utf8()));
    }
    match characters.next()? {
        escaped @ ('"' | '\\' | '/') => Some((escaped, 2)),
        'u' => {
            let unit = |at: usize| u16::from_str_radix(text.get(at..at + 4)?, 16).ok();
            let second = (text.get(6..8) == Some("\\u")).then(|| unit(8)).flatten();
            let units = unit(2).into_iter().flat_map(|first| [first].into_iter().chain(second));
            match char::decode_utf16(units).next() {
                Some(Ok(escaped)) => Some((escaped, 6 * escaped.len_utf16())),
                Some(Err(_)) | None => (text.len() >= 12).then_some((first, 1)),
            }
        }
        _ => Some((first, 1)),
    }
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
    fn a_secret_that_a_receiver_escapes_is_not_kept() {
        let shown = redact(br#""Bearer ab\/cdef""#, ["Bearer ab/cdef"]);
        assert_eq!(shown, r#""[redacted] [redacted]""#);
        // As PHP, a string of JSON within JSON, and Python and Node write it.
        for body in [
            r#"{"key":"h\u00e9r\/isson\ud83d\ude00"}"#,
            r#"{"key":"h\\u00E9r\\\/isson\\ud83d\\ude00"}"#,
            r#"{"key":"h\u00c3\u00a9r/isson\u00f0\u009f\u0098\u0080"}"#,
            "{\"key\":\"hÃ©r/isson\"}",
        ] {
            let shown = redact(body.as_bytes(), ["hér/isson😀", "hér/isson"]);
            assert!(!shown.contains("isson") && !shown.contains("00e9"), "{shown}");
            assert!(shown.starts_with(r#"{"key":"[redacted]"#), "{shown}");
        }
        assert_eq!(redact(br"a \u12 \ud83d \x \", ["secret"]), r"a \u12 \ud83d \x \");
    }

    #[test]
    fn a_secret_that_begins_another_leaves_nothing_of_it() {
        assert_eq!(redact(b"got tokentoken-2!", ["token", "token-2"]), "got [redacted]!");
        assert_eq!(redact(b"got token-2!", ["token-2", "token"]), "got [redacted]!");
    }

    #[test]
    fn nothing_is_kept_of_a_secret_where_the_body_was_cut_off() {
        let numbers: Vec<_> = (0..600).map(|number| format!("{number:05}")).collect();
        let secret = numbers.concat();
        let body = secret.repeat(3);
        assert_eq!(redact(&body.as_bytes()[..MAX_EXAMINED_BYTES], [&*secret]), "[redacted]");
        // Within a character, and within an escape.
        assert_eq!(redact(&"got hérisson".as_bytes()[..6], ["hérisson"]), "got h\u{fffd}");
        assert_eq!(redact(&"got abcdé".as_bytes()[..9], ["abcdéf"]), "got [redacted]");
        assert_eq!(redact(br"got abcd\u00", ["abcdéf"]), "got [redacted]");
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
    fn as_much_is_read_and_kept_as_the_contract_says() {
        assert_eq!((MAX_RESPONSE_BYTES, MAX_EXCERPT_BYTES), (16_384, 4_096));
    }

    #[test]
    fn a_short_value_is_not_looked_for() {
        assert_eq!(redact(b"a banana", ["a", "1"]), "a banana");
    }
}
