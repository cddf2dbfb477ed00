//! What of a change of the document breaks those who rely on the one before.
//!
//! Of a request less must not be accepted than before, of a response not more be said; what is added is no break. Values
//! of enumerations in responses are open, so a new one is none either.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::METHODS;

/// Who reads what a schema describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reader {
    /// The gateway reads requests.
    Gateway,
    /// Clients read responses.
    Client,
}

/// Names what `after` takes away from those who rely on `before`.
pub(super) fn breaking_changes(before: &Value, after: &Value) -> Vec<String> {
    let mut comparison = Comparison { before, after, broken: Vec::new(), seen: BTreeSet::new() };
    let paths = before["paths"].as_object().into_iter().flatten();
    for (path, item) in paths {
        for method in METHODS {
            let Some(operation) = item.get(method) else { continue };
            let name = format!("{} {path}", method.to_uppercase());
            match after["paths"].get(path).and_then(|item| item.get(method)) {
                Some(now) => comparison.operation(&name, operation, now),
                None => comparison.broken.push(format!("{name}: the operation is removed")),
            }
        }
    }
    comparison.broken
}

struct Comparison<'a> {
    before: &'a Value,
    after: &'a Value,
    broken: Vec<String>,
    /// Pairs of named schemas that are compared already, where they are read.
    seen: BTreeSet<(Reader, String, String)>,
}

impl Comparison<'_> {
    fn breaks(&mut self, at: &str, what: impl AsRef<str>) {
        self.broken.push(format!("{at}: {}", what.as_ref()));
    }

    fn operation(&mut self, at: &str, before: &Value, after: &Value) {
        if before["operationId"] != after["operationId"] {
            self.breaks(at, "the operationId, by which generated clients name it, is another");
        }
        self.parameters(at, before, after);
        self.request_body(at, &before["requestBody"], &after["requestBody"]);
        let scopes = |it: &Value| it["security"][0]["api_key"].as_array().cloned();
        let (had, has) = (scopes(before).unwrap_or_default(), scopes(after).unwrap_or_default());
        for scope in has.iter().filter(|it| !had.contains(it)) {
            self.breaks(at, format!("it needs the scope {scope}"));
        }
        for (status, response) in before["responses"].as_object().into_iter().flatten() {
            let at = format!("{at} {status}");
            match after["responses"].get(status) {
                None => self.breaks(&at, "the status is removed"),
                Some(now) => self.response(&at, response, now),
            }
        }
    }

    fn parameters(&mut self, at: &str, before: &Value, after: &Value) {
        let (had, has) = (parameters(self.before, before), parameters(self.after, after));
        for (name, parameter) in &had {
            let at = format!("{at} parameter {name}");
            let Some(now) = has.get(name) else {
                self.breaks(&at, "it is removed");
                continue;
            };
            if parameter["required"] != true && now["required"] == true {
                self.breaks(&at, "it is required now");
            }
            self.schema(Reader::Gateway, &at, &parameter["schema"], &now["schema"]);
        }
        for (name, parameter) in has {
            if !had.contains_key(&name) && parameter["required"] == true {
                self.breaks(&format!("{at} parameter {name}"), "it is new and required");
            }
        }
    }

    fn request_body(&mut self, at: &str, before: &Value, after: &Value) {
        let at = format!("{at} body");
        if before["required"] != true && after["required"] == true {
            self.breaks(&at, "it is required now");
        }
        self.content(Reader::Gateway, &at, before, after);
    }

    fn response(&mut self, at: &str, before: &Value, after: &Value) {
        let before = resolve(self.before, before).1;
        let after = resolve(self.after, after).1;
        for name in before["headers"].as_object().into_iter().flatten().map(|(name, _)| name) {
            if after["headers"].get(name).is_none() {
                self.breaks(at, format!("the header {name} is removed"));
            }
        }
        self.content(Reader::Client, at, before, after);
    }

    fn content(&mut self, reader: Reader, at: &str, before: &Value, after: &Value) {
        for (media, content) in before["content"].as_object().into_iter().flatten() {
            match after["content"].get(media) {
                None => self.breaks(at, format!("{media} is removed")),
                Some(now) => self.schema(reader, at, &content["schema"], &now["schema"]),
            }
        }
    }

    fn schema(&mut self, reader: Reader, at: &str, before: &Value, after: &Value) {
        let (name_before, before) = resolve(self.before, before);
        let (name_after, after) = resolve(self.after, after);
        if let (Some(before), Some(after)) = (name_before, name_after)
            && !self.seen.insert((reader, before.to_owned(), after.to_owned()))
        {
            return;
        }
        let (had, has) = (choices(self.before, before), choices(self.after, after));
        // Each choice must be one of the other's: those that clients send, and those that they get.
        let (required, available) = match reader {
            Reader::Gateway => (&had, &has),
            Reader::Client => (&has, &had),
        };
        for (index, (name, choice)) in required.iter().enumerate() {
            // Those without a name are told apart by what they are, or by their order.
            let is_same = |(other_name, other): &&(Option<&str>, Value)| {
                name == other_name && (name.is_some() || other == choice)
            };
            let other = available
                .iter()
                .find(is_same)
                .or_else(|| available.get(index).filter(|_| name.is_none()));
            let Some((_, other)) = other else {
                let what = name.unwrap_or("a choice");
                let change = if reader == Reader::Gateway { "is removed" } else { "is new" };
                self.breaks(at, format!("of its choices, {what} {change}"));
                continue;
            };
            let (before, after) = match reader {
                Reader::Gateway => (choice, other),
                Reader::Client => (other, choice),
            };
            self.object(reader, at, before, after);
        }
    }

    /// Compares schemas that have no choices.
    fn object(&mut self, reader: Reader, at: &str, before: &Value, after: &Value) {
        let (had, has) = (types(before), types(after));
        let is_broken = match reader {
            Reader::Gateway => !has.is_empty() && !has.is_superset(&had),
            Reader::Client => !had.is_empty() && !has.is_subset(&had),
        };
        if is_broken {
            self.breaks(at, format!("the type was {had:?} and is {has:?}"));
        }
        self.members(reader, at, before, after);
        if reader == Reader::Gateway {
            self.limits(at, before, after);
        }
        for part in ["items", "additionalProperties"] {
            if before[part].is_object() && after[part].is_object() {
                self.schema(reader, &format!("{at}[]"), &before[part], &after[part]);
            }
        }
    }

    fn members(&mut self, reader: Reader, at: &str, before: &Value, after: &Value) {
        let requires = |schema: &Value, name: &str| {
            schema["required"].as_array().is_some_and(|it| it.contains(&json!(name)))
        };
        for (name, property) in before["properties"].as_object().into_iter().flatten() {
            let at = format!("{at} .{name}");
            let Some(now) = after["properties"].get(name) else {
                self.breaks(&at, "the field is removed");
                continue;
            };
            match (reader, requires(before, name), requires(after, name)) {
                (Reader::Gateway, false, true) => self.breaks(&at, "the field is required now"),
                (Reader::Client, true, false) => self.breaks(&at, "the field may be absent now"),
                _ => {}
            }
            self.schema(reader, &at, property, now);
        }
        for name in after["properties"].as_object().into_iter().flatten().map(|(name, _)| name) {
            let is_new = before["properties"].get(name).is_none();
            if is_new && reader == Reader::Gateway && requires(after, name) {
                self.breaks(&format!("{at} .{name}"), "the field is new and required");
            }
        }
    }

    /// What clients could send before, they can still.
    fn limits(&mut self, at: &str, before: &Value, after: &Value) {
        for (name, is_lowest) in [
            ("minimum", true),
            ("minLength", true),
            ("minItems", true),
            ("maximum", false),
            ("maxLength", false),
            ("maxItems", false),
        ] {
            let Some(now) = after[name].as_f64() else { continue };
            let is_narrower = match before[name].as_f64() {
                Some(was) if is_lowest => now > was,
                Some(was) => now < was,
                None => true,
            };
            if is_narrower {
                self.breaks(at, format!("{name} was {} and is {}", before[name], after[name]));
            }
        }
        if !after["pattern"].is_null() && before["pattern"] != after["pattern"] {
            self.breaks(
                at,
                format!("the pattern was {} and is {}", before["pattern"], after["pattern"]),
            );
        }
        let values = |schema: &Value| schema["enum"].as_array().cloned();
        if let Some(has) = values(after) {
            let removed =
                |had: Vec<Value>| had.into_iter().filter(|it| !has.contains(it)).collect();
            let removed: Vec<_> = values(before).map_or_else(|| vec![json!("all others")], removed);
            if !removed.is_empty() {
                self.breaks(at, format!("of its values, {} is removed", json!(removed)));
            }
        }
    }
}

fn resolve<'a>(document: &'a Value, value: &'a Value) -> (Option<&'a str>, &'a Value) {
    match value["$ref"].as_str() {
        Some(reference) => {
            let found = document.pointer(&reference[1..]).unwrap_or(&Value::Null);
            (Some(reference), resolve(document, found).1)
        }
        None => (None, value),
    }
}

/// Parameters by where they are and their name.
fn parameters<'a>(document: &'a Value, operation: &'a Value) -> BTreeMap<String, &'a Value> {
    let all = operation["parameters"].as_array().into_iter().flatten();
    let named = all.map(|it| resolve(document, it).1);
    let name = |it: &Value| {
        format!("{} ({})", it["name"].as_str().unwrap_or(""), it["in"].as_str().unwrap_or(""))
    };
    named.map(|it| (name(it), it)).collect()
}

/// The schemas of which a value must have one, each with its name and with all its parts in one.
fn choices<'a>(document: &'a Value, schema: &'a Value) -> Vec<(Option<&'a str>, Value)> {
    let some = schema["oneOf"].as_array().or_else(|| schema["anyOf"].as_array());
    match some {
        Some(some) => {
            let of = |it| {
                let (name, schema) = resolve(document, it);
                let mut inner = choices(document, schema);
                if let [(inner_name, _)] = inner.as_mut_slice() {
                    *inner_name = name;
                }
                inner
            };
            some.iter().flat_map(of).collect()
        }
        None => vec![(None, whole(document, schema))],
    }
}

/// The schema with what `allOf` adds to it.
fn whole(document: &Value, schema: &Value) -> Value {
    let Some(parts) = schema["allOf"].as_array() else { return schema.clone() };
    let (mut properties, mut required) = (Map::new(), Vec::new());
    for part in parts {
        let part = whole(document, resolve(document, part).1);
        properties.extend(part["properties"].as_object().cloned().unwrap_or_default());
        required.extend(part["required"].as_array().cloned().unwrap_or_default());
    }
    json!({"type": "object", "properties": properties, "required": required})
}

fn types(schema: &Value) -> BTreeSet<String> {
    match &schema["type"] {
        Value::Array(types) => types.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        one => one.as_str().map(str::to_owned).into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::document, *};

    /// The changes that are named when `change` was made to the document.
    fn named(change: impl FnOnce(&mut Value)) -> Vec<String> {
        let mut changed = document().clone();
        change(&mut changed);
        breaking_changes(document(), &changed)
    }

    #[track_caller]
    fn check(expected: &str, change: impl FnOnce(&mut Value)) {
        let named = named(change);
        assert!(named.iter().any(|it| it == expected), "{expected:?} is not among {named:#?}");
    }

    fn schema<'a>(document: &'a mut Value, name: &str) -> &'a mut Value {
        &mut document["components"]["schemas"][name]
    }

    fn remove(value: &mut Value, name: &str) {
        value.as_object_mut().expect("is an object").remove(name).expect("it is there");
    }

    const ORDERS: &str = "/v1/shops/{shop}/orders";

    #[test]
    fn the_document_does_not_break_itself() {
        assert_eq!(named(|_| {}), [""; 0]);
    }

    #[test]
    fn what_is_removed_is_named() {
        check("POST /v1/shops/{shop}/orders: the operation is removed", |it| {
            remove(&mut it["paths"], ORDERS);
        });
        check("GET /v1/shops/{shop}/orders parameter reference (query): it is removed", |it| {
            let parameters = it["paths"][ORDERS]["get"]["parameters"].as_array_mut();
            parameters.expect("a list").retain(|it| it["name"] != "reference");
        });
        check("POST /v1/shops/{shop}/orders 409: the status is removed", |it| {
            remove(&mut it["paths"][ORDERS]["post"]["responses"], "409");
        });
        check("POST /v1/shops/{shop}/products body: application/x-ndjson is removed", |it| {
            let path = "/v1/shops/{shop}/products";
            remove(
                &mut it["paths"][path]["post"]["requestBody"]["content"],
                "application/x-ndjson",
            );
        });
        check("GET /v1/shops/{shop} 200: the header ETag is removed", |it| {
            remove(
                &mut it["paths"]["/v1/shops/{shop}"]["get"]["responses"]["200"]["headers"],
                "ETag",
            );
        });
        check("POST /v1/shops/{shop}/orders 201 .total: the field is removed", |it| {
            remove(&mut schema(it, "OrderView")["properties"], "total");
        });
        check("POST /v1/shops/{shop}/orders body .lines[] .quantity: the field is removed", |it| {
            remove(&mut schema(it, "NewLine")["properties"], "quantity");
        });
    }

    #[test]
    fn what_is_asked_for_more_is_named() {
        check("GET /v1/shops/{shop}/orders parameter limit (query): it is required now", |it| {
            let parameters = it["paths"][ORDERS]["get"]["parameters"].as_array_mut();
            let limit = parameters.expect("a list").iter_mut().find(|it| it["name"] == "limit");
            limit.expect("it is there")["required"] = json!(true);
        });
        check("POST /v1/shops/{shop}/orders body .lines: the field is required now", |it| {
            schema(it, "NewOrder")["required"] = json!(["currency", "lines"]);
        });
        check("POST /v1/shops/{shop}/orders body .colour: the field is new and required", |it| {
            schema(it, "NewOrder")["properties"]["colour"] = json!({"type": "string"});
            schema(it, "NewOrder")["required"] = json!(["currency", "colour"]);
        });
        check("POST /v1/shops/{shop}/orders: it needs the scope \"admin\"", |it| {
            it["paths"][ORDERS]["post"]["security"] = json!([{"api_key": ["admin"]}]);
        });
        check("POST /v1/shops/{shop}/orders body .lines: maxItems was 2000 and is 10", |it| {
            schema(it, "NewOrder")["properties"]["lines"]["maxItems"] = json!(10);
        });
    }

    #[test]
    fn other_types_and_values_are_named() {
        let total = "POST /v1/shops/{shop}/orders 201 .total: the type was {\"integer\"} and is {\"string\"}";
        check(total, |it| {
            schema(it, "OrderView")["properties"]["total"] = json!({"type": "string"});
        });
        check("POST /v1/shops/{shop}/orders 201 .total: the field may be absent now", |it| {
            let required = schema(it, "OrderView")["required"].as_array_mut();
            required.expect("a list").retain(|it| it != "total");
        });
        let basis =
            "PUT /v1/shops/{shop} body .tax_basis: of its values, [\"excluded\"] is removed";
        check(basis, |it| schema(it, "TaxBasis")["enum"] = json!(["included"]));
    }

    #[test]
    fn what_is_added_breaks_nobody() {
        let named = named(|it| {
            it["paths"]["/v2"] = json!({"get": {"responses": {}}});
            schema(it, "OrderView")["properties"]["colour"] = json!({"type": "string"});
            schema(it, "NewOrder")["properties"]["colour"] = json!({"type": "string"});
            schema(it, "NewOrder")["properties"]["lines"]["maxItems"] = json!(5_000);
            schema(it, "OrderStatus")["enum"] =
                json!(["placed", "confirmed", "completed", "cancelled", "draft"]);
            it["paths"][ORDERS]["get"]["responses"]["418"] =
                json!({"description": "short and stout"});
        });
        assert_eq!(named, [""; 0]);
    }
}
