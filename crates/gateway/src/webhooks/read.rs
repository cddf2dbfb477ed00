//! Reads what a client says of a webhook endpoint. No error and no log shows a secret or the value of a
//! header.

use std::fmt;

use events::{
    catalogue::{operational_events, public_events},
    proto::notify,
    type_filter::TypeFilter,
    webhooks::{
        MAX_EVENT_TYPES, MAX_HEADERS, MAX_IN_FLIGHT, MAX_PER_SECOND, MAX_RETRIES, MAX_SCHEDULE_S,
        MAX_TEXT_LENGTH, MIN_PAUSE_S,
    },
};
use protocol::id::{ParseError, fingerprint};
use serde_json::json;
use webhook_http::{CustomHeaders, Policy, Secret, WebhookUrl, parse_url};

use crate::{
    fields::{Change, Errors, Fields, Path, integer, list, text, within, words},
    json::Node,
};

/// What a client says of an endpoint. What it does not say is `None`, or kept.
#[derive(Clone, Default)]
pub(super) struct Changes {
    url: Option<WebhookUrl>,
    event_types: Option<Vec<String>>,
    description: Option<String>,
    ordering: Option<notify::Ordering>,
    payload: Option<notify::Payload>,
    max_per_second: Change<u32>,
    max_in_flight: Change<u32>,
    retry_pauses_s: Option<Vec<u32>>,
    /// Names and values.
    pub(super) headers: Option<Vec<(String, String)>>,
}

impl fmt::Debug for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Changes").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Changes {
    /// Reads the settings of a new endpoint: URL and event types are needed.
    pub(super) fn read_new(fields: &mut Fields<'_, '_>, policy: &Policy) -> Option<Self> {
        let url = fields.required("url", url(policy));
        let event_types = fields.required("event_types", event_types);
        let rest = Self::read_rest(fields);
        Some(Self { url: Some(url?), event_types: Some(event_types?), ..rest })
    }

    /// Reads the settings that change.
    pub(super) fn read(fields: &mut Fields<'_, '_>, policy: &Policy) -> Self {
        let url = fields.optional("url", url(policy));
        let event_types = fields.optional("event_types", event_types);
        Self { url, event_types, ..Self::read_rest(fields) }
    }

    fn read_rest(fields: &mut Fields<'_, '_>) -> Self {
        Self {
            url: None,
            event_types: None,
            description: fields.optional("description", text(description)),
            ordering: fields.optional("ordering", text(ordering)),
            payload: fields.optional("payload", text(payload)),
            max_per_second: fields.clearable("max_per_second", integer(max_per_second)),
            max_in_flight: fields.clearable("max_in_flight", integer(max_in_flight)),
            retry_pauses_s: fields.optional("retry_pauses_s", retry_pauses),
            headers: fields.optional("headers", headers),
        }
    }

    /// The fingerprint of a request that asks for these changes of an endpoint, if it has the version that is
    /// expected. The values of the headers are apart.
    pub(super) fn fingerprint(&self, endpoint_id: &str, expected: Option<u64>) -> String {
        let Self {
            url,
            event_types,
            description,
            ordering,
            payload,
            max_per_second,
            max_in_flight,
            retry_pauses_s,
            headers,
        } = self;
        let names: Option<Vec<_>> =
            headers.as_ref().map(|it| it.iter().map(|(name, _)| name.as_str()).collect());
        let limit = |limit: &Change<u32>| match limit {
            Change::Keep => json!([]),
            Change::Clear => json!([null]),
            Change::Set(value) => json!([value]),
        };
        let asked = json!({
            "endpoint_id": endpoint_id,
            "expected": expected,
            "url": url.as_ref().map(WebhookUrl::as_str),
            "event_types": event_types,
            "description": description,
            "ordering": ordering.map(i32::from),
            "payload": payload.map(i32::from),
            "max_per_second": limit(max_per_second),
            "max_in_flight": limit(max_in_flight),
            "retry_pauses_s": retry_pauses_s,
            "headers": names,
        });
        fingerprint(asked.to_string().as_bytes())
    }

    /// The settings with what the client says; the headers apart.
    pub(super) fn apply(&self, before: notify::EndpointSettings) -> notify::EndpointSettings {
        let given = self.clone();
        notify::EndpointSettings {
            url: given.url.map_or(before.url, |url| url.as_str().to_owned()),
            event_types: given.event_types.unwrap_or(before.event_types),
            description: given.description.unwrap_or(before.description),
            ordering: given.ordering.map_or(before.ordering, Into::into),
            payload: given.payload.map_or(before.payload, Into::into),
            max_per_second: given.max_per_second.apply(before.max_per_second),
            max_in_flight: given.max_in_flight.apply(before.max_in_flight),
            retry_pauses_s: given.retry_pauses_s.unwrap_or(before.retry_pauses_s),
            headers: before.headers,
            mail: before.mail,
        }
    }
}

/// Reads a secret that the caller chooses. No error shows it.
pub(super) fn secret(node: &Node<'_>, path: &Path<'_>, errors: &mut Errors) -> Option<Box<Secret>> {
    let Node::Text(value) = node else {
        errors.add(path, format_args!("{} must be text", path.name()));
        return None;
    };
    let parsed = Secret::parse(value).map_err(|error| errors.add(path, error));
    parsed.ok().map(Box::new)
}

fn url(policy: &Policy) -> impl FnOnce(&Node<'_>, &Path<'_>, &mut Errors) -> Option<WebhookUrl> {
    move |node, path, errors| {
        let Node::Text(value) = node else {
            errors.add(path, format_args!("{} must be text, got {node}", path.name()));
            return None;
        };
        parse_url(value, policy).map_err(|error| errors.add(path, error)).ok()
    }
}

fn event_types(node: &Node<'_>, path: &Path<'_>, errors: &mut Errors) -> Option<Vec<String>> {
    let read = list(MAX_EVENT_TYPES, |node, path, errors| text(event_type)(node, path, errors));
    let types = read(node, path, errors)?;
    if matches!(node, Node::List(items) if items.is_empty()) {
        errors.add(path, "event_types must name at least one: `*` stands for all events");
        return None;
    }
    Some(types)
}

/// The rule of a filter of types: it must match an event that there is, so that no slip of the pen is
/// waited for in vain.
pub(super) fn event_type(value: &str) -> Result<String, ParseError> {
    let filter = TypeFilter::parse(value)?;
    let is_public = public_events().iter().any(|event| filter.matches(&event.event_type()));
    if is_public || operational_events().iter().any(|event| filter.matches(event.event_type)) {
        return Ok(value.to_owned());
    }
    let rule = "must match an event that GET /v1/event-types lists";
    Err(ParseError::new("event type", rule, value))
}

fn description(value: &str) -> Result<String, ParseError> {
    if value.is_empty() {
        return Ok(String::new());
    }
    let rule = "must be at most 500 characters without control characters";
    words("description", rule, MAX_TEXT_LENGTH, value)
}

fn ordering(value: &str) -> Result<notify::Ordering, ParseError> {
    match value {
        "parallel" => Ok(notify::Ordering::Parallel),
        "per_key" => Ok(notify::Ordering::PerKey),
        "fifo" => Ok(notify::Ordering::Fifo),
        _ => Err(ParseError::new("ordering", "must be parallel, per_key or fifo", value)),
    }
}

fn payload(value: &str) -> Result<notify::Payload, ParseError> {
    match value {
        "full" => Ok(notify::Payload::Full),
        "thin" => Ok(notify::Payload::Thin),
        _ => Err(ParseError::new("payload", "must be full or thin", value)),
    }
}

pub(super) fn max_per_second(value: i64) -> Result<u32, ParseError> {
    let rule = "must be 1 to 100000, or null for as many as the endpoint takes";
    within("max_per_second", rule, 1..=MAX_PER_SECOND.into(), value).map(|it| it as u32)
}

fn max_in_flight(value: i64) -> Result<u32, ParseError> {
    let rule = "must be 1 to 64, or null for 8";
    within("max_in_flight", rule, 1..=MAX_IN_FLIGHT.into(), value).map(|it| it as u32)
}

fn retry_pauses(node: &Node<'_>, path: &Path<'_>, errors: &mut Errors) -> Option<Vec<u32>> {
    let pause = |value| {
        let allowed = MIN_PAUSE_S.into()..=MAX_SCHEDULE_S.into();
        within("a pause", "must be 5 to 691200 seconds", allowed, value)
    };
    let read = list(MAX_RETRIES, |node, path, errors| integer(pause)(node, path, errors));
    let pauses = read(node, path, errors)?;
    if pauses.iter().sum::<i64>() > MAX_SCHEDULE_S.into() {
        errors.add(path, "retry_pauses_s must be 8 days together at most");
        return None;
    }
    Some(pauses.into_iter().map(|pause| pause as u32).collect())
}

/// Reads headers, an object of names and values. No error shows a value: it may be a credential.
fn headers(node: &Node<'_>, path: &Path<'_>, errors: &mut Errors) -> Option<Vec<(String, String)>> {
    let Node::Object(members) = node else {
        errors.add(path, "headers must be an object of names and values");
        return None;
    };
    if members.len() > MAX_HEADERS {
        errors.add(path, format_args!("headers must be at most {MAX_HEADERS}"));
        return None;
    }
    let mut headers = Vec::with_capacity(members.len());
    for (name, value) in members {
        let Node::Text(value) = value else {
            errors.add(&Path::Member(path, name), "the value of a header must be text");
            continue;
        };
        headers.push((name.to_string(), value.to_string()));
    }
    let pairs = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    if let Err(error) = CustomHeaders::parse(pairs) {
        errors.add(path, error);
        return None;
    }
    Some(headers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields::{line, object};

    fn read_new(body: &str) -> Result<Changes, Vec<(String, String)>> {
        let read = line(body.as_bytes(), |node, path, errors| {
            object(node, path, errors, |fields| Changes::read_new(fields, &Policy::default()))
        });
        read.map_err(|errors| errors.into_iter().map(|it| (it.field, it.detail)).collect())
    }

    #[test]
    fn an_endpoint_needs_a_url_and_types_and_has_defaults() {
        let read = read_new(r#"{"url":"https://example.com/hooks","event_types":["order.*"]}"#);
        let settings = read.expect("is good").apply(notify::EndpointSettings::default());
        let expected = notify::EndpointSettings {
            url: "https://example.com/hooks".to_owned(),
            event_types: vec!["order.*".to_owned()],
            ..Default::default()
        };
        assert_eq!(settings, expected);
    }

    #[test]
    fn a_url_is_as_long_as_it_is_sent() {
        let url = format!("https://a.example/{}", "é".repeat(700));
        let errors = read_new(&format!(r#"{{"url":"{url}","event_types":["*"]}}"#));
        let errors = errors.expect_err("is too long");
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert_eq!(errors[0].0, "url");
        assert!(errors[0].1.contains("2048 bytes"), "{errors:?}");
    }

    #[test]
    fn what_may_be_secret_in_a_url_is_not_shown() {
        let url = "https://a.example/t0ken?key=s3cret";
        let read = read_new(&format!(r#"{{"url":"{url}","event_types":["*"]}}"#));
        let shown = format!("{:?}", read.expect("is good"));
        assert!(shown.contains("https://a.example:443"), "{shown}");
        assert!(!shown.contains("t0ken") && !shown.contains("s3cret"), "{shown}");
    }

    #[test]
    fn what_is_not_said_stays_and_null_takes_a_limit_away() {
        let before = notify::EndpointSettings {
            url: "https://example.com/".to_owned(),
            event_types: vec!["*".to_owned()],
            description: "ours".to_owned(),
            max_per_second: Some(5),
            max_in_flight: Some(6),
            ordering: notify::Ordering::Fifo.into(),
            ..Default::default()
        };
        let changes = line(br#"{"max_per_second":null,"payload":"thin"}"#, |node, path, errors| {
            object(node, path, errors, |fields| Some(Changes::read(fields, &Policy::default())))
        });
        let expected = notify::EndpointSettings {
            max_per_second: None,
            payload: notify::Payload::Thin.into(),
            ..before.clone()
        };
        assert_eq!(changes.expect("is good").apply(before), expected);
    }

    #[test]
    fn each_change_has_a_fingerprint_of_its_own() {
        let fingerprint = |changes: &str, id: &str, expected: Option<u64>| {
            let read = line(changes.as_bytes(), |node, path, errors| {
                object(node, path, errors, |fields| Some(Changes::read(fields, &Policy::default())))
            });
            read.expect("is good").fingerprint(id, expected)
        };
        let one = fingerprint(r#"{"payload":"thin","max_per_second":5}"#, "we_1", None);
        let again = r#"{ "max_per_second": 5, "description": null, "payload": "thin" }"#;
        assert_eq!(one, fingerprint(again, "we_1", None));
        let mut all =
            vec![one, fingerprint(again, "we_2", None), fingerprint(again, "we_1", Some(5))];
        for other in [
            "{}",
            r#"{"url":"https://example.com/"}"#,
            r#"{"event_types":["*"]}"#,
            r#"{"description":""}"#,
            r#"{"ordering":"fifo"}"#,
            r#"{"payload":"thin"}"#,
            r#"{"payload":"full"}"#,
            r#"{"max_per_second":null}"#,
            r#"{"max_per_second":5}"#,
            r#"{"max_in_flight":5}"#,
            r#"{"retry_pauses_s":[]}"#,
            r#"{"headers":{}}"#,
            r#"{"headers":{"x-a":"1"}}"#,
        ] {
            all.push(fingerprint(other, "we_1", None));
        }
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }

    #[test]
    fn every_wrong_field_is_named_and_no_value_of_a_header_is_shown() {
        let errors = read_new(
            r#"{"url":"https://127.0.0.1/","event_types":["order.payd"],"ordering":"random",
                "payload":"fat","max_per_second":0,"max_in_flight":65,"retry_pauses_s":[1],
                "headers":{"authorization":"Bearer hush\n"},"description":7,"more":1}"#,
        )
        .expect_err("is wrong");
        let named: Vec<_> = errors.iter().map(|(field, _)| field.as_str()).collect();
        let expected = [
            "url",
            "event_types[0]",
            "description",
            "ordering",
            "payload",
            "max_per_second",
            "max_in_flight",
            "retry_pauses_s[0]",
            "headers",
            "more",
        ];
        for field in expected {
            assert!(named.contains(&field), "{field} is not among {named:?}");
        }
        assert!(errors.iter().all(|(_, detail)| !detail.contains("hush")), "{errors:?}");
    }

    #[test]
    fn types_must_match_an_event_that_there_is() {
        for good in ["*", "order.*", "order.paid", "webhook.*"] {
            assert!(event_type(good).is_ok(), "{good}");
        }
        for bad in ["", "ord*", "order", "order.", "orders.*", "order.payd", "notify.*"] {
            assert!(event_type(bad).is_err(), "{bad}");
        }
    }
}
