//! Completes the document: adds to each operation what follows from the layers around its handler.

use std::collections::{BTreeMap, BTreeSet};

use axum::http::Method;
use serde_json::{Map, Value, json};
use utoipa::openapi::OpenApi;

use super::{
    parts::{self, one_line},
    schemas::{self, remove_null},
};
use crate::{admission::required_scopes, problem::Code};

/// What every request and response of an API below `/v1` may have.
const API: &str = "/v1/";
/// The path of a shop.
const SHOP: &str = "/v1/shops/{shop}";
/// Paths below it that are answered while it is suspended.
const IN_SUSPENDED_SHOPS: [&str; 3] = [
    "/v1/shops/{shop}/suspend",
    "/v1/shops/{shop}/resume",
    "/v1/shops/{shop}/commands/{command_id}",
];
/// The path of the API keys, which are of no shop.
const KEYS: &str = "/v1/keys";
/// Requests and responses of a real run, by operation. `make docs` writes them.
const EXAMPLES: &str = include_str!("../../../../docs/http-examples.json");

pub(super) fn finish(document: &OpenApi) -> Value {
    // A document that is not JSON would not be the committed one.
    let mut document = serde_json::to_value(document).unwrap_or_default();
    let examples: Value = serde_json::from_str(EXAMPLES).unwrap_or_default();
    document["openapi"] = json!("3.1.0");
    document["info"] = parts::info();
    document["servers"] = json!([{"url": "/", "description": "This gateway."}]);
    document["tags"] = parts::tags();
    document["jsonSchemaDialect"] = json!("https://spec.openapis.org/oas/3.1/dialect/base");
    let paths = document["paths"].as_object_mut();
    for (path, item) in paths.into_iter().flatten() {
        for (method, operation) in item.as_object_mut().into_iter().flatten() {
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap_or_default();
            if let Value::Object(members) = operation {
                let id = members["operationId"].as_str().unwrap_or_default().to_owned();
                Operation { path, method: &method, members }.complete(&examples[&id]);
            }
        }
    }
    let components = &mut document["components"];
    components["parameters"] = parts::parameters();
    components["headers"] = parts::headers();
    components["responses"] = parts::responses(&examples["problem"], &examples["accepted"]);
    components["securitySchemes"] = parts::security_schemes();
    schemas::complete(&mut document);
    document
}

/// An operation that is completed.
struct Operation<'a> {
    path: &'a str,
    method: &'a Method,
    members: &'a mut Map<String, Value>,
}

impl Operation<'_> {
    fn complete(&mut self, example: &Value) {
        for name in ["summary", "description"] {
            if let Some(Value::String(text)) = self.members.get_mut(name) {
                *text = one_line(text);
            }
        }
        self.add_parameters();
        self.add_security();
        self.add_problems();
        self.add_accepted();
        self.add_not_modified();
        self.add_headers();
        self.add_examples(example);
    }

    fn is_of_api(&self) -> bool {
        self.path.starts_with(API)
    }

    fn is_of_shop(&self) -> bool {
        self.path.starts_with(SHOP)
    }

    fn is_of_keys(&self) -> bool {
        self.path.starts_with(KEYS)
    }

    /// Whether it leads to a command.
    fn is_command(&self) -> bool {
        (self.is_of_shop() || self.is_of_keys()) && self.method != Method::GET
    }

    /// Whether it answers 202 as it answers 200: with the result of each of many, of which some are pending then.
    fn is_of_many(&self) -> bool {
        let schema = |status: &str| {
            let response = self.members.get("responses")?.get(status)?;
            response["content"]["application/json"].get("schema")
        };
        schema("202").is_some_and(|accepted| schema("200") == Some(accepted))
    }

    fn add_parameters(&mut self) {
        let names = self.path.split('/').filter_map(|it| it.strip_prefix('{')?.strip_suffix('}'));
        let mut parameters: Vec<_> = names.map(parts::parameter).collect();
        let own = self.members.remove("parameters").unwrap_or_default();
        parameters.extend(own.as_array().into_iter().flatten().cloned().map(tidy_parameter));
        let common = [
            ("Idempotency-Key", self.is_command()),
            ("Tradewind-After", self.is_of_shop() || self.is_of_keys()),
            ("If-None-Match", self.method == Method::GET),
            ("traceparent", self.is_of_api()),
        ];
        let common = common.into_iter().filter(|(_, is_read)| *is_read);
        parameters.extend(common.map(|(name, _)| parts::parameter(name)));
        if !parameters.is_empty() {
            self.members.insert("parameters".to_owned(), Value::Array(parameters));
        }
    }

    fn add_security(&mut self) {
        if !self.is_of_api() {
            self.members.insert("security".to_owned(), json!([]));
            return;
        }
        // Any one of the entries is enough.
        let scopes = required_scopes(self.method, self.path).iter();
        let mut any: Vec<_> = scopes.map(|scope| json!({"api_key": [scope.as_str()]})).collect();
        if any.is_empty() {
            any.push(json!({"api_key": []}));
        }
        self.members.insert("security".to_owned(), Value::Array(any));
    }

    /// The problems with which it may be answered: its own, and those of the layers.
    fn problems(&mut self) -> BTreeSet<Code> {
        let own = self.members.remove("x-problems").unwrap_or_default();
        let own = own.as_array().into_iter().flatten().filter_map(Value::as_str);
        let mut codes: BTreeSet<_> = own.filter_map(Code::parse).collect();
        codes.extend([Code::Internal, Code::TimedOut]);
        if self.is_of_api() {
            codes.extend([Code::Unauthorized, Code::InvalidHeader]);
            codes.extend([Code::TooManyRequests, Code::Overloaded]);
            if !required_scopes(self.method, self.path).is_empty() {
                codes.extend([Code::Forbidden, Code::Unavailable]);
            }
        }
        if self.is_of_shop() && self.path != SHOP {
            codes.insert(Code::UnknownShop);
            if !IN_SUSPENDED_SHOPS.contains(&self.path) {
                codes.insert(Code::ShopSuspended);
            }
        }
        if self.is_command() {
            codes.insert(Code::IdempotencyKeyReused);
        }
        let is_checked =
            |it: &Value| it["in"] == "query" || it["$ref"].as_str().is_some_and(parts::is_of_path);
        let parameters = self.members.get("parameters").and_then(Value::as_array);
        if parameters.into_iter().flatten().any(is_checked) {
            codes.insert(Code::InvalidFields);
        }
        if self.members.contains_key("requestBody") {
            codes.extend([Code::MalformedJson, Code::IncompleteBody, Code::InvalidFields]);
            codes.extend([Code::TooLarge, Code::UnsupportedMediaType, Code::MalformedEncoding]);
        }
        codes
    }

    fn add_problems(&mut self) {
        let mut by_status: BTreeMap<u16, Vec<String>> = BTreeMap::new();
        for code in self.problems() {
            let (name, title) = code.code_and_title();
            let status = code.status().as_u16();
            by_status.entry(status).or_default().push(format!("`{name}`: {title}."));
        }
        for (status, codes) in by_status {
            let problem = json!({
                "$ref": "#/components/responses/Problem",
                "description": codes.join(" "),
            });
            self.members["responses"][status.to_string()] = problem;
        }
    }

    /// A command that is not answered in time is answered with 202.
    fn add_accepted(&mut self) {
        if !self.is_command() || self.is_of_many() {
            return;
        }
        let accepted = json!({"$ref": "#/components/responses/Accepted"});
        let response = &mut self.members["responses"]["202"];
        if response.is_null() {
            *response = accepted;
            return;
        }
        let schema = &mut response["content"]["application/json"]["schema"];
        *schema = json!({"anyOf": [schema.take(), {"$ref": "#/components/schemas/Accepted"}]});
    }

    /// What is read may be read on a condition.
    fn add_not_modified(&mut self) {
        if self.method == Method::GET {
            let not_modified = json!({"$ref": "#/components/responses/NotModified"});
            self.members["responses"]["304"] = not_modified;
        }
    }

    fn add_headers(&mut self) {
        let always: &[&str] = if self.method == Method::GET {
            &["X-Request-Id", "traceparent", "ETag"]
        } else if self.is_command() {
            &["X-Request-Id", "traceparent", "Tradewind-Position", "Idempotency-Replayed"]
        } else {
            &["X-Request-Id", "traceparent"]
        };
        let of_limits: &[&str] =
            if self.is_of_api() { &["RateLimit", "RateLimit-Policy"] } else { &[] };
        // Of many, each pending one says by itself how it is followed.
        let of_pending: &[&str] =
            if self.is_of_many() { &["Retry-After"] } else { &["Location", "Retry-After"] };
        let responses = self.members["responses"].as_object_mut();
        for (status, response) in responses.into_iter().flatten() {
            if response.get("$ref").is_some() {
                continue;
            }
            let of_accepted = if status == "202" { of_pending } else { &[] };
            for name in always.iter().chain(of_limits).chain(of_accepted) {
                if response["headers"].get(*name).is_none() {
                    let header = json!({"$ref": format!("#/components/headers/{name}")});
                    response["headers"][*name] = header;
                }
            }
        }
    }

    fn add_examples(&mut self, example: &Value) {
        let json = "application/json";
        if let Some(body) = self.members.get_mut("requestBody") {
            let content = &mut body["content"][json];
            if content.is_object() && !example["request"].is_null() {
                content["example"] = example["request"].clone();
            }
        }
        for (status, shown) in example["responses"].as_object().into_iter().flatten() {
            let content = &mut self.members["responses"][status]["content"][json];
            if content.is_object() {
                content["example"] = shown.clone();
            }
        }
    }
}

/// A parameter that is absent, rather than null, when it is not given.
fn tidy_parameter(mut parameter: Value) -> Value {
    if let Some(description) = parameter["description"].as_str() {
        parameter["description"] = json!(one_line(description));
    }
    remove_null(&mut parameter["schema"]);
    parameter
}
