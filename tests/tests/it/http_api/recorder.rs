//! Records requests and responses by the operations of the description.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tests::stable;

/// What stands for the address of a receiver on this machine.
const RECEIVER: &str = "https://example.com/hooks";
/// What stands for an API key, which is made by chance, and for its id.
const KEY: &str =
    "tw_0123456789abcdef_0000000000000000000000000000000000000000000000000000000000000000";
const KEY_ID: &str = "0123456789abcdef";

/// The commands that are about whatever their filter finds: repeated, they go on with what is left.
pub(crate) const FILTERED: [&str; 2] = ["drop_rejections", "redrive_rejections"];

/// The examples of an operation.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct Recorded {
    request: Value,
    responses: BTreeMap<u16, Value>,
}

/// Sends requests, and keeps one of each operation, with its responses.
pub(crate) struct Recorder {
    http: reqwest::Client,
    base: String,
    /// What the examples show something else for.
    replaced: Vec<(String, &'static str)>,
    sent: u32,
    recorded: BTreeMap<String, Recorded>,
    /// The operations that were repeated; `None` where none is.
    repeated: Option<BTreeSet<String>>,
    /// The operations that have written.
    written: BTreeSet<String>,
}

impl Recorder {
    pub(crate) fn new(base: &str, receiver: &str) -> Self {
        let (base, replaced) = (base.to_owned(), vec![(receiver.to_owned(), RECEIVER)]);
        let (recorded, written) = (BTreeMap::new(), BTreeSet::new());
        let http = reqwest::Client::new();
        Self { http, base, replaced, sent: 0, recorded, repeated: None, written }
    }

    /// Sends each POST and PATCH that succeeds a second time under its key, and expects the same answer.
    pub(crate) fn repeating(base: &str, receiver: &str) -> Self {
        Self { repeated: Some(BTreeSet::new()), ..Self::new(base, receiver) }
    }

    /// The operations that were repeated.
    pub(crate) fn repeated(&self) -> BTreeSet<String> {
        self.repeated.clone().unwrap_or_default()
    }

    /// The operations that have written, each with its position in the answer.
    pub(crate) fn written(&self) -> &BTreeSet<String> {
        &self.written
    }

    pub(crate) async fn get(&mut self, path: &str) -> Value {
        self.send(Method::GET, path, None).await
    }

    pub(crate) async fn post(&mut self, path: &str, body: Value) -> Value {
        self.send(Method::POST, path, Some(body)).await
    }

    pub(crate) async fn put(&mut self, path: &str, body: Value) -> Value {
        self.send(Method::PUT, path, Some(body)).await
    }

    pub(crate) async fn send(&mut self, method: Method, path: &str, body: Option<Value>) -> Value {
        self.sent += 1;
        let mut request = self
            .http
            .request(method.clone(), format!("{}{path}", self.base))
            .header("authorization", "Bearer secret")
            .header("prefer", "wait=30");
        if method != Method::GET {
            // The ids of what it creates follow from it: they are the same in each run.
            request = request.header("idempotency-key", format!("example-{}", self.sent));
        }
        if let Some(body) = &body {
            request = request.json(body);
        }
        let again = request.try_clone().expect("its body is in memory");
        let (status, has_position, answer) = answered(request).await;
        assert!(status.as_u16() < 500, "{method} {path}: {status} {answer}");
        let is_command = [Method::POST, Method::PATCH].contains(&method) && status.is_success();
        if is_command
            && let Some(repeated) = &mut self.repeated
            && !FILTERED.contains(&&*operation(&method, path))
        {
            repeated.insert(operation(&method, path));
            let (second, _, repeat) = answered(again).await;
            let name = format!("{method} {path}: {repeat}, first {answer}");
            assert_eq!(second, status, "{name}");
            assert_eq!(lasting(repeat), lasting(answer.clone()), "{name}");
        }
        if method != Method::GET && status.is_success() {
            let is_pending = !answer["command_id"].is_null();
            assert!(has_position || is_pending, "{method} {path} gives no position: {answer}");
            self.written.insert(operation(&method, path));
        }
        if let Some(key) = answer["secret"].as_str().filter(|it| it.starts_with("tw_")) {
            self.replaced.push((key.to_owned(), KEY));
            let id = key.split('_').nth(1).expect("it has an id");
            self.replaced.push((id.to_owned(), KEY_ID));
        }
        self.record(&method, path, body, status, &answer);
        answer
    }

    fn record(
        &mut self,
        method: &Method,
        path: &str,
        body: Option<Value>,
        status: StatusCode,
        answer: &Value,
    ) {
        let name = match status.as_u16() {
            // These are the same for all operations.
            400.. => "problem".to_owned(),
            202 if !answer["command_id"].is_null() => "accepted".to_owned(),
            _ => operation(method, path),
        };
        let (body, shown) = (self.shown(&body.unwrap_or_default()), self.shown(answer));
        let recorded = self.recorded.entry(name).or_default();
        if recorded.request.is_null() && status.is_success() {
            recorded.request = body;
        }
        // What is asked for again and again is shown as it is in the end.
        let is_first = !recorded.responses.contains_key(&status.as_u16());
        if !shown.is_null() && (is_first || method == Method::GET) {
            recorded.responses.insert(status.as_u16(), shown);
        }
    }

    /// A value as an example shows it.
    pub(crate) fn shown(&self, value: &Value) -> Value {
        let replace = |text: String, (real, shown): &(String, &str)| text.replace(real, shown);
        let text = self.replaced.iter().fold(value.to_string(), replace);
        let value = serde_json::from_str(&text).expect("is JSON");
        shortened(stable::without_chance(value))
    }

    /// What was recorded, as the gateway reads it.
    pub(crate) fn examples(&self) -> Value {
        let mut examples = json!({});
        for (name, Recorded { request, responses }) in &self.recorded {
            if ["problem", "accepted"].contains(&name.as_str()) {
                examples[name] = responses.values().next().cloned().unwrap_or_default();
                continue;
            }
            if !request.is_null() {
                examples[name]["request"] = request.clone();
            }
            for (status, response) in responses {
                examples[name]["responses"][status.to_string()] = response.clone();
            }
        }
        examples
    }
}

async fn answered(request: RequestBuilder) -> (StatusCode, bool, Value) {
    let response = request.send().await.expect("an answer");
    let status = response.status();
    let has_position = response.headers().contains_key("tradewind-position");
    let bytes = response.bytes().await.expect("a body");
    (status, has_position, serde_json::from_slice(&bytes).unwrap_or_default())
}

/// What of an answer is the same when it is given again. A secret is shown once, and an order is shown as it is then.
fn lasting(mut answer: Value) -> Value {
    if answer["lines"].is_array() {
        return json!({"id": answer["id"], "number": answer["number"], "lines": answer["lines"]});
    }
    if let Some(members) = answer.as_object_mut() {
        for once in ["secret", "notice", "statistics"] {
            members.remove(once);
        }
    }
    answer
}

/// The id of the operation that a request is for.
fn operation(method: &Method, path: &str) -> String {
    let path = path.split('?').next().unwrap_or_default();
    let document = gateway::openapi_document();
    let is_same = |template: &str| {
        let (one, other) = (template.split('/'), path.split('/'));
        template.matches('/').count() == path.matches('/').count()
            && one.zip(other).all(|(one, other)| one.starts_with('{') || one == other)
    };
    let paths = document["paths"].as_object().expect("there are paths");
    // `/payments/stuck` is no payment.
    let found = paths.iter().filter(|(template, _)| is_same(template));
    let (_, item) = found.min_by_key(|(template, _)| template.matches('{').count()).expect(path);
    let operation = &item[method.as_str().to_lowercase()]["operationId"];
    operation.as_str().expect("it is described").to_owned()
}

/// The value with lists of two items at most, and no opaque text that is longer than a line.
fn shortened(value: Value) -> Value {
    match value {
        Value::Array(items) => items.into_iter().take(2).map(shortened).collect(),
        Value::Object(members) => members
            .into_iter()
            .map(|(name, member)| match (name.as_str(), &member) {
                ("next", Value::String(_)) => (name, json!("AQIDBAUGBwgJ")),
                ("schema", Value::Object(_)) => (name, json!({"type": "object"})),
                ("latency_us", _) => (name, json!(1_234)),
                ("position", Value::Number(_)) => (name, json!(42)),
                _ => (name, shortened(member)),
            })
            .collect(),
        single => single,
    }
}
