//! `/v1/shops/{shop}/products`: puts and shows products, one or many.

use std::{convert::Infallible, sync::Arc};

use axum::{
    Json,
    body::Body,
    extract::State,
    http::{HeaderMap, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use events::{
    http::ProductView,
    id::{Country, HsCode, ListingKey, Sku, TaxClass},
    money::{Currency, Money},
    proto::{
        self,
        catalog::{
            self, ProductOutcome, ProductResult, PutProductsAnswer, StoredProduct, WantedProduct,
        },
    },
};
use protocol::{
    id::{ParseError, Shop},
    subject::Lane,
    time::Timestamp,
};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use crate::{
    body::{JsonBytes, read_json},
    bulk::{self, LineName, LineOutcome, MaybeUpload, UnknownResult, Upload},
    cursors::List,
    extract::{DEFAULT_PAGE_LENGTH, RequestContext, SkuPath, page_length, query},
    fields::{
        self, Change, Errors, Fields, Path, code, flag, integer, object, tax_basis, text,
        unit_price, within, words,
    },
    json::Node,
    lines::SentText,
    openapi::bodies::{NewProduct, NewProducts, ProductReport, UploadParameters},
    precondition::{Precondition, entity_tag, other_version},
    problem::{Code, FieldError, Problem},
    services::Reply,
    state::AppState,
    view,
};

/// The longest title, in characters: 500 products fit a message of 1 MB, whatever their titles.
const MAX_TITLE_LENGTH: usize = 200;
/// The largest weight of a unit, in grams: a thousand tons.
const MAX_WEIGHT_G: i64 = 1_000_000_000;

/// What a product may have or not, as `cleared` of the command names it.
const LISTING_KEY: &str = "listing_key";
const TAX_CLASS: &str = "tax_class";
const WEIGHT_G: &str = "weight_g";
const COUNTRY_OF_ORIGIN: &str = "customs.country_of_origin";
const HS_CODE: &str = "customs.hs_code";

/// The longest text that is searched for, in characters, and the most words of it.
const MAX_SEARCH_LENGTH: usize = 200;
const MAX_SEARCH_WORDS: usize = 8;

/// The parameters of the list, as they are described; `question` reads them.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it is a description")]
struct ProductParameters {
    /// Words, or parts of them, that the title or the SKU holds, whatever their case; 8 at most. A page of a search
    /// looks at 10,000 products: it may hold fewer than `limit`, or none, and have a `next`.
    #[param(min_length = 1, max_length = 200, example = "blue mug")]
    q: Option<String>,
    /// The `next` of a page of the same search; without it, the first page.
    after: Option<String>,
    /// The most products of the page.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
}

/// A page of the products.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProductList {
    /// The products, by SKU.
    products: Vec<ProductView>,
    /// The `after` of the next page; null at the end.
    #[schema(required)]
    next: Option<String>,
}

/// A product that was put.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PutProductView {
    #[serde(flatten)]
    product: ProductView,
    /// What became of it: `created`, `updated`, `archived` or `unchanged`.
    result: &'static str,
}

/// Shows a product.
#[utoipa::path(
    get,
    path = "/shops/{shop}/products/{sku}",
    operation_id = "get_product",
    tag = "Products",
    responses((status = 200, description = "The product.", body = ProductView, headers(
        ("ETag" = String, description = "Its version, for `If-Match`."),
    ))),
    extensions(("x-problems" = json!(["not_found"]))),
)]
pub(crate) async fn get(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    SkuPath(sku): SkuPath,
) -> Result<Response, Problem> {
    let question = catalog::GetProduct { sku: sku.to_string() };
    match state.services.query(&context, question).await? {
        Some(product) => {
            let view = view::product(product)?;
            Ok(([entity_tag(view.version)], Json(view)).into_response())
        }
        None => Err(Problem::not_found("product", sku.as_str())),
    }
}

/// Lists the products, or searches for some.
///
/// Paging while products are put misses none that was there all the time, and shows none twice.
#[utoipa::path(
    get,
    path = "/shops/{shop}/products",
    operation_id = "list_products",
    tag = "Products",
    params(ProductParameters),
    responses((status = 200, description = "A page of the products, by SKU.", body = ProductList)),
)]
pub(crate) async fn list(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    uri: Uri,
) -> Result<Json<ProductList>, Problem> {
    let (question, list) = query(&uri, |fields| Some(question(fields, &context.shop)))?;
    let catalog::StoredProducts { products, next } =
        state.services.query_all(&context, question).await?;
    let products = products.into_iter().map(view::product).collect::<Result<Vec<_>, _>>()?;
    let next = (!next.is_empty()).then(|| list.cursor(&next));
    Ok(Json(ProductList { products, next }))
}

fn question(fields: &mut Fields<'_, '_>, shop: &Shop) -> (catalog::ListProducts, List) {
    let parts = fields.optional("q", text(search)).unwrap_or_default();
    let all = catalog::ListProducts { parts, ..Default::default() };
    let list = List::of(shop, all.clone());
    let after = fields.optional("after", code(|text| list.name(text, Sku::parse)));
    let limit = fields.optional("limit", text(page_length)).unwrap_or(DEFAULT_PAGE_LENGTH);
    let after = after.map(String::from).unwrap_or_default();
    (catalog::ListProducts { after, limit, ..all }, list)
}

/// The words of a search.
fn search(value: &str) -> Result<Vec<String>, ParseError> {
    let rule = "must be 1 to 8 words, 200 characters at most, without control characters";
    let parts: Vec<_> =
        words("q", rule, MAX_SEARCH_LENGTH, value)?.split_whitespace().map(str::to_owned).collect();
    let is_search = (1..=MAX_SEARCH_WORDS).contains(&parts.len());
    if is_search { Ok(parts) } else { Err(ParseError::new("q", rule, value)) }
}

/// Puts a product: creates it, or replaces it. What is absent it does not have from then on.
#[utoipa::path(
    put,
    path = "/shops/{shop}/products/{sku}",
    operation_id = "put_product",
    tag = "Products",
    params(
        ("If-Match" = Option<String>, Header, pattern = "^\"[0-9]{1,18}\"$",
            description = "Only if the product has the version of this `ETag`."),
        ("If-None-Match" = Option<String>, Header, pattern = "^\\*$",
            description = "`*`: only if there is none yet."),
    ),
    request_body = NewProduct,
    responses(
        (status = 200, description = "The product was there; `result` says what became of it.", body = PutProductView, headers(
            ("ETag" = String, description = "Its version, for `If-Match`."),
        )),
        (status = 201, description = "The product is new.", body = PutProductView, headers(
            ("ETag" = String, description = "Its version, for `If-Match`."),
        )),
    ),
    extensions(("x-problems" = json!(["stale", "version_mismatch", "precondition_failed"]))),
)]
pub(crate) async fn put(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    SkuPath(sku): SkuPath,
    headers: HeaderMap,
    JsonBytes(bytes): JsonBytes,
) -> Result<Response, Problem> {
    let condition = Precondition::version_to_put(&headers)?;
    let mut product = fields::body(&bytes, |node, path, errors| {
        object(node, path, errors, |fields| product(fields, Some(sku)))
    })?;
    // What a header asks for is answered as HTTP has it, and a field by a problem of its own.
    let expected = match (condition, product.expected_version) {
        (None, version) => Expected::Field(version.unwrap_or_default()),
        (Some(0), None) => Expected::Absent,
        (Some(_), None) => Expected::Header,
        (Some(_), Some(_)) => {
            let detail = "send If-Match, If-None-Match or expected_version, one of them".to_owned();
            return Err(Problem::fields(vec![FieldError::of_member("expected_version", detail)]));
        }
    };
    product.expected_version = condition.or(product.expected_version);
    take_away_what_is_absent(&mut product);
    let put = proto::catalog::PutProducts { products: vec![product], notes_unchanged: true };
    let command = context.command(None, proto::command::Body::PutProducts(put));
    let shown = view::product(StoredProduct { product: wanted_by(&command), version: 0 })?;
    match state
        .services
        .send::<PutProductsAnswer>(&context, Lane::Live, command, state.answer_timeout)
        .await?
    {
        Reply::Answered(answer) => Ok(answer.mark(put_response(&answer.body, shown, expected)?)),
        Reply::Pending(accepted) => Ok(accepted.into_response()),
    }
}

/// The product of a command that puts one.
fn wanted_by(command: &proto::Command) -> Option<proto::catalog::Product> {
    match &command.body {
        Some(proto::command::Body::PutProducts(put)) => put.products.first()?.product.clone(),
        _ => None,
    }
}

/// The version that a product must have, and where the client says so.
#[derive(Debug, Clone, Copy)]
enum Expected {
    /// That of `If-Match`.
    Header,
    /// None, because there must be no such product: `If-None-Match: *`.
    Absent,
    /// That of the field `expected_version`; 0 if it is absent.
    Field(u64),
}

fn put_response(
    answer: &PutProductsAnswer,
    mut shown: ProductView,
    expected: Expected,
) -> Result<Response, Problem> {
    let ProductOutcome { result, version } = answer.outcomes.first().copied().unwrap_or_default();
    let result = ProductResult::try_from(result).unwrap_or_default();
    let status = match result {
        ProductResult::Created => StatusCode::CREATED,
        // A change that is there already fulfils `If-Match` (RFC 9110, 13.1.1), but not this condition (13.1.2).
        ProductResult::Unchanged if matches!(expected, Expected::Absent) => {
            return Err(other_version("product", version));
        }
        ProductResult::Updated
        | ProductResult::Archived
        | ProductResult::Unchanged
        | ProductResult::Unspecified => StatusCode::OK,
        ProductResult::Stale => {
            let detail = "the product changed after `as_of`: read it, and send what shall be";
            return Err(Problem::new(Code::StaleProduct, detail).with("version", version));
        }
        ProductResult::VersionMismatch => {
            let expected = match expected {
                Expected::Header | Expected::Absent => {
                    return Err(other_version("product", version));
                }
                Expected::Field(expected) => expected,
            };
            let detail = format!(
                "the product has version {version}, not {expected}: read it, and send what shall be"
            );
            let problem = Problem::new(Code::VersionMismatch, detail).with("version", version);
            return Err(problem.with("expected_version", expected));
        }
    };
    shown.version = version;
    let body = PutProductView { product: shown, result: outcome(result)?.result };
    Ok((status, [entity_tag(version)], Json(body)).into_response())
}

/// Puts many products.
///
/// As a list in JSON, at most 10,000 and 1 MB, or a product a line, as NDJSON or CSV, also compressed by gzip. The answer
/// has the result of each line, with `Accept: application/x-ndjson` while the upload runs; a line that is wrong does not hinder the others.
#[utoipa::path(
    post,
    path = "/shops/{shop}/products",
    operation_id = "put_products",
    tag = "Products",
    params(UploadParameters),
    request_body(content((NewProducts = "application/json"), (String = "application/x-ndjson"), (String = "text/csv"))),
    responses(
        (status = 200, description = "The result of each line.", content((ProductReport = "application/json"), (String = "application/x-ndjson"))),
        (status = 202, description = "Not all lines were handled, or some are stored and not yet answered: `status` says which, and `next_line` from where to go on.", body = ProductReport),
    ),
)]
pub(crate) async fn post(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    MaybeUpload(options): MaybeUpload,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    if let Some(options) = options {
        return bulk::upload::<Products>(state, context, (&headers, options), body).await;
    }
    let bytes = read_json(&headers, body).await?;
    let lines = fields::body(&bytes, |node, path, errors| {
        object(node, path, errors, |fields| bulk::items::<Products>(fields, "products"))
    })?;
    bulk::list::<Products>(state, context, lines).await
}

/// Uploads of products.
struct Products;

impl Upload for Products {
    type Line = WantedProduct;
    type Invalid = Infallible;
    type Answer = PutProductsAnswer;
    const COLUMNS: &'static [&'static str] = &[
        "sku",
        "title",
        "price.minor",
        "price.currency",
        "price.tax_basis",
        "active",
        LISTING_KEY,
        TAX_CLASS,
        WEIGHT_G,
        COUNTRY_OF_ORIGIN,
        HS_CODE,
        "as_of",
        "expected_version",
    ];
    const COUNTS: &'static [&'static str] = &["accepted", "stale", bulk::REJECTED];

    fn read(node: &Node<'_>, path: &Path<'_>, errors: &mut Errors) -> Option<WantedProduct> {
        object(node, path, errors, |fields| product(fields, None))
    }

    fn name(wanted: &WantedProduct) -> LineName {
        let sku = wanted.product.as_ref().map(|product| product.sku.clone());
        LineName { sku: sku.unwrap_or_default(), document: None, document_line: None }
    }

    fn invalid(_: usize, _: &SentText<'_>, _: &[FieldError]) -> Option<Infallible> {
        None
    }

    fn command(
        _: &RequestContext,
        products: Vec<WantedProduct>,
        _: Vec<(usize, Infallible)>,
    ) -> proto::command::Body {
        let notes_unchanged = false;
        proto::command::Body::PutProducts(proto::catalog::PutProducts { products, notes_unchanged })
    }

    fn outcomes(answer: PutProductsAnswer) -> Result<Vec<LineOutcome>, UnknownResult> {
        let results = answer.outcomes.iter().map(|it| ProductResult::try_from(it.result));
        results.map(|result| outcome(result.unwrap_or_default())).collect()
    }
}

fn outcome(result: ProductResult) -> Result<LineOutcome, UnknownResult> {
    let (result, count, detail) = match result {
        ProductResult::Created => ("created", "accepted", None),
        ProductResult::Updated => ("updated", "accepted", None),
        ProductResult::Archived => ("archived", "accepted", None),
        ProductResult::Unchanged => ("unchanged", "accepted", None),
        ProductResult::Stale => {
            let detail = "the product changed after `as_of`: it was left as it is";
            ("stale", "stale", Some(detail))
        }
        ProductResult::VersionMismatch => {
            let detail = "the product has another version: read it, and send it again";
            ("version_mismatch", bulk::REJECTED, Some(detail))
        }
        ProductResult::Unspecified => return Err(UnknownResult),
    };
    Ok(LineOutcome::new(result, count, detail))
}

/// Reads a product. Its SKU is a field unless the path names it.
fn product(fields: &mut Fields<'_, '_>, sku: Option<Sku>) -> Option<WantedProduct> {
    let sku = match sku {
        Some(sku) => Some(sku),
        None => fields.required("sku", code(Sku::parse)),
    };
    let title = fields.required("title", text(title));
    let price = fields.required("price", price);
    let active = fields.optional("active", flag).unwrap_or(true);
    let details = details(fields);
    let as_of = fields.optional("as_of", text(Timestamp::parse_rfc3339));
    let expected_version = fields.optional("expected_version", integer(version));
    let mut wanted = WantedProduct { as_of: as_of.map(Into::into), expected_version, ..details };
    let product = wanted.product.get_or_insert_default();
    (product.sku, product.title, product.price) = (sku?.into(), title?, Some(price?));
    product.active = active;
    Some(wanted)
}

/// Reads what a product may have or not. What is null is to be taken away.
fn details(fields: &mut Fields<'_, '_>) -> WantedProduct {
    let mut cleared = Cleared::default();
    let listing_key = fields.clearable("listing_key", code(ListingKey::parse));
    let tax_class = fields.clearable("tax_class", text(TaxClass::parse));
    let weight = fields.clearable("weight_g", integer(weight));
    let customs = fields.clearable("customs", |node, path, errors| {
        object(node, path, errors, |fields| {
            let country = fields.clearable("country_of_origin", text(Country::parse));
            Some((country, fields.clearable("hs_code", code(HsCode::parse))))
        })
    });
    let (country, hs_code) = match customs {
        Change::Keep => (Change::Keep, Change::Keep),
        Change::Clear => (Change::Clear, Change::Clear),
        Change::Set(members) => members,
    };
    let customs = catalog::Customs {
        country_of_origin: cleared.take(COUNTRY_OF_ORIGIN, country).map(Into::into),
        hs_code: cleared.take(HS_CODE, hs_code).map(Into::into),
    };
    let product = catalog::Product {
        listing_key: cleared.take(LISTING_KEY, listing_key).map(Into::into),
        tax_class: cleared.take(TAX_CLASS, tax_class).map(Into::into),
        weight_g: cleared.take(WEIGHT_G, weight),
        customs: Some(customs).filter(|customs| *customs != catalog::Customs::default()),
        ..Default::default()
    };
    WantedProduct { product: Some(product), cleared: cleared.0, ..Default::default() }
}

/// The names of what is to be taken away.
#[derive(Debug, Default)]
struct Cleared(Vec<String>);

impl Cleared {
    /// The value that is to be there; notes that there shall be none.
    fn take<T>(&mut self, name: &str, change: Change<T>) -> Option<T> {
        if matches!(change, Change::Clear) {
            self.0.push(name.to_owned());
        }
        change.apply(None)
    }
}

/// Says of what a product does not have that it is to be taken away: it is put as a whole.
fn take_away_what_is_absent(wanted: &mut WantedProduct) {
    let Some(product) = &wanted.product else { return };
    let customs = product.customs.clone().unwrap_or_default();
    let is_absent = [
        (LISTING_KEY, product.listing_key.is_none()),
        (TAX_CLASS, product.tax_class.is_none()),
        (WEIGHT_G, product.weight_g.is_none()),
        (COUNTRY_OF_ORIGIN, customs.country_of_origin.is_none()),
        (HS_CODE, customs.hs_code.is_none()),
    ];
    let absent = is_absent.into_iter().filter(|(_, is_absent)| *is_absent);
    wanted.cleared = absent.map(|(name, _)| name.to_owned()).collect();
}

fn weight(grams: i64) -> Result<u32, ParseError> {
    let rule = "must be 0 to 1000000000";
    let grams = within("weight_g", rule, 0..=MAX_WEIGHT_G, grams)?;
    u32::try_from(grams).map_err(|_| ParseError::new("weight_g", rule, &grams.to_string()))
}

/// Reads a price: an amount, and whether tax is in it where it says so.
fn price(node: &Node<'_>, path: &Path<'_>, errors: &mut Errors) -> Option<proto::Price> {
    object(node, path, errors, |fields| {
        let minor = fields.required("minor", integer(unit_price));
        let currency = fields.required("currency", text(Currency::parse_current));
        let basis = fields.optional("tax_basis", text(tax_basis)).map(proto::TaxBasis::from);
        let money = Some(Money { minor: minor?, currency: currency? }.into());
        Some(proto::Price { money, tax_basis: basis.unwrap_or_default().into() })
    })
}

fn version(value: i64) -> Result<u64, ParseError> {
    let rule = "must be 0 to 9223372036854775807";
    u64::try_from(value).map_err(|_| ParseError::new("version", rule, &value.to_string()))
}

fn title(value: &str) -> Result<String, ParseError> {
    let rule = "must be 1 to 200 characters without control characters";
    words("title", rule, MAX_TITLE_LENGTH, value)
}

#[cfg(test)]
mod tests {
    use events::money::TaxBasis;

    use super::*;

    #[test]
    fn a_product_is_read() {
        let line = br#"{"sku":"A","title":"Mug","price":{"minor":199,"currency":"GBP"}}"#;
        let currency = Currency::parse("GBP").expect("valid");
        let product = proto::catalog::Product {
            sku: "A".into(),
            title: "Mug".into(),
            // The line does not say whether tax is in its price: the shop does.
            price: Some(proto::Price {
                money: Some(Money { minor: 199, currency }.into()),
                tax_basis: 0,
            }),
            active: true,
            ..Default::default()
        };
        let wanted = WantedProduct { product: Some(product), ..Default::default() };
        assert_eq!(fields::line(line, Products::read).expect("is valid"), wanted);
    }

    #[test]
    fn what_a_line_does_not_say_stays_and_what_is_null_is_taken_away() {
        let read = |members: &str| {
            let line = format!(
                r#"{{"sku":"A","title":"Mug","price":{{"minor":199,"currency":"GBP"}}{members}}}"#
            );
            let wanted = fields::line(line.as_bytes(), Products::read).expect("is valid");
            let product = wanted.product.clone().unwrap_or_default();
            (product.weight_g, product.customs, wanted)
        };
        let none: [&str; 0] = [];
        let (weight, customs, wanted) = read("");
        assert_eq!((weight, customs, &*wanted.cleared), (None, None, &none.map(String::from)[..]));
        let (weight, customs, wanted) =
            read(r#","weight_g":350,"tax_class":null,"customs":{"hs_code":"691200"}"#);
        let expected = catalog::Customs { hs_code: Some("691200".into()), country_of_origin: None };
        assert_eq!((weight, customs), (Some(350), Some(expected)));
        assert_eq!(wanted.cleared, ["tax_class"]);
        let (_, _, mut wanted) = read(r#","weight_g":0,"customs":null"#);
        assert_eq!(wanted.cleared, ["customs.country_of_origin", "customs.hs_code"]);
        take_away_what_is_absent(&mut wanted);
        let all_but_weight =
            ["listing_key", "tax_class", "customs.country_of_origin", "customs.hs_code"];
        assert_eq!(wanted.cleared, all_but_weight, "a product that is put is put as a whole");
    }

    #[test]
    fn what_is_there_as_wanted_is_not_created() {
        let status = |result: ProductResult, expected| {
            let outcomes = vec![ProductOutcome { result: result.into(), version: 1 }];
            let currency = Currency::parse("GBP").expect("valid");
            let product = proto::catalog::Product {
                sku: "A".into(),
                title: "Mug".into(),
                price: Some(TaxBasis::Excluded.price(199, currency)),
                active: true,
                ..Default::default()
            };
            let stored = StoredProduct { product: Some(product), version: 0 };
            let shown = view::product(stored).expect("valid");
            let response = put_response(&PutProductsAnswer { outcomes }, shown, expected);
            response.into_response().status().as_u16()
        };
        let [created, unchanged] = [ProductResult::Created, ProductResult::Unchanged];
        assert_eq!(status(created, Expected::Absent), 201);
        assert_eq!(status(unchanged, Expected::Absent), 412);
        assert_eq!(status(unchanged, Expected::Header), 200, "the change is there already");
        assert_eq!(status(unchanged, Expected::Field(0)), 200);
    }

    #[test]
    fn a_title_holds_no_number_of_a_card() {
        let line = br#"{"sku":"4111111111111111","title":"4111 1111 1111 1111",
            "price":{"minor":1,"currency":"GBP"}}"#;
        let errors = fields::line(line, Products::read).expect_err("is wrong");
        let expected = "title must not hold the number of a payment card";
        assert_eq!((errors.len(), &*errors[0].detail), (1, expected));
    }

    #[test]
    fn every_wrong_field_of_a_product_is_named() {
        let line = br#"{"sku":"A B","title":"","price":{"minor":-1,"currency":"gbp",
            "tax_basis":"net"},"active":1,"listing_key":"a b","tax_class":"Reduced","weight_g":-1,
            "customs":{"country_of_origin":"de","hs_code":"12345"},"as_of":"today",
            "expected_version":-1}"#;
        let errors = fields::line(line, Products::read).expect_err("is wrong");
        let named: Vec<_> = errors.iter().map(|error| error.field.as_str()).collect();
        assert_eq!(
            named,
            [
                "sku",
                "title",
                "price.minor",
                "price.currency",
                "price.tax_basis",
                "active",
                "listing_key",
                "tax_class",
                "weight_g",
                "customs.country_of_origin",
                "customs.hs_code",
                "as_of",
                "expected_version"
            ]
        );
    }
}
