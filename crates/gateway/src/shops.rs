//! `/v1/shops`: creates, changes and shows shops.

pub(crate) mod suspension;

use std::sync::Arc;

use axum::{
    Extension, Json,
    extract::State,
    http::{HeaderMap, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use events::{
    http::ShopView,
    id::Location,
    money::Currency,
    proto::{
        command::Body,
        shop::{self, ChangeShop, ChangeShopAnswer, CreateShop, CreateShopAnswer, ShopResult},
    },
    shop::{
        Capture, MAX_COUNTRIES, MAX_ONE_STEP_METHODS, Settings, ShortRule, country,
        one_step_method, seconds,
    },
};
use protocol::{
    id::{ParseError, Shop},
    subject::Lane,
};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use crate::{
    body::JsonBytes,
    cursors::List,
    extract::{DEFAULT_PAGE_LENGTH, RequestContext, page_length, query},
    fields::{self, Fields, code, flag, integer, list, object, text},
    known_shops::unknown,
    openapi::bodies::ShopSettings,
    position::SeenPositions,
    precondition::{Precondition, entity_tag},
    problem::{Code, Problem},
    request::ShopFacts,
    services::{Answer, AnswerError, Reply},
    state::AppState,
    view,
};

/// The part of a request that creates the shop, and the one that changes it: the same request under
/// the same idempotency key leads to the same commands.
const CREATE_PART: usize = 0;
const CHANGE_PART: usize = 1;

/// A page of the shops.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ShopList {
    /// The shops, by name.
    shops: Vec<ShopView>,
    /// The `after` of the next page; null at the end.
    #[schema(required)]
    next: Option<String>,
}

/// Shows a shop.
#[utoipa::path(
    get,
    path = "/shops/{shop}",
    operation_id = "get_shop",
    tag = "Shops",
    responses((status = 200, description = "The shop.", body = ShopView, headers(
        ("ETag" = String, description = "Its version, for `If-Match`."),
    ))),
    extensions(("x-problems" = json!(["unknown_shop"]))),
)]
pub(crate) async fn get(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
) -> Result<Response, Problem> {
    match state.services.query(&context, shop::GetShop {}).await? {
        Some(shop) => {
            let view = view::shop(shop)?;
            Ok(([entity_tag(view.version)], Json(view)).into_response())
        }
        None => Err(unknown(&context.shop)),
    }
}

/// The part of the shops that a client asks for, as it is described.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it is a description")]
struct ShopPage {
    /// The `next` of the page before; without it, the first page.
    after: Option<String>,
    /// The most shops of the page.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
}

/// Lists the shops.
///
/// Paging while shops are created misses none that was there all the time, and shows none twice.
#[utoipa::path(
    get,
    path = "/shops",
    operation_id = "list_shops",
    tag = "Shops",
    params(ShopPage),
    responses((status = 200, description = "A page of the shops, by name.", body = ShopList)),
)]
pub(crate) async fn list_all(
    State(state): State<Arc<AppState>>,
    Extension(seen): Extension<SeenPositions>,
    uri: Uri,
) -> Result<Json<ShopList>, Problem> {
    let list = List::named(&Shop::installation(), &["shops"]);
    let (after, limit) = query(&uri, |fields| {
        let after = fields.optional("after", code(|text| list.name(text, Shop::parse)));
        let limit = fields.optional("limit", text(page_length));
        Some((after.map(String::from), limit.unwrap_or(DEFAULT_PAGE_LENGTH)))
    })?;
    let (shops, has_more) = state.services.shops(&seen, after.unwrap_or_default(), limit).await?;
    let next = shops.last().filter(|_| has_more).map(|shop| list.cursor(&shop.name));
    let shops = shops.into_iter().map(view::shop).collect::<Result<Vec<_>, _>>()?;
    Ok(Json(ShopList { shops, next }))
}

/// Puts a shop: creates it, or gives it these settings.
///
/// The body is all settings; those that are absent have their defaults.
#[utoipa::path(
    put,
    path = "/shops/{shop}",
    operation_id = "put_shop",
    tag = "Shops",
    params(
        ("If-Match" = Option<String>, Header, pattern = "^(\\*|\"[0-9]{1,18}\")$",
            description = "Only if the shop has the version of this `ETag`; `*`: only if it exists."),
        ("If-None-Match" = Option<String>, Header, pattern = "^\\*$",
            description = "`*`: only if it does not exist."),
    ),
    request_body = ShopSettings,
    responses(
        (status = 200, description = "The shop was there.", body = PutShopView, headers(
            ("ETag" = String, description = "Its version, for `If-Match`."),
        )),
        (status = 201, description = "The shop is new.", body = PutShopView, headers(
            ("ETag" = String, description = "Its version, for `If-Match`."),
        )),
    ),
    extensions(("x-problems" = json!(["precondition_failed"]))),
)]
pub(crate) async fn put(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    headers: HeaderMap,
    JsonBytes(bytes): JsonBytes,
) -> Result<Response, Problem> {
    let condition = Precondition::read(&headers)?;
    let settings = fields::body(&bytes, |node, path, errors| {
        object(node, path, errors, |fields| Some(settings(fields)))
    })?;
    let put = Put { state: &state, context: &context, settings };
    match condition {
        Precondition::None => match put.create().await? {
            Reply::Answered(answer) if answer.body.result() == ShopResult::Exists => {
                put.respond_to_change(put.change(None).await?)
            }
            reply => put.respond_to_create(reply, false),
        },
        Precondition::IsNew => put.respond_to_create(put.create().await?, true),
        Precondition::Exists => put.respond_to_change(put.change(None).await?),
        Precondition::Version(version) => put.respond_to_change(put.change(Some(version)).await?),
    }
}

/// A shop that is put.
struct Put<'a> {
    state: &'a AppState,
    context: &'a RequestContext,
    settings: Settings,
}

impl Put<'_> {
    async fn create(&self) -> Result<Reply<CreateShopAnswer>, Problem> {
        let create = CreateShop { settings: Some(self.settings.clone().into()) };
        let body = Body::CreateShop(create);
        let command = self.context.command(Some(CREATE_PART), body);
        let timeout = self.state.answer_timeout;
        self.state.services.send(self.context, Lane::Live, command, timeout).await
    }

    async fn change(
        &self,
        expected_version: Option<u64>,
    ) -> Result<Reply<ChangeShopAnswer>, Problem> {
        let settings = Some(self.settings.clone().into());
        let body = Body::ChangeShop(ChangeShop { settings, expected_version });
        let command = self.context.command(Some(CHANGE_PART), body);
        let timeout = self.state.answer_timeout;
        self.state.services.send(self.context, Lane::Live, command, timeout).await
    }

    fn respond_to_create(
        &self,
        reply: Reply<CreateShopAnswer>,
        must_be_new: bool,
    ) -> Result<Response, Problem> {
        let answer = match reply {
            Reply::Answered(answer) => answer,
            Reply::Pending(accepted) => return Ok(accepted.into_response()),
        };
        let CreateShopAnswer { shop, .. } = answer.body.clone();
        match answer.body.result() {
            ShopResult::Created => self.shown(StatusCode::CREATED, "created", shop, &answer),
            ShopResult::Unchanged if !must_be_new => {
                self.shown(StatusCode::OK, "unchanged", shop, &answer)
            }
            ShopResult::Unchanged | ShopResult::Exists => {
                Err(precondition_failed(&self.context.shop, shop.as_ref()))
            }
            ShopResult::Unspecified
            | ShopResult::Changed
            | ShopResult::Unknown
            | ShopResult::OtherVersion => Err(AnswerError::Unknown.into()),
        }
    }

    fn respond_to_change(&self, reply: Reply<ChangeShopAnswer>) -> Result<Response, Problem> {
        let answer = match reply {
            Reply::Answered(answer) => answer,
            Reply::Pending(accepted) => return Ok(accepted.into_response()),
        };
        let ChangeShopAnswer { shop, .. } = answer.body.clone();
        match answer.body.result() {
            ShopResult::Changed => self.shown(StatusCode::OK, "changed", shop, &answer),
            ShopResult::Unchanged => self.shown(StatusCode::OK, "unchanged", shop, &answer),
            ShopResult::Unknown | ShopResult::OtherVersion => {
                Err(precondition_failed(&self.context.shop, shop.as_ref()))
            }
            ShopResult::Unspecified | ShopResult::Created | ShopResult::Exists => {
                Err(AnswerError::Unknown.into())
            }
        }
    }

    fn shown<A>(
        &self,
        status: StatusCode,
        result: &'static str,
        shop: Option<shop::Shop>,
        answer: &Answer<A>,
    ) -> Result<Response, Problem> {
        shown(self.state, self.context, (status, result), shop, answer)
    }
}

/// The shop has another version than the client named, or there is none.
fn precondition_failed(name: &Shop, shop: Option<&shop::Shop>) -> Problem {
    let Some(shop::Shop { version, .. }) = shop else {
        let detail = format!("there is no shop {name}: send no If-Match to create it");
        return Problem::new(Code::PreconditionFailed, detail);
    };
    let detail = format!(
        "the shop {name} exists and has the version {version}: read it, and send its ETag as \
         If-Match"
    );
    Problem::new(Code::PreconditionFailed, detail).with("version", *version)
}

/// The response with the shop as it is, and what became of it. It is known to this gateway from now on.
fn shown<A>(
    state: &AppState,
    context: &RequestContext,
    (status, result): (StatusCode, &'static str),
    shop: Option<shop::Shop>,
    answer: &Answer<A>,
) -> Result<Response, Problem> {
    let shop = view::shop(shop.ok_or(AnswerError::Unknown)?)?;
    if !answer.replayed {
        let Settings { tax_basis, capture, .. } = shop.settings;
        let facts = ShopFacts { suspended: shop.suspended, tax_basis, capture };
        // The answer is of the position that the client has seen now.
        let known = (shop.version, context.seen.of_service("shop"));
        state.shops.remember(&shop.name, known, facts, context.received);
    }
    let tag = entity_tag(shop.version);
    Ok(answer.mark((status, [tag], Json(PutShopView { shop, result }))))
}

/// A shop that was put, suspended or resumed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PutShopView {
    #[serde(flatten)]
    shop: ShopView,
    /// What became of it: `created`, `changed` or `unchanged`.
    result: &'static str,
}

/// Reads all settings; those that are absent have their defaults.
fn settings(fields: &mut Fields<'_, '_>) -> Settings {
    let default = Settings::default();
    let countries = fields.optional(
        "countries",
        list(MAX_COUNTRIES, |node, path, errors| text(country)(node, path, errors)),
    );
    let mut countries = countries.unwrap_or_default();
    countries.sort_unstable();
    countries.dedup();
    let methods = fields.optional(
        "one_step_methods",
        list(MAX_ONE_STEP_METHODS, |node, path, errors| text(one_step_method)(node, path, errors)),
    );
    let mut one_step_methods = methods.unwrap_or_default();
    one_step_methods.sort_unstable();
    one_step_methods.dedup();
    Settings {
        currency: fields.optional("currency", text(Currency::parse_current)),
        countries,
        tax_basis: fields.optional("tax_basis", text(fields::tax_basis)).unwrap_or_default(),
        capture: fields.optional("capture", text(capture)).unwrap_or_default(),
        split_shipments: fields.optional("split_shipments", flag).unwrap_or_default(),
        hold_seconds: fields.optional("hold_seconds", integer(duration)),
        payment_seconds: fields.optional("payment_seconds", integer(duration)),
        default_location: fields
            .optional("default_location", text(Location::parse))
            .unwrap_or(default.default_location),
        short_rule: fields.optional("short_rule", text(short_rule)).unwrap_or_default(),
        on_account: fields.optional("on_account", flag).unwrap_or_default(),
        one_step_methods,
    }
}

fn duration(value: i64) -> Result<u32, ParseError> {
    seconds(u32::try_from(value).unwrap_or(0))
        .map_err(|error| ParseError::new(error.what, error.rule, &value.to_string()))
}

fn capture(name: &str) -> Result<Capture, ParseError> {
    match name {
        "on_confirmation" => Ok(Capture::OnConfirmation),
        "on_shipment" => Ok(Capture::OnShipment),
        _ => Err(ParseError::new("capture", "must be on_confirmation or on_shipment", name)),
    }
}

fn short_rule(name: &str) -> Result<ShortRule, ParseError> {
    match name {
        "hold" => Ok(ShortRule::Hold),
        "cancel" => Ok(ShortRule::Cancel),
        "nothing" => Ok(ShortRule::Nothing),
        _ => Err(ParseError::new("short_rule", "must be hold, cancel or nothing", name)),
    }
}

#[cfg(test)]
mod tests {
    use events::money::TaxBasis;
    use serde_json::{Value, json};

    use super::*;

    fn read(body: &Value) -> Result<Settings, Problem> {
        let bytes = body.to_string();
        fields::body(bytes.as_bytes(), |node, path, errors| {
            object(node, path, errors, |fields| Some(settings(fields)))
        })
    }

    #[test]
    fn what_is_shown_of_settings_is_what_is_put() {
        let other = Settings {
            currency: Currency::parse("EUR").ok(),
            countries: vec!["DE".into(), "FR".into()],
            tax_basis: TaxBasis::Excluded,
            capture: Capture::OnShipment,
            split_shipments: true,
            hold_seconds: Some(600),
            payment_seconds: Some(60),
            default_location: Location::parse("berlin").expect("valid"),
            short_rule: ShortRule::Cancel,
            on_account: true,
            one_step_methods: vec!["ideal".into(), "sofort".into()],
        };
        for settings in [other, Settings::default()] {
            let shown = serde_json::to_value(&settings).expect("serialises");
            assert_eq!(read(&shown).expect("reads"), settings);
        }
        assert_eq!(read(&json!({})).expect("reads"), Settings::default());
        let twice = read(&json!({"countries": ["FR", "DE", "FR"]})).expect("reads");
        assert_eq!(twice.countries, ["DE", "FR"]);
    }

    #[test]
    fn every_wrong_setting_is_named() {
        let body = json!({
            "currency": "gbp", "countries": ["", 7], "tax_basis": "net", "capture": "later",
            "split_shipments": 1, "hold_seconds": 0, "payment_seconds": 2_592_001,
            "default_location": "Berlin", "short_rule": "ignore", "on_account": "no", "colour": 1,
            "one_step_methods": ["", 7],
        });
        let problem = read(&body).expect_err("is wrong");
        let body = axum::body::to_bytes(problem.into_response().into_body(), usize::MAX);
        let body = futures::executor::block_on(body).expect("is in memory");
        let document: Value = serde_json::from_slice(&body).expect("is JSON");
        let errors = document["errors"].as_array().expect("are named");
        let mut named: Vec<_> =
            errors.iter().map(|error| error["field"].as_str().expect("is text")).collect();
        named.sort_unstable();
        let expected = [
            "capture",
            "colour",
            "countries[0]",
            "countries[1]",
            "currency",
            "default_location",
            "hold_seconds",
            "on_account",
            "one_step_methods[0]",
            "one_step_methods[1]",
            "payment_seconds",
            "short_rule",
            "split_shipments",
            "tax_basis",
        ];
        assert_eq!(named, expected);
    }
}
