//! `/v1/shops/{shop}/locations`, and the limits of the stock at them.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use events::{
    http::LocationView,
    id::{Location, MAX_UNITS, Sku},
    proto::{
        command,
        inventory::{
            self, LocationKind, LocationResult, PutLocationAnswer, SetStockLimitsAnswer,
            StockLimitsResult,
        },
    },
};
use protocol::{id::ParseError, subject::Lane};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    body::JsonBytes,
    bulk::UnknownResult,
    extract::{LocationPath, RequestContext, SkuPath},
    fields::{self, Fields, flag, integer, object, text, within},
    openapi::bodies::{NewLocation, NewStockLimits},
    precondition::{Precondition, entity_tag, other_version},
    problem::{Code, FieldError, Problem},
    services::Reply,
    state::AppState,
    view,
};

/// The priority of a location for which none is given.
const DEFAULT_PRIORITY: u32 = 100;

/// The locations of a shop.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LocationList {
    /// All of them, by code.
    locations: Vec<LocationView>,
}

/// A location that was put.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PutLocationView {
    /// Its code.
    code: Location,
    /// `warehouse`, `store` or `other`.
    kind: &'static str,
    /// Orders are served from the locations with the smallest numbers first.
    priority: u32,
    /// Whether orders are served from it.
    fulfils_online: bool,
    /// Its country as ISO 3166-1 alpha-2.
    #[serde(skip_serializing_if = "String::is_empty")]
    country: String,
    /// Whether it is in use.
    active: bool,
    /// Counts its changes, from 1; 0 for `main` as it is from the beginning.
    version: u64,
    /// What became of it: `created`, `changed` or `unchanged`.
    result: &'static str,
}

/// How much of a stock is not sold, or sold beyond what is there.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StockLimitsView {
    /// The stock keeping unit.
    sku: Sku,
    /// The location.
    location: Location,
    /// The units that are kept back.
    safety_stock: i64,
    /// The units that are sold beyond those on hand.
    backorder_limit: i64,
    /// What became of it: `changed` or `unchanged`.
    result: &'static str,
}

/// Lists the locations.
#[utoipa::path(
    get,
    path = "/shops/{shop}/locations",
    operation_id = "list_locations",
    tag = "Inventory",
    responses((status = 200, description = "All locations of the shop.", body = LocationList)),
)]
pub(crate) async fn list(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
) -> Result<Json<LocationList>, Problem> {
    Ok(Json(LocationList { locations: read(&state, &context).await? }))
}

/// Shows a location.
#[utoipa::path(
    get,
    path = "/shops/{shop}/locations/{code}",
    operation_id = "get_location",
    tag = "Inventory",
    responses((status = 200, description = "The location.", body = LocationView, headers(
        ("ETag" = String, description = "Its version, for `If-Match`."),
    ))),
    extensions(("x-problems" = json!(["not_found"]))),
)]
pub(crate) async fn get(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    LocationPath(code): LocationPath,
) -> Result<Response, Problem> {
    let found = read(&state, &context).await?.into_iter().find(|it| it.code == code);
    let view = found.ok_or_else(|| Problem::not_found("location", code.as_str()))?;
    Ok(([entity_tag(view.version)], Json(view)).into_response())
}

async fn read(state: &AppState, context: &RequestContext) -> Result<Vec<LocationView>, Problem> {
    let question = inventory::ListLocations {};
    let locations = state.services.query_all(context, question).await?.locations;
    Ok(locations.into_iter().map(view::location).collect::<Result<_, _>>()?)
}

/// Puts a location: creates it, or changes it.
#[utoipa::path(
    put,
    path = "/shops/{shop}/locations/{code}",
    operation_id = "put_location",
    tag = "Inventory",
    params(
        ("If-Match" = Option<String>, Header, pattern = "^\"[0-9]{1,18}\"$",
            description = "Only if the location has the version of this `ETag`."),
        ("If-None-Match" = Option<String>, Header, pattern = "^\\*$",
            description = "`*`: only if it was never put."),
    ),
    request_body = NewLocation,
    responses(
        (status = 200, description = "The location was there.", body = PutLocationView, headers(
            ("ETag" = String, description = "Its version, for `If-Match`."),
        )),
        (status = 201, description = "The location is new.", body = PutLocationView, headers(
            ("ETag" = String, description = "Its version, for `If-Match`."),
        )),
    ),
    extensions(("x-problems" = json!(["too_many_locations", "precondition_failed"]))),
)]
pub(crate) async fn put(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    LocationPath(code): LocationPath,
    headers: HeaderMap,
    JsonBytes(bytes): JsonBytes,
) -> Result<Response, Problem> {
    let expected_version = Precondition::version_to_put(&headers)?;
    let location = fields::body(&bytes, |node, path, errors| {
        object(node, path, errors, |fields| Some(location(fields)))
    })?;
    let put = inventory::PutLocation {
        code: code.to_string(),
        location: Some(location.clone()),
        expected_version,
    };
    let command = context.command(None, command::Body::PutLocation(put));
    let services = &state.services;
    let reply =
        services.send::<PutLocationAnswer>(&context, Lane::Live, command, state.answer_timeout);
    let answer = match reply.await? {
        Reply::Answered(answer) => answer,
        Reply::Pending(accepted) => return Ok(accepted.into_response()),
    };
    let version = answer.body.version;
    let (status, result) = match answer.body.result() {
        LocationResult::Created => (StatusCode::CREATED, "created"),
        LocationResult::Changed => (StatusCode::OK, "changed"),
        LocationResult::Unchanged => (StatusCode::OK, "unchanged"),
        LocationResult::TooMany => {
            let detail = "the shop has as many locations as one may have".to_owned();
            return Err(Problem::new(Code::TooManyLocations, detail));
        }
        LocationResult::OtherVersion => return Err(other_version("location", version)),
        LocationResult::Unspecified => return Err(UnknownResult.into()),
    };
    let kind = view::location_kind(location.kind());
    let inventory::Location { priority, fulfils_online, country, active, .. } = location;
    let shown =
        PutLocationView { code, kind, priority, fulfils_online, country, active, version, result };
    Ok(answer.mark((status, [entity_tag(version)], Json(shown))))
}

/// Reads a location.
fn location(fields: &mut Fields<'_, '_>) -> inventory::Location {
    let kind = fields.optional("kind", text(kind)).unwrap_or(LocationKind::Warehouse);
    let priority = fields.optional("priority", integer(priority)).unwrap_or(DEFAULT_PRIORITY);
    let fulfils_online = fields.optional("fulfils_online", flag).unwrap_or(true);
    let country = fields.optional("country", text(country)).unwrap_or_default();
    let active = fields.optional("active", flag).unwrap_or(true);
    let kind = kind.into();
    inventory::Location { kind, priority, fulfils_online, country, active }
}

fn kind(value: &str) -> Result<LocationKind, ParseError> {
    match value {
        "warehouse" => Ok(LocationKind::Warehouse),
        "store" => Ok(LocationKind::Store),
        "other" => Ok(LocationKind::Other),
        _ => Err(ParseError::new("kind", "must be warehouse, store or other", value)),
    }
}

fn priority(number: i64) -> Result<u32, ParseError> {
    let refused = |_| ParseError::new("priority", "must be 0 to 4294967295", &number.to_string());
    u32::try_from(number).map_err(refused)
}

fn country(value: &str) -> Result<String, ParseError> {
    let is_code = value.len() == 2 && value.bytes().all(|byte| byte.is_ascii_uppercase());
    let rule = "must be a code of ISO 3166-1, two upper-case letters";
    if is_code { Ok(value.to_owned()) } else { Err(ParseError::new("country", rule, value)) }
}

/// Sets how many units of a SKU are kept back, and sold beyond those on hand.
#[utoipa::path(
    put,
    path = "/shops/{shop}/inventory/{sku}/limits",
    operation_id = "put_stock_limits",
    tag = "Inventory",
    request_body = NewStockLimits,
    responses((status = 200, description = "The limits as they are now.", body = StockLimitsView)),
    extensions(("x-problems" = json!(["not_found", "invalid_fields", "precondition_failed"]))),
)]
pub(crate) async fn put_limits(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    SkuPath(sku): SkuPath,
    JsonBytes(bytes): JsonBytes,
) -> Result<Response, Problem> {
    let (location, set) =
        fields::body(&bytes, |node, path, errors| object(node, path, errors, limits_to_set))?;
    let limits = set.limits.unwrap_or_default();
    let set =
        inventory::SetStockLimits { sku: sku.to_string(), location: location.to_string(), ..set };
    let command = context.command(None, command::Body::SetStockLimits(set));
    let services = &state.services;
    let reply =
        services.send::<SetStockLimitsAnswer>(&context, Lane::Live, command, state.answer_timeout);
    let answer = match reply.await? {
        Reply::Answered(answer) => answer,
        Reply::Pending(accepted) => return Ok(accepted.into_response()),
    };
    let result = match answer.body.result() {
        StockLimitsResult::Changed => "changed",
        StockLimitsResult::Unchanged => "unchanged",
        StockLimitsResult::UnknownSku => return Err(Problem::not_found("product", sku.as_str())),
        StockLimitsResult::UnknownLocation => return Err(unknown_location(&location)),
        StockLimitsResult::OtherLimits => {
            return Err(other_limits(answer.body.found.unwrap_or_default()));
        }
        StockLimitsResult::Unspecified => return Err(UnknownResult.into()),
    };
    let inventory::StockLimits { safety_stock, backorder_limit } = limits;
    let shown = StockLimitsView { sku, location, safety_stock, backorder_limit, result };
    Ok(answer.mark(Json(shown)))
}

/// Reads which limits are to be set, and the location.
fn limits_to_set(fields: &mut Fields<'_, '_>) -> Option<(Location, inventory::SetStockLimits)> {
    let location = fields.optional("location", text(Location::parse));
    let expected =
        fields.optional("expected", |node, path, errors| object(node, path, errors, limits));
    let limits = Some(limits(fields)?);
    let set = inventory::SetStockLimits { limits, expected, ..Default::default() };
    Some((location.unwrap_or_else(Location::main), set))
}

/// Reads the limits of a stock.
fn limits(fields: &mut Fields<'_, '_>) -> Option<inventory::StockLimits> {
    let safety_stock = fields.required("safety_stock", integer(units("safety_stock")));
    let backorder_limit = fields.required("backorder_limit", integer(units("backorder_limit")));
    Some(inventory::StockLimits { safety_stock: safety_stock?, backorder_limit: backorder_limit? })
}

fn units(what: &'static str) -> impl FnOnce(i64) -> Result<i64, ParseError> {
    move |units| within(what, "must be 0 to 1000000000", 0..=MAX_UNITS, units)
}

/// The limits of a stock are these, and not those that were expected.
fn other_limits(found: inventory::StockLimits) -> Problem {
    let inventory::StockLimits { safety_stock, backorder_limit } = found;
    let detail = format!(
        "the limits are safety_stock {safety_stock} and backorder_limit {backorder_limit}, not those \
         expected: send these as expected, or none"
    );
    let problem = Problem::new(Code::PreconditionFailed, detail);
    problem.with("safety_stock", safety_stock).with("backorder_limit", backorder_limit)
}

/// A location that the shop does not have.
fn unknown_location(code: &Location) -> Problem {
    let detail = format!("the shop has no location {code}");
    Problem::fields(vec![FieldError::of_member("location", detail)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn read_location(body: &str) -> Result<inventory::Location, Vec<String>> {
        let read = fields::line(body.as_bytes(), |node, path, errors| {
            object(node, path, errors, |fields| Some(location(fields)))
        });
        read.map_err(|errors| errors.into_iter().map(|error| error.field).collect())
    }

    #[test]
    fn a_location_has_what_is_said_and_otherwise_serves_orders() {
        let store = r#"{"kind":"store","priority":7,"fulfils_online":false,"country":"DE",
            "active":false}"#;
        let expected = inventory::Location {
            kind: LocationKind::Store.into(),
            priority: 7,
            fulfils_online: false,
            country: "DE".into(),
            active: false,
        };
        assert_eq!(read_location(store), Ok(expected));
        let usual = inventory::Location {
            kind: LocationKind::Warehouse.into(),
            priority: 100,
            fulfils_online: true,
            country: String::new(),
            active: true,
        };
        assert_eq!(read_location("{}"), Ok(usual));
    }

    #[test]
    fn every_wrong_field_of_a_location_is_named() {
        let wrong = r#"{"kind":"shed","priority":-1,"fulfils_online":1,"country":"Germany",
            "active":"yes","more":1}"#;
        let names = ["kind", "priority", "fulfils_online", "country", "active", "more"];
        assert_eq!(read_location(wrong), Err(names.map(str::to_owned).to_vec()));
    }

    #[test]
    fn limits_are_units_of_a_location() {
        let read = |body: &str| {
            fields::line(body.as_bytes(), |node, path, errors| {
                object(node, path, errors, limits_to_set)
            })
        };
        let limits = |safety_stock, backorder_limit| inventory::StockLimits {
            safety_stock,
            backorder_limit,
        };
        let set = |expected| {
            let limits = Some(limits(2, 5));
            Ok((
                Location::main(),
                inventory::SetStockLimits { limits, expected, ..Default::default() },
            ))
        };
        assert_eq!(read(r#"{"safety_stock":2,"backorder_limit":5}"#), set(None));
        let conditional = r#"{"safety_stock":2,"backorder_limit":5,
            "expected":{"safety_stock":1,"backorder_limit":0}}"#;
        assert_eq!(read(conditional), set(Some(limits(1, 0))));
        let errors =
            read(r#"{"safety_stock":2,"backorder_limit":5,"expected":{"safety_stock":1}}"#);
        let named = errors.expect_err("is half of it").into_iter().map(|error| error.field);
        assert_eq!(named.collect::<Vec<_>>(), ["expected.backorder_limit"]);
        let errors = read(r#"{"location":"X","safety_stock":-1}"#).expect_err("is wrong");
        let named: Vec<_> = errors.iter().map(|error| error.field.as_str()).collect();
        assert_eq!(named, ["location", "safety_stock", "backorder_limit"]);
    }
}
