//! The description of the API: an OpenAPI 3.1 document, made of the routes.
//!
//! ```text
//! #[utoipa::path(…)] at a handler ─► routes! ─► the routes, and utoipa's document ─► finish ─► Description
//! ```
//!
//! What a handler alone knows is said at the handler: what it does, its parameters, its bodies, and the codes of the
//! problems with which it refuses (`x-problems`). What follows from the layers around it is added by `finish`: the
//! parameters of its path, headers that every request may have, the scope that it needs, and the problems of the layers.
//!
//! | module | what it is for |
//! |---|---|
//! | `bodies` | what clients send |
//! | `messages` | what several routes answer |
//! | `finish` | completes each operation |
//! | `schemas` | completes the schemas |
//! | `parts` | the parts that operations share: parameters, headers, responses |
//! | `page` | the same for people |

pub(crate) mod bodies;
mod finish;
pub(crate) mod messages;
mod page;
mod parts;
mod schemas;

use std::collections::{BTreeSet, HashMap};

use axum::{
    Extension,
    extract::{MatchedPath, Request, State},
    http::{Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use events::id::{Location, OrderId, PaymentId, Sku};
use protocol::id::{CommandId, Shop};
use serde_json::Value;
use utoipa::OpenApi;

use self::messages::ProblemDocument;
use crate::{accepted::AcceptedView, not_modified::tag_of};

/// The schemas that the parts which operations share refer to.
#[derive(OpenApi)]
#[openapi(components(schemas(
    AcceptedView,
    CommandId,
    Location,
    OrderId,
    PaymentId,
    ProblemDocument,
    Shop,
    Sku
)))]
pub(crate) struct Shared;

/// What the page may load: nothing but the style that is in it.
const PAGE_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

/// The description of the API, in each of its forms.
#[derive(Debug)]
pub(crate) struct Description {
    /// The OpenAPI 3.1 document.
    pub(crate) document: Value,
    text: String,
    text_tag: String,
    /// The same as a page for people.
    page: String,
    page_tag: String,
    /// The statuses that are described, by method and path.
    statuses: HashMap<(String, String), BTreeSet<u16>>,
}

impl Description {
    /// Of what the routes say of themselves.
    pub(crate) fn of(described: &utoipa::openapi::OpenApi) -> Self {
        let document = finish::finish(described);
        let (text, page) = (document.to_string(), page::render(&document));
        Self {
            text_tag: tag_of(text.as_bytes()),
            page_tag: tag_of(page.as_bytes()),
            statuses: statuses(&document),
            document,
            text,
            page,
        }
    }

    /// Whether a route may answer so. What is no route of the document is not judged.
    fn has(&self, method: &Method, path: &str, status: StatusCode) -> bool {
        let method = if method == Method::HEAD { Method::GET } else { method.clone() };
        let key = (method.as_str().to_lowercase(), path.to_owned());
        self.statuses.get(&key).is_none_or(|statuses| statuses.contains(&status.as_u16()))
    }
}

/// Shows this description.
#[utoipa::path(
    get,
    path = "/openapi.json",
    operation_id = "get_openapi",
    tag = "Operations",
    responses((status = 200, description = "An OpenAPI 3.1 document.", body = Object)),
)]
pub(crate) async fn get(Extension(shown): Extension<&'static Description>) -> Response {
    let Description { text, text_tag, .. } = shown;
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::ETAG, text_tag.as_str())];
    (headers, text.as_str()).into_response()
}

/// Shows this description as a page for people.
#[utoipa::path(
    get,
    path = "/docs",
    operation_id = "get_docs",
    tag = "Operations",
    responses((status = 200, description = "One HTML page that needs nothing else.", body = String, content_type = "text/html")),
)]
pub(crate) async fn docs(Extension(shown): Extension<&'static Description>) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, PAGE_POLICY),
        (header::ETAG, shown.page_tag.as_str()),
    ];
    (headers, shown.page.as_str()).into_response()
}

/// Checks in builds for tests that each answer is one that the description of the API has.
pub(crate) async fn check_answer(
    State(shown): State<&'static Description>,
    request: Request,
    next: Next,
) -> Response {
    if !cfg!(debug_assertions) {
        return next.run(request).await;
    }
    let route = request.extensions().get::<MatchedPath>().cloned();
    let method = request.method().clone();
    let response = next.run(request).await;
    if let Some(route) = route {
        let (route, status) = (route.as_str(), response.status());
        debug_assert!(
            shown.has(&method, route, status),
            "{method} {route} answers {status}, which its description does not have"
        );
    }
    response
}

fn statuses(document: &Value) -> HashMap<(String, String), BTreeSet<u16>> {
    let paths = document["paths"].as_object().into_iter().flatten();
    let operations = paths.flat_map(|(path, item)| {
        let methods = item.as_object().into_iter().flatten();
        methods.map(move |(method, operation)| (method.clone(), path.clone(), operation))
    });
    let statuses = |operation: &Value| {
        let responses = operation["responses"].as_object().into_iter().flatten();
        responses.filter_map(|(status, _)| status.parse().ok()).collect()
    };
    operations.map(|(method, path, it)| ((method, path), statuses(it))).collect()
}

#[cfg(test)]
mod tests;
