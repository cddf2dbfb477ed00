//! The page for people: every event, with its fields and an example.

use std::fmt::Write as _;

use events::catalogue::{Enum, Field, Message, PublicEvent, message, parts, public_events};

use super::Examples;

const INTRODUCTION: &str = "\
# Events

Every public event of Tradewind. This page is made of [`proto/`](../proto) and of the events of real runs
by `make docs`; a test compares the two.

Each event is one message, [`tradewind.events.v1.Event`](../proto/tradewind/events/v1/event.proto): the
envelope, and the fact as a member of its `body`. It is published on the subject
`<service>.<partition>.<shop>.<event>`, in the stream `<SERVICE>-<partition>`. By HTTP an event leaves as
CloudEvents 1.0 JSON. In both JSON forms numbers of 64 bits are texts, and a field that is absent, empty,
zero or false is left out, as protobuf has it.

What holds for all of them:

- An event can be acted on by a reader that sees it alone.
- `position` is its sequence in the log of its service and partition: contiguous, from 1. What the engine
  records for itself takes positions as well, on subjects of its own (`engine.<service>.<partition>.<event>`).
- `aggregate_version` is contiguous from 1 for each aggregate, which is named by shop, service, type and id.
- An unknown field is to be ignored, and an unknown value of an enum to be read as its number: later
  versions add some.
- `actor` is who asked for it: an API key, the subject of a token, a connector, an operator; or the service,
  when it decided by itself.
";

pub(super) fn render(examples: &Examples) -> String {
    let events = public_events();
    let mut page = INTRODUCTION.to_owned();
    page.push_str("\n| event | happens |\n|---|---|\n");
    for event in events {
        let (event_type, anchor) = (event.event_type(), anchor(event));
        writeln!(page, "| [`{event_type}`](#{anchor}) | {} |", event.description).expect("a text");
    }
    let mut service = "";
    for event in events {
        if event.service != service {
            service = &event.service;
            writeln!(page, "\n## {}", capitalised(service)).expect("a text");
        }
        section(&mut page, event, examples);
    }
    let beside = events.iter().flat_map(|event| &event.beside).map(|it| it.type_name.as_str());
    let names = events.iter().map(|event| event.message.name.as_str());
    let (mut messages, enums) = parts(names.chain(beside.clone()));
    for name in beside {
        messages.insert(name.to_owned(), message(name).expect("the contract has the message"));
    }
    page.push_str("\n## Messages that events are made of\n");
    for message in messages.values() {
        part(&mut page, message);
    }
    page.push_str("\n## Enums\n");
    for listed in enums.values() {
        values(&mut page, listed);
    }
    page
}

fn section(page: &mut String, event: &PublicEvent, examples: &Examples) {
    let event_type = event.event_type();
    let PublicEvent { service, name, description, message, .. } = event;
    writeln!(
        page,
        "\n### `{event_type}`\n\n{description}\n\nSubject `{service}.<partition>.<shop>.{name}`, \
         message `{}`.\n",
        message.name
    )
    .expect("a text");
    fields(page, &message.fields);
    for Field { name, type_name, description, .. } in &event.beside {
        let link = format!("[`{}`](#{})", last(type_name), slug(type_name));
        writeln!(
            page,
            "\nBeside it, in `data` among its members: `{name}`, a {link}. {description}"
        )
        .expect("a text");
    }
    let Some(example) = examples.get(&event_type) else { return };
    for (form, example) in
        [("protobuf JSON", &example.message), ("CloudEvents 1.0 JSON", &example.cloud_event)]
    {
        let json = serde_json::to_string_pretty(example).expect("it is JSON");
        writeln!(
            page,
            "\n<details><summary>As {form}</summary>\n\n```json\n{json}\n```\n\n</details>"
        )
        .expect("a text");
    }
}

fn part(page: &mut String, message: &Message) {
    writeln!(page, "\n### `{}`\n\n{}\n", message.name, message.description).expect("a text");
    fields(page, &message.fields);
}

fn values(page: &mut String, listed: &Enum) {
    writeln!(page, "\n### `{}`\n\n{}\n", listed.name, listed.description).expect("a text");
    page.push_str("| value | means |\n|---|---|\n");
    for (value, meaning) in &listed.values {
        writeln!(page, "| `{value}` | {meaning} |").expect("a text");
    }
}

fn fields(page: &mut String, fields: &[Field]) {
    if fields.is_empty() {
        page.push_str("It has no fields.\n");
        return;
    }
    page.push_str("| field | type | means |\n|---|---|---|\n");
    for Field { name, type_name, is_list, description } in fields {
        let list = if *is_list { "list of " } else { "" };
        let shown = match type_name.strip_prefix("tradewind.") {
            Some(_) => format!("[`{}`](#{})", last(type_name), slug(type_name)),
            None => format!("`{}`", last(type_name)),
        };
        writeln!(page, "| `{name}` | {list}{shown} | {description} |").expect("a text");
    }
}

fn last(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

fn anchor(event: &PublicEvent) -> String {
    slug(&event.event_type())
}

/// The anchor of a heading that is this name: lower case, without dots.
fn slug(name: &str) -> String {
    name.to_lowercase().replace('.', "")
}

fn capitalised(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}
