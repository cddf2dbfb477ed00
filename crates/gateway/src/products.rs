//! `/v1/shops/{shop}/products`: puts and shows products, one or many.

use std::sync::Arc;

use axum::{
    Json,
    body::Body,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use events::{
    http::ProductView,
    id::Sku,
    proto::{
        self,
        catalog::{self, ProductResult, PutProductsAnswer},
    },
};
use protocol::{id::ParseError, subject::Lane};
use serde_json::{Value, json};

use crate::{
    body::{JsonBytes, Media, media, read_json},
    bulk::{self, LineName, LineOutcome, UnknownResult, Upload},
    extract::{RequestContext, SkuPath},
    fields::{self, Errors, Fields, Path, flag, object, price, text, words},
    json::Node,
    problem::{Problem, RETRY_AFTER_S},
    services::{Page, Reply},
    state::AppState,
    view,
};

/// The longest title, in characters: 500 products fit a message of 1 MB, whatever their titles.
const MAX_TITLE_LENGTH: usize = 200;

/// `GET /products/{sku}`.
pub(crate) async fn get(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    SkuPath(sku): SkuPath,
) -> Result<Json<ProductView>, Problem> {
    let question = catalog::GetProduct { sku: sku.to_string() };
    match state.services.query(&context.shop, question, 0).await? {
        Some(product) => Ok(Json(view::product(product)?)),
        None => Err(Problem::not_found("product", sku.as_str())),
    }
}

/// `GET /products?after=SKU&limit=100`.
pub(crate) async fn list(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    page: Page,
) -> Result<Json<Value>, Problem> {
    let question = catalog::ListProducts { after: page.after.clone(), limit: page.limit };
    let stored = state.services.query_all(&context.shop, question).await?.products;
    let products = stored.into_iter().map(view::product).collect::<Result<Vec<_>, _>>()?;
    let next = page.next(&products, |product| &product.sku);
    Ok(Json(json!({"products": products, "next": next})))
}

/// `PUT /products/{sku}`.
pub(crate) async fn put(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    SkuPath(sku): SkuPath,
    JsonBytes(bytes): JsonBytes,
) -> Result<Response, Problem> {
    let product = fields::body(&bytes, |node, path, errors| {
        object(node, path, errors, |fields| product(fields, Some(sku)))
    })?;
    let shown = json!({
        "sku": product.sku,
        "title": product.title,
        "price": {
            "minor": product.price.as_ref().map(|price| price.minor),
            "currency": product.price.as_ref().map(|price| &price.currency),
        },
        "active": product.active,
    });
    let command = context.command(None, &bytes, Products::command(vec![product]));
    let command_id = command.id.clone();
    match state
        .services
        .send::<PutProductsAnswer>(Lane::Live, command, state.answer_timeout)
        .await?
    {
        Reply::Answered(answer) => Ok(answer.mark(put_response(&answer.body, shown)?)),
        Reply::Pending => {
            let retry_after = [(header::RETRY_AFTER, RETRY_AFTER_S.to_string())];
            let body = Json(json!({"command_id": command_id}));
            Ok((StatusCode::ACCEPTED, retry_after, body).into_response())
        }
    }
}

fn put_response(
    answer: &PutProductsAnswer,
    mut shown: Value,
) -> Result<impl IntoResponse + use<>, Problem> {
    let result = answer.results().next().unwrap_or_default();
    let status = match result {
        ProductResult::Created => StatusCode::CREATED,
        ProductResult::Updated
        | ProductResult::Discontinued
        | ProductResult::Unchanged
        | ProductResult::Unspecified => StatusCode::OK,
    };
    shown["result"] = json!(outcome(result)?.result);
    Ok((status, Json(shown)))
}

/// `POST /products`: many, as NDJSON or as `{"products": […]}`.
pub(crate) async fn post(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    match media(&headers)? {
        Media::Ndjson => bulk::ndjson::<Products>(&state, &context, &headers, body).await,
        Media::Json => {
            let bytes = read_json(&headers, body).await?;
            let lines = fields::body(&bytes, |node, path, errors| {
                object(node, path, errors, |fields| bulk::items::<Products>(fields, "products"))
            })?;
            bulk::list::<Products>(&state, &context, bytes, lines).await
        }
    }
}

/// Uploads of products.
struct Products;

impl Upload for Products {
    type Line = proto::catalog::Product;
    type Answer = PutProductsAnswer;
    const COUNTS: &'static [&'static str] = &["accepted", bulk::REJECTED];

    fn read(
        node: &Node<'_>,
        path: &Path<'_>,
        errors: &mut Errors,
    ) -> Option<proto::catalog::Product> {
        object(node, path, errors, |fields| product(fields, None))
    }

    fn name(product: &proto::catalog::Product) -> LineName {
        LineName { sku: product.sku.clone(), document: None, document_line: None }
    }

    fn command(products: Vec<proto::catalog::Product>) -> proto::command::Body {
        proto::command::Body::PutProducts(proto::catalog::PutProducts { products })
    }

    fn outcomes(answer: PutProductsAnswer) -> Result<Vec<LineOutcome>, UnknownResult> {
        answer.results().map(outcome).collect()
    }
}

fn outcome(result: ProductResult) -> Result<LineOutcome, UnknownResult> {
    let result = match result {
        ProductResult::Created => "created",
        ProductResult::Updated => "updated",
        ProductResult::Discontinued => "discontinued",
        ProductResult::Unchanged => "unchanged",
        ProductResult::Unspecified => return Err(UnknownResult),
    };
    Ok(LineOutcome { result, count: "accepted", detail: None })
}

/// Reads a product. Its SKU is a field unless the path names it.
fn product(fields: &mut Fields<'_, '_>, sku: Option<Sku>) -> Option<proto::catalog::Product> {
    let sku = match sku {
        Some(sku) => Some(sku),
        None => fields.required("sku", text(Sku::parse)),
    };
    let title = fields.required("title", text(title));
    let price = fields.required("price", price);
    let active = fields.optional("active", flag).unwrap_or(true);
    Some(proto::catalog::Product { sku: sku?.into(), title: title?, price: Some(price?), active })
}

fn title(value: &str) -> Result<String, ParseError> {
    let rule = "must be 1 to 200 characters without control characters";
    words("title", rule, MAX_TITLE_LENGTH, value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_product_is_read() {
        let line = br#"{"sku":"A","title":"Mug","price":{"minor":199,"currency":"GBP"}}"#;
        let price = Some(proto::Money { minor: 199, currency: "GBP".into() });
        assert_eq!(
            fields::line(line, Products::read),
            Ok(proto::catalog::Product {
                sku: "A".into(),
                title: "Mug".into(),
                price,
                active: true
            })
        );
    }

    #[test]
    fn every_wrong_field_of_a_product_is_named() {
        let line = br#"{"sku":"A B","title":"","price":{"minor":-1,"currency":"gbp"},"active":1}"#;
        let errors = fields::line(line, Products::read).expect_err("is wrong");
        let named: Vec<_> = errors.iter().map(|error| error.field.as_str()).collect();
        assert_eq!(named, ["sku", "title", "price.minor", "price.currency", "active"]);
    }
}
