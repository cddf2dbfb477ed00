//! The description is that of the routes: nothing is missing, and bodies and parameters are what the readers read.

mod bodies;
mod breaking;
mod committed;

use std::collections::BTreeSet;

use axum::{
    body::{Body, to_bytes},
    http::{HeaderMap, Request, StatusCode},
};
use serde_json::Value;
use tower::ServiceExt;

use crate::{
    problem::Code,
    routes::{DESCRIPTION, described, openapi_document as document, routes},
    tests::{KEY, settings, state},
};

/// The methods that a route can have.
const METHODS: [&str; 5] = ["get", "put", "post", "patch", "delete"];

/// An operation of the document.
struct Operation {
    method: &'static str,
    path: &'static str,
    described: &'static Value,
}

fn operations() -> Vec<Operation> {
    let paths = document()["paths"].as_object().expect("there are paths");
    let of_path = |(path, item): (&'static String, &'static Value)| {
        METHODS.iter().filter_map(move |method| {
            Some(Operation { method, path, described: item.get(method)? })
        })
    };
    paths.iter().flat_map(of_path).collect()
}

impl Operation {
    /// A request that reaches the handler.
    fn request(&self, query: &str, content_type: &str, body: &str) -> Request<Body> {
        let path = concrete(self.path);
        Request::builder()
            .method(self.method.to_uppercase().as_str())
            .uri(format!("{path}{query}"))
            .header("authorization", format!("Bearer {KEY}"))
            .header("content-type", content_type)
            .body(body.to_owned().into())
            .expect("is valid")
    }
}

/// The path with a value for each parameter.
fn concrete(path: &str) -> String {
    let order = "019cec2b-2dc4-7000-8000-000000000001";
    [
        ("{shop}", "acme"),
        ("{sku}", "A"),
        ("{code}", "main"),
        ("{category_key}", "mugs"),
        ("{listing_key}", "mug"),
        ("{id}", order),
        ("{payment_id}", &format!("{order}-1")),
        ("{command_id}", order),
        ("{endpoint_id}", "we_1"),
        ("{seq}", "1"),
        ("{replay_id}", "wr_1"),
        ("{connector}", "erp"),
        ("{rejection_id}", "erp.1"),
        ("{key_id}", "0123456789abcdef"),
    ]
    .iter()
    .fold(path.to_owned(), |path, (name, value)| path.replace(name, value))
}

async fn answer(request: Request<Body>) -> (StatusCode, HeaderMap, Value) {
    let router = routes(state(&settings()));
    let response = router.oneshot(request).await.expect("never fails");
    let (parts, body) = response.into_parts();
    let bytes = to_bytes(body, usize::MAX).await.expect("is in memory");
    (parts.status, parts.headers, serde_json::from_slice(&bytes).unwrap_or_default())
}

#[test]
fn every_route_is_described() {
    // A router does not list its routes, but shows them to those who debug it.
    let shown = format!("{:?}", routes(state(&settings())));
    let (fallbacks, routes): (Vec<_>, Vec<_>) =
        shown.split('"').filter(|it| it.starts_with('/')).partition(|it| it.contains("__private"));
    // What matches nothing below a path is shown as a route of that path.
    let below: Vec<_> = fallbacks.iter().filter_map(|it| it.split("{*").next()).collect();
    let is_route = |it: &&str| {
        !below.iter().any(|path| it.trim_end_matches('/') == path.trim_end_matches('/'))
    };
    let registered: BTreeSet<_> = routes.into_iter().filter(is_route).collect();
    let described: BTreeSet<_> = operations().iter().map(|it| it.path).collect();
    let missing: Vec<_> = registered.difference(&described).collect();
    assert_eq!(missing, [&""; 0]);
    assert_eq!(described.difference(&registered).count(), 0, "{described:?} {registered:?}");
    assert!(described.len() > 40, "{described:?}");
}

#[tokio::test]
async fn every_method_of_a_route_is_described() {
    let paths: BTreeSet<_> = operations().iter().map(|it| it.path).collect();
    for path in paths {
        let described: BTreeSet<_> =
            operations().iter().filter(|it| it.path == path).map(|it| it.method).collect();
        let other = METHODS.iter().find(|it| !described.contains(*it)).expect("none has all");
        let none = Operation { method: other, path, described: &Value::Null };
        let (status, headers, _) = answer(none.request("", "application/json", "{}")).await;
        assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED, "{other} {path}");
        let allowed = headers["allow"].to_str().expect("is text").to_lowercase();
        let allowed: BTreeSet<_> = allowed.split(',').filter(|it| *it != "head").collect();
        assert_eq!(allowed, described, "{path}");
    }
}

#[test]
fn every_operation_is_complete() {
    let mut ids = BTreeSet::new();
    let tags = document()["tags"].as_array().expect("there are tags");
    for Operation { method, path, described } in operations() {
        let name = format!("{method} {path}");
        assert!(ids.insert(described["operationId"].as_str()), "{name} has the id of another");
        let summary = described["summary"].as_str().expect("there is one");
        assert!(summary.ends_with('.') && summary.len() < 100, "{name}: {summary}");
        let [tag] = described["tags"].as_array().expect("a list").as_slice() else {
            panic!("{name} has one tag")
        };
        assert!(tags.iter().any(|it| it["name"] == *tag), "{name}: {tag}");
        let responses = described["responses"].as_object().expect("there are responses");
        assert!(responses.keys().any(|it| it.starts_with('2')), "{name} has no success");
        let in_path = path.matches('{').count();
        let parameters = described["parameters"].as_array().map_or(0, Vec::len);
        assert!(parameters >= in_path, "{name}");
    }
    assert!(ids.len() > 50, "{}", ids.len());
}

#[test]
fn every_problem_of_a_handler_is_a_code() {
    let document = serde_json::to_value(described()).expect("is JSON");
    let mut count = 0;
    for item in document["paths"].as_object().expect("there are paths").values() {
        for operation in item.as_object().expect("is an object").values() {
            for code in operation["x-problems"].as_array().into_iter().flatten() {
                let code = code.as_str().expect("is text");
                assert!(Code::parse(code).is_some(), "{}: {code}", operation["operationId"]);
                count += 1;
            }
        }
    }
    assert!(count > 40, "{count}");
}

#[test]
fn every_reference_leads_to_something_and_everything_is_referred_to() {
    fn collect<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
        match value {
            Value::Object(members) => {
                found.extend(members.get("$ref").and_then(Value::as_str));
                members.values().for_each(|it| collect(it, found));
            }
            Value::Array(items) => items.iter().for_each(|it| collect(it, found)),
            _ => {}
        }
    }
    let mut found = BTreeSet::new();
    collect(document(), &mut found);
    for reference in &found {
        let pointer = reference.strip_prefix('#').expect("is within the document");
        assert!(document().pointer(pointer).is_some(), "{reference} leads to nothing");
    }
    for kind in ["schemas", "parameters", "headers", "responses"] {
        for name in document()["components"][kind].as_object().expect("there are some").keys() {
            let reference = format!("#/components/{kind}/{name}");
            assert!(found.contains(&*reference), "nothing refers to {reference}");
        }
    }
}

#[test]
fn a_status_that_is_not_described_is_noticed() {
    let may = |method: &str, path, status: u16| {
        let method = method.parse().expect("is a method");
        DESCRIPTION.has(&method, path, StatusCode::from_u16(status).expect("is a status"))
    };
    assert!(may("GET", "/v1/shops/{shop}/orders/{id}", 200));
    assert!(may("HEAD", "/v1/shops/{shop}/orders/{id}", 404));
    assert!(!may("GET", "/v1/shops/{shop}/orders/{id}", 409));
    assert!(may("POST", "/v1/shops/{shop}/orders", 202));
    assert!(may("DELETE", "/v1/shops/{shop}/orders", 405), "it has no such operation");
}

#[tokio::test]
async fn the_document_is_served_to_everybody() {
    let request = Request::get("/openapi.json").body(Body::empty()).expect("is valid");
    let (status, headers, served) = answer(request).await;
    assert_eq!(
        (status, &headers["content-type"]),
        (StatusCode::OK, &"application/json".parse().expect("is valid"))
    );
    assert_eq!(served, *document());
    assert_eq!(served["openapi"], "3.1.0");
}
