//! The settings of an endpoint, and sealed values.

use engine::WireError;
use events::{
    proto::notify,
    type_filter::TypeFilter,
    webhooks::{
        MAX_ADDRESS_LENGTH, MAX_EVENT_TYPES, MAX_HEADERS, MAX_IN_FLIGHT, MAX_PER_SECOND,
        MAX_RETRIES, MAX_SCHEDULE_S, MAX_SENDER_NAME_LENGTH, MAX_TEMPLATES_BYTES, MIN_PAUSE_S,
        templates_bytes,
    },
};
use protocol::id::ParseError;
use webhook_http::{MAX_HEADER_BYTES, MAX_URL_BYTES};

use super::text;
use crate::domain::{
    NewSecret, Rendering, SealedValue, Settings,
    endpoint::{Header, MailSettings, MailTemplate, Ordering},
    rendering::Payload,
};

// A command that does not hold to these limits is parked, and all later ones of its endpoint behind it: none of them may
// be narrower than what the gateway tells its clients.
/// The most bytes of a sealed value: the longest value of a header, and what encryption adds.
const MAX_SEALED_BYTES: usize = MAX_HEADER_BYTES + MAX_SEALING_BYTES;
/// The most bytes that encryption adds to a value.
const MAX_SEALING_BYTES: usize = 256;
/// The most characters of a public key: 32 bytes in base64, after the prefix.
const MAX_PUBLIC_KEY_LENGTH: usize = 49;

/// Reads settings of a command, each of which must be valid.
pub(super) fn parse(settings: Option<notify::EndpointSettings>) -> Result<Settings, WireError> {
    // Those of mails come by a request of their own.
    let settings = Settings { mail: None, ..read(settings)? };
    let in_range = |range: std::ops::RangeInclusive<u32>, value: Option<u32>, what| match value {
        Some(value) if !range.contains(&value) => {
            Err(ParseError::new(what, "is out of range", &value.to_string()))
        }
        _ => Ok(()),
    };
    in_range(1..=MAX_PER_SECOND, settings.max_per_second, "max_per_second")?;
    in_range(1..=MAX_IN_FLIGHT, settings.max_in_flight, "max_in_flight")?;
    if settings.url.is_empty() || settings.url.len() > MAX_URL_BYTES {
        // It may hold a secret: no error shows it.
        return Err(ParseError::new("url", "must have 1 to 2,048 bytes", "").into());
    }
    if settings.event_types.is_empty() || settings.event_types.len() > MAX_EVENT_TYPES {
        return Err(ParseError::new("event_types", "must be 1 to 100 filters", "").into());
    }
    if settings.headers.len() > MAX_HEADERS {
        return Err(ParseError::new("headers", "must be at most 20", "").into());
    }
    let pauses = &settings.retry_pauses_s;
    let is_schedule = pauses.len() <= MAX_RETRIES
        && pauses.iter().all(|pause| *pause >= MIN_PAUSE_S)
        && pauses.iter().map(|pause| u64::from(*pause)).sum::<u64>() <= u64::from(MAX_SCHEDULE_S);
    if !is_schedule {
        let rule = "must be at most 23 pauses of 5 s or more, and 8 days together";
        return Err(ParseError::new("retry_pauses_s", rule, "").into());
    }
    Ok(Settings { description: text("description", settings.description)?, ..settings })
}

/// Reads the settings of mails of a command, which must be valid.
pub(super) fn parse_mail(set: notify::SetMail) -> Result<Settings, WireError> {
    let mail = set.mail.ok_or(WireError::Missing("mail"))?;
    if templates_bytes(&mail.templates) > MAX_TEMPLATES_BYTES {
        return Err(ParseError::new("templates", "must be at most 200 KiB together", "").into());
    }
    let mail = read_mail(mail);
    if set.event_types.len() > MAX_EVENT_TYPES {
        return Err(ParseError::new("event_types", "must be at most 100", "").into());
    }
    let filters = set.event_types.iter().map(|filter| TypeFilter::parse(filter));
    let is_line = |text: &str, most: usize| {
        text.chars().count() <= most && !text.chars().any(char::is_control)
    };
    if !is_line(&mail.sender_name, MAX_SENDER_NAME_LENGTH) || !is_line(&mail.language, 35) {
        return Err(ParseError::new("sender", "must be short, on one line", "").into());
    }
    if !is_line(&mail.sender_address, MAX_ADDRESS_LENGTH) || !mail.sender_address.contains('@') {
        return Err(ParseError::new("sender address", "must be an address", "").into());
    }
    Ok(Settings::of_mail(filters.collect::<Result<_, _>>()?, mail))
}

fn read_mail(mail: notify::MailSettings) -> MailSettings {
    let template = |it: notify::MailTemplate| MailTemplate {
        event_type: it.event_type,
        subject: it.subject,
        text: it.text,
        html: it.html,
    };
    MailSettings {
        sender_name: mail.sender_name,
        sender_address: mail.sender_address,
        language: mail.language,
        templates: mail.templates.into_iter().map(template).collect(),
    }
}

fn write_mail(mail: &MailSettings) -> notify::MailSettings {
    let template = |it: &MailTemplate| notify::MailTemplate {
        event_type: it.event_type.clone(),
        subject: it.subject.clone(),
        text: it.text.clone(),
        html: it.html.clone(),
    };
    notify::MailSettings {
        sender_name: mail.sender_name.clone(),
        sender_address: mail.sender_address.clone(),
        language: mail.language.clone(),
        templates: mail.templates.iter().map(template).collect(),
    }
}

/// Reads settings as they are in the log.
pub(super) fn read(settings: Option<notify::EndpointSettings>) -> Result<Settings, WireError> {
    let settings = settings.ok_or(WireError::Missing("settings"))?;
    let ordering = match settings.ordering() {
        notify::Ordering::Unspecified | notify::Ordering::Parallel => Ordering::Parallel,
        notify::Ordering::PerKey => Ordering::PerKey,
        notify::Ordering::Fifo => Ordering::Fifo,
    };
    let payload = read_payload(settings.payload());
    let filters = settings.event_types.iter().map(|filter| TypeFilter::parse(filter));
    let headers = settings.headers.into_iter().map(|header| {
        Ok::<_, WireError>(Header { name: header.name, value: sealed(header.value)? })
    });
    Ok(Settings {
        event_types: filters.collect::<Result<_, _>>()?,
        headers: headers.collect::<Result<_, _>>()?,
        url: settings.url,
        description: settings.description,
        ordering,
        payload,
        max_per_second: settings.max_per_second,
        max_in_flight: settings.max_in_flight,
        retry_pauses_s: settings.retry_pauses_s,
        mail: settings.mail.map(|mail| read_mail(*mail)),
    })
}

fn read_payload(payload: notify::Payload) -> Payload {
    match payload {
        notify::Payload::Unspecified | notify::Payload::Full => Payload::Full,
        notify::Payload::Thin => Payload::Thin,
    }
}

fn write_payload(payload: Payload) -> notify::Payload {
    match payload {
        Payload::Full => notify::Payload::Full,
        Payload::Thin => notify::Payload::Thin,
    }
}

/// Reads how the body of a delivery is made.
pub(super) fn read_rendering(rendering: Option<notify::Rendering>) -> Result<Rendering, WireError> {
    let rendering = rendering.ok_or(WireError::Missing("rendering"))?;
    Ok(Rendering { payload: read_payload(rendering.payload()), version: rendering.version })
}

/// Writes how the body of a delivery is made.
pub(super) fn write_rendering(rendering: Rendering) -> notify::Rendering {
    let Rendering { payload, version } = rendering;
    notify::Rendering { payload: write_payload(payload).into(), version }
}

/// Reads a secret that an endpoint is given, with the public key if it is a private key.
pub(super) fn new_secret(
    secret: Option<notify::SealedValue>,
    public_key: String,
) -> Result<NewSecret, WireError> {
    let is_key = public_key.starts_with("whpk_") && public_key.len() <= MAX_PUBLIC_KEY_LENGTH;
    if !public_key.is_empty() && !is_key {
        return Err(ParseError::new("public_key", "must be whpk_ and base64", &public_key).into());
    }
    let public_key = Some(public_key).filter(|key| !key.is_empty());
    Ok(NewSecret { value: sealed(secret)?, public_key })
}

/// Writes the public key of a secret; empty if it has none.
pub(super) fn public_key(secret: &NewSecret) -> String {
    secret.public_key.clone().unwrap_or_default()
}

/// Reads a sealed value.
pub(super) fn sealed(value: Option<notify::SealedValue>) -> Result<SealedValue, WireError> {
    let notify::SealedValue { key_name, ciphertext } =
        value.ok_or(WireError::Missing("sealed value"))?;
    if ciphertext.len() > MAX_SEALED_BYTES {
        return Err(ParseError::new("sealed value", "must have at most 4,352 bytes", "").into());
    }
    Ok(SealedValue { key_name, ciphertext })
}

/// Reads values that are encrypted with another key: each as it was, and as it is.
pub(super) fn read_rewrapped(
    values: Vec<notify::RewrappedValue>,
) -> Result<Vec<(SealedValue, SealedValue)>, WireError> {
    values.into_iter().map(|value| Ok((sealed(value.before)?, sealed(value.after)?))).collect()
}

/// Writes values that are encrypted with another key.
pub(super) fn write_rewrapped(
    values: &[(SealedValue, SealedValue)],
) -> Vec<notify::RewrappedValue> {
    let write = |(before, after): &(_, _)| notify::RewrappedValue {
        before: Some(write_sealed(before)),
        after: Some(write_sealed(after)),
    };
    values.iter().map(write).collect()
}

pub(super) fn write_sealed(value: &SealedValue) -> notify::SealedValue {
    let SealedValue { key_name, ciphertext } = value.clone();
    notify::SealedValue { key_name, ciphertext }
}

/// Writes settings.
pub(super) fn write(settings: &Settings) -> notify::EndpointSettings {
    let ordering = match settings.ordering {
        Ordering::Parallel => notify::Ordering::Parallel,
        Ordering::PerKey => notify::Ordering::PerKey,
        Ordering::Fifo => notify::Ordering::Fifo,
    };
    let payload = write_payload(settings.payload);
    let headers = settings.headers.iter().map(|header| notify::Header {
        name: header.name.clone(),
        value: Some(write_sealed(&header.value)),
    });
    notify::EndpointSettings {
        url: settings.url.clone(),
        event_types: settings.event_types.iter().map(ToString::to_string).collect(),
        description: settings.description.clone(),
        ordering: ordering.into(),
        payload: payload.into(),
        max_per_second: settings.max_per_second,
        max_in_flight: settings.max_in_flight,
        headers: headers.collect(),
        retry_pauses_s: settings.retry_pauses_s.clone(),
        mail: settings.mail.as_ref().map(|mail| Box::new(write_mail(mail))),
    }
}

#[cfg(test)]
mod tests {
    use person_keys::MasterKeys;
    use webhook_http::{CustomHeaders, Policy, parse_url};

    use super::*;

    #[test]
    fn the_longest_url_and_the_longest_header_that_a_client_may_set_are_read() {
        let url = format!("https://a.example/{}", "a".repeat(MAX_URL_BYTES - 18));
        let url = parse_url(&url, &Policy::default()).expect("a client may set it");
        let value = "x".repeat(MAX_HEADER_BYTES - 1);
        CustomHeaders::parse([("x", &*value)]).expect("a client may set it");
        let keys = MasterKeys::parse("test:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=");
        let (key_name, ciphertext) =
            keys.expect("it is a key").seal_value("acme/ep", value.as_bytes());
        let settings = notify::EndpointSettings {
            url: url.as_str().to_owned(),
            event_types: vec!["*".to_owned()],
            headers: vec![notify::Header {
                name: "x".to_owned(),
                value: Some(notify::SealedValue { key_name, ciphertext }),
            }],
            ..Default::default()
        };
        let read = parse(Some(settings)).expect("it is within the limits");
        assert_eq!((read.url.len(), read.headers.len()), (MAX_URL_BYTES, 1));
    }
}
