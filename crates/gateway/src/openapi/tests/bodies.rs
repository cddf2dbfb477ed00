//! Bodies and queries are described as their readers read them. The readers are asked: they name each member that they
//! know, each that is missing, and the type that a value should have had.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::{Operation, answer, document, operations};

/// A member that no body has.
const UNKNOWN: &str = "zzz";
/// A value that no member may have, whatever its type is.
const WRONG: f64 = 1.5;

/// What a reader says of a body, by path.
#[derive(Debug, Default, PartialEq)]
struct Said {
    /// The members that an object may have.
    known: BTreeMap<String, BTreeSet<String>>,
    /// The members that are missing.
    missing: BTreeSet<String>,
    /// The types that values should have had.
    types: BTreeMap<String, &'static str>,
}

fn resolve(schema: &'static Value) -> &'static Value {
    match schema["$ref"].as_str() {
        Some(reference) => {
            resolve(document().pointer(&reference[1..]).expect("it leads to something"))
        }
        None => schema,
    }
}

/// The schemas of which a value must have one; without null.
fn choices(schema: &'static Value) -> Vec<&'static Value> {
    let schema = resolve(schema);
    match schema["oneOf"].as_array() {
        Some(some) => some.iter().flat_map(choices).collect(),
        None if schema["type"] == "null" => Vec::new(),
        None => vec![schema],
    }
}

/// The one type of a schema, apart from null.
fn type_of(schema: &Value) -> &str {
    match &schema["type"] {
        Value::Array(types) => types.iter().filter_map(Value::as_str).find(|it| *it != "null"),
        one => one.as_str(),
    }
    .unwrap_or_else(|| panic!("it has a type: {schema}"))
}

/// Makes a body: with each value wrong, or with none; and what its reader is to say of it.
fn probe(schema: &'static Value, path: &str, with_values: bool, said: &mut Said) -> Value {
    let join =
        |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    let mut body = Map::new();
    body.insert(UNKNOWN.to_owned(), json!(1));
    let properties = schema["properties"].as_object().expect("it has members");
    let names = said.known.entry(join(UNKNOWN)).or_default();
    names.extend(properties.keys().cloned());
    for (name, property) in properties {
        let [choice] = choices(property)[..] else { panic!("{name} is one thing") };
        let path = join(name);
        let is_required = schema["required"].as_array().is_some_and(|it| it.contains(&json!(name)));
        if let Some([only]) = choice["enum"].as_array().map(Vec::as_slice) {
            body.insert(name.clone(), only.clone());
        } else if choice["properties"].is_object() {
            body.insert(name.clone(), probe(choice, &path, with_values, said));
        } else if type_of(choice) == "array" && resolve(&choice["items"])["properties"].is_object()
        {
            let item = probe(resolve(&choice["items"]), &format!("{path}[0]"), with_values, said);
            body.insert(name.clone(), json!([item]));
        } else if with_values {
            let expected = match type_of(choice) {
                "string" => "must be text",
                "integer" => "must be an integer",
                "number" => "must be a number",
                "boolean" => "must be true or false",
                "array" => "must be a list",
                "object" => "must be an object",
                other => panic!("{path} is {other}"),
            };
            said.types.insert(path, expected);
            // What is wrong for all others is a number.
            let is_number = type_of(choice) == "number";
            body.insert(name.clone(), if is_number { json!("none") } else { json!(WRONG) });
        } else if is_required {
            said.missing.insert(path);
        }
    }
    Value::Object(body)
}

/// Reads the errors of a response.
fn said(errors: &Value) -> Said {
    let mut said = Said::default();
    for error in errors.as_array().expect("there are errors") {
        let field = error["field"].as_str().expect("is text").to_owned();
        let detail = error["detail"].as_str().expect("is text");
        if let Some((_, known)) = detail.split_once("is not a known field; the fields are ") {
            said.known.insert(field, known.split(", ").map(str::to_owned).collect());
        } else if detail.ends_with("is missing") {
            said.missing.insert(field);
        } else {
            let types = [
                "must be text",
                "must be an integer",
                "must be a number",
                "must be true or false",
                "must be a list",
                "must be an object",
            ];
            let expected = types.into_iter().find(|it| detail.contains(it));
            // What concerns several members together is not said here.
            said.types.extend(expected.map(|it| (field, it)));
        }
    }
    said
}

fn json_body(operation: &Operation) -> Option<&'static Value> {
    operation.described["requestBody"]["content"].get("application/json").map(|it| &it["schema"])
}

fn takes_lines(operation: &Operation) -> bool {
    operation.described["requestBody"]["content"].get("application/x-ndjson").is_some()
}

#[tokio::test]
async fn bodies_are_described_as_they_are_read() {
    let mut count = 0;
    for operation in operations().iter().filter(|it| !takes_lines(it)) {
        let Some(schema) = json_body(operation) else { continue };
        let [schema] = choices(schema)[..] else { panic!("{} takes one thing", operation.path) };
        for with_values in [true, false] {
            let mut expected = Said::default();
            let body = probe(schema, "", with_values, &mut expected).to_string();
            let (_, _, problem) = answer(operation.request("", "application/json", &body)).await;
            assert_eq!(said(&problem["errors"]), expected, "{} {body}", operation.path);
            count += 1;
        }
    }
    assert!(count > 20, "{count}");
}

#[tokio::test]
async fn lines_of_uploads_are_described_as_they_are_read() {
    let mut count = 0;
    for operation in operations().iter().filter(|it| takes_lines(it)) {
        let schema = json_body(operation).expect("an upload may be JSON");
        let objects = choices(schema);
        let list = objects.iter().find_map(|object| {
            let mut properties = object["properties"].as_object()?.iter();
            properties.find(|(_, property)| property["type"] == "array")
        });
        let (name, list) = list.expect("it takes a list");
        let whole = json!({name: [], UNKNOWN: 1}).to_string();
        let (_, _, problem) = answer(operation.request("", "application/json", &whole)).await;
        let known = BTreeMap::from([(UNKNOWN.to_owned(), BTreeSet::from([name.clone()]))]);
        assert_eq!(said(&problem["errors"]).known, known, "{}", operation.path);
        for line in choices(&list["items"]) {
            for with_values in [true, false] {
                let mut expected = Said::default();
                let body = probe(line, "", with_values, &mut expected).to_string();
                // A line alone is refused as a whole; those that are kept of an upload would come to a service.
                let is_alone = objects.len() > 1;
                let media = if is_alone { "application/json" } else { "application/x-ndjson" };
                let (_, _, answer) = answer(operation.request("", media, &body)).await;
                let errors = if is_alone { &answer } else { &answer["results"][0] };
                assert_eq!(said(&errors["errors"]), expected, "{body}");
                count += 1;
            }
        }
    }
    assert!(count > 10, "{count}");
}

#[tokio::test]
async fn queries_are_described_as_they_are_read() {
    let mut count = 0;
    for operation in operations().iter().filter(|it| it.method == "get") {
        let parameters = operation.described["parameters"].as_array().into_iter().flatten();
        let described: BTreeSet<_> = parameters
            .filter(|it| it["in"] == "query")
            .map(|it| it["name"].as_str().expect("is text").to_owned())
            .collect();
        let query = format!("?{UNKNOWN}=1");
        let (_, _, problem) = answer(operation.request(&query, "application/json", "")).await;
        let errors = problem["errors"].as_array().is_some().then(|| said(&problem["errors"]));
        let known = errors.and_then(|it| it.known.into_values().next()).unwrap_or_default();
        assert_eq!(known, described, "{}", operation.path);
        count += described.len();
    }
    assert!(count > 30, "{count}");
}
