//! Reads what a client says of the mails of a shop.

use events::{
    proto::notify,
    webhooks::{MAX_ADDRESS_LENGTH, MAX_SENDER_NAME_LENGTH, MAX_TEMPLATES_BYTES, templates_bytes},
};
use mail::{EVENT_TYPES, MAX_TEMPLATE_BYTES, Template, is_address};
use protocol::id::ParseError;

use crate::{
    fields::{Errors, Path, list, object, text, words},
    json::Node,
};

/// The language of the built-in templates.
const DEFAULT_LANGUAGE: &str = "en";

/// Reads the settings of mails: all of them, not only those that change.
pub(super) fn settings(
    node: &Node<'_>,
    path: &Path<'_>,
    errors: &mut Errors,
) -> Option<notify::SetMail> {
    object(node, path, errors, |fields| {
        let event = |node: &Node<'_>, path: &Path<'_>, errors: &mut Errors| {
            text(event_type)(node, path, errors)
        };
        let events = fields.required("events", list(EVENT_TYPES.len(), event));
        let sender = fields.required("sender", sender);
        let language = fields.optional("language", text(language));
        let templates = fields.optional("templates", list(EVENT_TYPES.len(), template));
        let templates = templates.unwrap_or_default();
        let is_twice = |index: usize| {
            templates[..index].iter().any(|it| it.event_type == templates[index].event_type)
        };
        if (0..templates.len()).any(is_twice) {
            fields.wrong("templates", "templates has two of one event");
        }
        if templates_bytes(&templates) > MAX_TEMPLATES_BYTES {
            let rule = format!("templates must have at most {MAX_TEMPLATES_BYTES} bytes together");
            fields.wrong("templates", rule);
        }
        let (sender_name, sender_address) = sender?;
        let mail = notify::MailSettings {
            sender_name,
            sender_address,
            language: language.unwrap_or_else(|| DEFAULT_LANGUAGE.to_owned()),
            templates,
        };
        let mut event_types = events?;
        event_types.sort_unstable();
        event_types.dedup();
        Some(notify::SetMail { event_types, mail: Some(mail), expected_version: None })
    })
}

fn event_type(value: &str) -> Result<String, ParseError> {
    let rule = "must be order.confirmed, order.cancelled, order.shipped or order.refunded";
    let error = || ParseError::new("event", rule, value);
    EVENT_TYPES.contains(&value).then(|| value.to_owned()).ok_or_else(error)
}

fn sender(node: &Node<'_>, path: &Path<'_>, errors: &mut Errors) -> Option<(String, String)> {
    object(node, path, errors, |fields| {
        let name = fields.required("name", text(name));
        let address = fields.required("address", text(address));
        Some((name?, address?))
    })
}

fn name(value: &str) -> Result<String, ParseError> {
    let rule = "must be 1 to 100 characters without control characters";
    words("name", rule, MAX_SENDER_NAME_LENGTH, value)
}

fn address(value: &str) -> Result<String, ParseError> {
    let rule = "must be an e-mail address of at most 254 characters";
    let is_good = value.len() <= MAX_ADDRESS_LENGTH && value.is_ascii() && is_address(value);
    let error = || ParseError::new("address", rule, value);
    is_good.then(|| value.to_owned()).ok_or_else(error)
}

fn language(value: &str) -> Result<String, ParseError> {
    let is_tag = (2..=35).contains(&value.len())
        && value.split('-').all(|part| {
            (1..=8).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric())
        });
    let error = || ParseError::new("language", "must be a language tag such as en or de-AT", value);
    is_tag.then(|| value.to_owned()).ok_or_else(error)
}

fn template(node: &Node<'_>, path: &Path<'_>, errors: &mut Errors) -> Option<notify::MailTemplate> {
    let (event_type, template) = object(node, path, errors, |fields| {
        let event_type = fields.required("event", text(event_type));
        let subject = fields.required("subject", text(source));
        let body = fields.required("text", text(source));
        let html = fields.required("html", text(source));
        Some((event_type?, Template { subject: subject?, text: body?, html: html? }))
    })?;
    if let Err(error) = template.check() {
        errors.add(path, error);
        return None;
    }
    let Template { subject, text, html } = template;
    Some(notify::MailTemplate { event_type, subject, text, html })
}

fn source(value: &str) -> Result<String, ParseError> {
    let rule = "must be 1 to 32768 bytes without control characters but line breaks and tabs";
    let is_good = (1..=MAX_TEMPLATE_BYTES).contains(&value.len())
        && value.chars().all(|it| !it.is_control() || ['\n', '\r', '\t'].contains(&it));
    let error = || ParseError::new("template", rule, &value.chars().take(20).collect::<String>());
    is_good.then(|| value.to_owned()).ok_or_else(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields::line;

    fn read(body: &str) -> Result<notify::SetMail, Vec<(String, String)>> {
        let read = line(body.as_bytes(), settings);
        read.map_err(|errors| errors.into_iter().map(|it| (it.field, it.detail)).collect())
    }

    #[test]
    fn mails_need_events_and_a_sender_and_are_in_english() {
        let set = read(
            r#"{"events":["order.shipped","order.confirmed","order.shipped"],
                "sender":{"name":"Acme","address":"orders@acme.example"}}"#,
        );
        let set = set.expect("is good");
        assert_eq!(set.event_types, ["order.confirmed", "order.shipped"]);
        let mail = set.mail.expect("they are there");
        assert_eq!((&*mail.language, mail.templates.len()), ("en", 0));
    }

    #[test]
    fn every_wrong_field_is_named() {
        let errors = read(
            r#"{"events":["order.placed"],"sender":{"name":"A\nB","address":"nobody"},"language":"english please",
                "templates":[{"event":"order.shipped","subject":"s","text":"{{ order.numbr }}","html":"h"}],
                "more":1}"#,
        )
        .expect_err("is wrong");
        let named: Vec<_> = errors.iter().map(|(field, _)| field.as_str()).collect();
        for field in
            ["events[0]", "sender.name", "sender.address", "language", "templates[0]", "more"]
        {
            assert!(named.contains(&field), "{field} is not among {named:?}");
        }
    }

    #[test]
    fn the_templates_of_a_shop_have_a_limit_together() {
        let body = |bytes: usize| {
            let part = "x".repeat(bytes);
            let templates = EVENT_TYPES.map(|event| {
                format!(r#"{{"event":"{event}","subject":"s","text":"{part}","html":"{part}"}}"#)
            });
            let templates = templates.join(",");
            format!(
                r#"{{"events":[],"sender":{{"name":"A","address":"a@b.example"}},"templates":[{templates}]}}"#
            )
        };
        // Each part may be as long as that: it is the eight of them that are too much.
        let errors = read(&body(MAX_TEMPLATE_BYTES)).expect_err("is too much");
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert_eq!(errors[0].0, "templates");
        assert!(errors[0].1.contains("204800 bytes"), "{errors:?}");
        let most = MAX_TEMPLATES_BYTES / (2 * EVENT_TYPES.len()) - 1;
        assert!(read(&body(most)).is_ok());
    }

    #[test]
    fn an_event_has_one_template() {
        let template = r#"{"event":"order.shipped","subject":"s","text":"t","html":"h"}"#;
        let body = |templates: &str| {
            format!(
                r#"{{"events":[],"sender":{{"name":"A","address":"a@b.example"}},"templates":[{templates}]}}"#
            )
        };
        assert!(read(&body(template)).is_ok());
        assert!(read(&body(&format!("{template},{template}"))).is_err());
    }
}
