//! Finds the fields of a line that is no JSON, so that it can be told whose line it is.

use serde_json::Value;

/// The members of those names that can be found: a name in quotes, a colon, and a text in quotes or a plain value. Of a
/// name that is there twice, the first one counts.
pub(super) fn salvage(text: &str, known: &[&'static str]) -> Vec<(&'static str, Value)> {
    let (mut members, mut rest) = (Vec::new(), text);
    while let Some((_, from_name)) = rest.split_once('"') {
        let Some((name, behind)) = from_name.split_once('"') else { break };
        let Some(value) = behind.trim_start().strip_prefix(':') else {
            // It was the end of a text: the quote behind it may begin a name.
            rest = &from_name[name.len()..];
            continue;
        };
        let (value, behind) = value_in(value.trim_start());
        rest = behind;
        let known = known.iter().find(|known| **known == name);
        let is_new = |known: &&&str| members.iter().all(|(member, _)| member != *known);
        members.extend(known.filter(is_new).zip(value).map(|(known, value)| (*known, value)));
    }
    members
}

/// The value that a text begins with, where it is plain, and what is behind it.
fn value_in(text: &str) -> (Option<Value>, &str) {
    if let Some(quoted) = text.strip_prefix('"') {
        let end = quoted.find('"').unwrap_or(quoted.len());
        let value = &quoted[..end];
        // What has escapes is not worth the effort.
        let value = Some(value).filter(|value| end < quoted.len() && !value.contains('\\'));
        return (value.map(Value::from), quoted.get(end + 1..).unwrap_or_default());
    }
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    let end = text.find(|c| !is_plain(c)).unwrap_or(text.len());
    (Some(&text[..end]).filter(|value| !value.is_empty()).map(Value::from), &text[end..])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const KNOWN: &[&str] = &["sku", "document", "quantity"];

    #[test]
    fn the_fields_of_what_is_no_json_are_found() {
        for (text, expected) in [
            (r#"{"sku":"A","quantity":01,"document" : "D-1"}"#, "A 01 D-1"),
            (r#"{"sku":"A","quantity":1 "document":"D-1"}"#, "A 1 D-1"),
            (r#"{"sku":"A","note":"it's "new"","quantity":1,"document":"D-1""#, "A 1 D-1"),
            (r#""sku":"A","sku":"B","document":"D-1","quantity":1"#, "A 1 D-1"),
            (r#"{"sku":"A","quantity":1,"document":"D-1","note":"sku"#, "A 1 D-1"),
        ] {
            let members = salvage(text, KNOWN);
            let value = |name: &str| {
                let member = members.iter().find(|(member, _)| *member == name);
                member.and_then(|(_, value)| value.as_str()).unwrap_or("-").to_owned()
            };
            let found = ["sku", "quantity", "document"].map(value).join(" ");
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn what_is_not_plain_is_passed_over() {
        for text in [
            "",
            "\"",
            "no json",
            r#"{"sku":"A\u0041"}"#,
            r#"{"sku":["A"]}"#,
            r#"{"name":"A"}"#,
            r#"{"sku":"A"#,
            r#"{"sku":"#,
            "{\"sku\":\u{e4}}",
        ] {
            assert_eq!(salvage(text, KNOWN), [], "{text}");
        }
        let found = [("sku", json!("A"))];
        assert_eq!(salvage(r#"{"who":"Ann \"A\" B","sku":"A"}"#, KNOWN), found);
    }
}
