//! Completes the schemas: says of requests and responses what utoipa cannot know.
//!
//! - A reader of a body refuses a member that it does not know; a response may have more in a later version.
//! - A member of a request may be null instead of absent; what a response does not have is absent, unless the member is
//!   required.

use std::collections::BTreeSet;

use events::catalogue::json_schema;
use serde_json::{Map, Value, json};

use super::parts::{self, one_line};

const SCHEMAS: &str = "#/components/schemas/";
/// The message whose schema stands for the answers of services.
const ANSWER: &str = "tradewind.events.v1.AnswerBody";

pub(super) fn complete(document: &mut Value) {
    let mut schemas = match document["components"]["schemas"].take() {
        Value::Object(schemas) => schemas,
        _ => Map::new(),
    };
    add_answer(&mut schemas);
    let requests = reachable(document, &schemas, |operation| operation["requestBody"].take());
    for (name, schema) in &mut schemas {
        walk(schema, &mut tidy);
        if !requests.contains(name) {
            walk(schema, &mut describe_response);
        }
    }
    let codes = format!("What happened, for programs. It is stable.\n\n{}", parts::codes());
    schemas["Problem"]["properties"]["code"]["description"] = json!(codes);
    document["components"]["schemas"] = Value::Object(schemas);
}

/// The names of the schemas that a part of some operation refers to, at any depth.
fn reachable(
    document: &Value,
    schemas: &Map<String, Value>,
    part: impl Fn(&mut Value) -> Value,
) -> BTreeSet<String> {
    let items = document["paths"].as_object().into_iter().flatten();
    let operations = items.flat_map(|(_, item)| item.as_object().into_iter().flatten());
    let mut found = BTreeSet::new();
    let mut waiting: Vec<Value> = operations.map(|(_, it)| part(&mut it.clone())).collect();
    while let Some(value) = waiting.pop() {
        let mut names = Vec::new();
        references(&value, &mut names);
        for name in names {
            if let Some(schema) = schemas.get(&name)
                && found.insert(name)
            {
                waiting.push(schema.clone());
            }
        }
    }
    found
}

fn references(value: &Value, names: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            let reference = members.get("$ref").and_then(Value::as_str);
            names.extend(reference.and_then(|it| it.strip_prefix(SCHEMAS)).map(str::to_owned));
            members.values().for_each(|it| references(it, names));
        }
        Value::Array(items) => items.iter().for_each(|it| references(it, names)),
        _ => {}
    }
}

/// Calls `change` with each object in a schema.
fn walk(schema: &mut Value, change: &mut impl FnMut(&mut Map<String, Value>)) {
    match schema {
        Value::Object(members) => {
            change(members);
            members.values_mut().for_each(|it| walk(it, change));
        }
        Value::Array(items) => items.iter_mut().for_each(|it| walk(it, change)),
        _ => {}
    }
}

fn tidy(schema: &mut Map<String, Value>) {
    if let Some(Value::String(description)) = schema.get_mut("description") {
        *description = one_line(description);
    }
    // utoipa puts the description of a member that may be null at the value that it may be instead.
    if !schema.contains_key("description")
        && let Some(Value::Array(choices)) = schema.get_mut("oneOf")
        && let [Value::Object(choice), null] = choices.as_mut_slice()
        && *null == json!({"type": "null"})
        && let Some(Value::String(description)) = choice.remove("description")
    {
        schema.insert("description".to_owned(), json!(one_line(&description)));
    }
    // An unsigned number of 32 bits is no `int32`.
    let is_unsigned = schema.get("minimum").is_some_and(|minimum| minimum == 0);
    if is_unsigned && schema.get("format").is_some_and(|format| format == "int32") {
        schema.insert("format".to_owned(), json!("int64"));
    }
}

fn describe_response(schema: &mut Map<String, Value>) {
    if schema.get("additionalProperties") == Some(&Value::Bool(false)) {
        schema.remove("additionalProperties");
    }
    let required = schema.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
    let Some(Value::Object(properties)) = schema.get_mut("properties") else { return };
    for (name, property) in properties {
        if !required.contains(&json!(name)) {
            remove_null(property);
        }
    }
}

/// Removes null from the values that a schema allows.
pub(super) fn remove_null(schema: &mut Value) {
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|it| it != "null");
        if let [only] = types.as_slice() {
            schema["type"] = only.clone();
        }
    }
    if let Some(Value::Array(choices)) = schema.get_mut("oneOf") {
        choices.retain(|it| *it != json!({"type": "null"}));
        if let [Value::Object(only)] = choices.as_slice() {
            let only = only.clone();
            if let Some(schema) = schema.as_object_mut() {
                schema.remove("oneOf");
                schema.extend(only);
            }
        }
    }
}

/// Takes the schema of what services answer from the contract, with those of its parts under their names.
fn add_answer(schemas: &mut Map<String, Value>) {
    let Some(Value::Object(mut answer)) = json_schema(ANSWER) else { return };
    answer.remove("$schema");
    let parts = answer.remove("$defs");
    let mut add = |name: String, mut schema: Value| {
        walk(&mut schema, &mut |members| {
            if let Some(Value::String(reference)) = members.get_mut("$ref") {
                *reference = reference.replace("#/$defs/", SCHEMAS);
            }
        });
        schemas.insert(name, schema);
    };
    if let Some(Value::Object(parts)) = parts {
        parts.into_iter().for_each(|(name, part)| add(name, part));
    }
    add("Answer".to_owned(), Value::Object(answer));
}
