//! The routes. Each is registered together with its description: `routes!` takes handlers that have one, and puts the
//! methods of one path together.
//!
//! To add a route: write its handler in the module of its resource, with `#[utoipa::path(…)]` above it; read its body with
//! `fields`, and describe that in `openapi::bodies`; send a command or a query through `Services`; and add it to
//! [`of_shop`] here, or, where it is not of one shop, to [`of_api`]. Then `make docs`.

use std::sync::{Arc, LazyLock};

use axum::{Extension, Router, extract::OriginalUri, http::Method, middleware};
use serde_json::Value;
use tower_http::{catch_panic::CatchPanicLayer, timeout::RequestBodyTimeoutLayer};
use utoipa::OpenApi as _;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    admission, categories, commands, compression, connectors, cors, feed, history,
    inventory::{self, fulfilments, levels},
    keys, layers, listings, locations, mails, metrics, not_modified,
    openapi::{self, Description},
    operations, orders, payments, position,
    precondition::{self, ConditionalOperations},
    problem::{Code, Problem},
    products, rejections, shops,
    state::AppState,
    trace,
    webhooks::{self, deliveries, event_types, replays, secrets},
};

type DescribedRoutes = OpenApiRouter<Arc<AppState>>;

/// The routes of the gateway.
pub(crate) fn routes(state: Arc<AppState>) -> Router {
    let conditional = ConditionalOperations::of(&described());
    let description: &'static Description = &DESCRIPTION;
    let of_shop = Router::from(of_shop())
        .route_layer(middleware::from_fn_with_state(state.clone(), admission::require_shop));
    let of_installation =
        Router::from(of_installation()).route_layer(middleware::from_fn(keys::of_installation));
    let v1 = Router::from(of_api())
        .merge(of_shop)
        .merge(of_installation)
        // What is no route is refused for that, whatever else is wrong with the request.
        .route_layer(middleware::from_fn_with_state(conditional, precondition::refuse_unread))
        .route_layer(middleware::from_fn(position::carry_positions))
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(middleware::from_fn_with_state(state.clone(), admission::limit_concurrency))
        .layer(middleware::from_fn_with_state(state.clone(), admission::limit_rate))
        .layer(middleware::from_fn_with_state(state.clone(), admission::authenticate));
    // The last layer is the outermost.
    let routes = Router::from(open())
        .nest("/v1", v1)
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(middleware::from_fn(not_modified::tag))
        .layer(RequestBodyTimeoutLayer::new(state.limits.body_read_timeout))
        .layer(CatchPanicLayer::custom(layers::answer_panic))
        .layer(middleware::from_fn_with_state(state.clone(), layers::time_out))
        .layer(compression::layer());
    let routes = match &state.cors_origins {
        Some(origins) => routes.layer(cors::layer(origins)),
        None => routes,
    };
    routes
        .layer(middleware::from_fn(trace::trace_request))
        .layer(middleware::from_fn_with_state(description, openapi::check_answer))
        .layer(Extension(description))
        .layer(middleware::from_fn(metrics::measure))
        .with_state(state)
}

/// The description of all routes.
pub(crate) static DESCRIPTION: LazyLock<Description> =
    LazyLock::new(|| Description::of(&described()));

/// The OpenAPI 3.1 document of the API.
pub fn openapi_document() -> &'static Value {
    &DESCRIPTION.document
}

/// What the routes say of themselves.
pub(crate) fn described() -> utoipa::openapi::OpenApi {
    let v1 = of_api().merge(of_installation()).merge(of_shop());
    let shared = OpenApiRouter::with_openapi(openapi::Shared::openapi());
    shared.merge(open().nest("/v1", v1)).into_openapi()
}

/// What needs no API key.
fn open() -> DescribedRoutes {
    OpenApiRouter::default()
        .routes(routes!(operations::healthz))
        .routes(routes!(operations::readyz))
        .routes(routes!(openapi::get))
        .routes(routes!(openapi::docs))
}

/// What is not of one shop, and what is answered of a suspended shop as well.
fn of_api() -> DescribedRoutes {
    OpenApiRouter::default()
        .routes(routes!(event_types::list_event_types))
        .routes(routes!(shops::list_all))
        .routes(routes!(shops::get, shops::put))
        .routes(routes!(shops::suspension::suspend))
        .routes(routes!(shops::suspension::resume))
        .routes(routes!(commands::get))
}

/// What is of the installation, and of no shop.
fn of_installation() -> DescribedRoutes {
    OpenApiRouter::default()
        .routes(routes!(keys::list_all, keys::post))
        .routes(routes!(keys::get))
        .routes(routes!(keys::rotate))
        .routes(routes!(keys::revoke))
        .routes(routes!(keys::history))
        .routes(routes!(commands::get_of_key))
}

/// What is below a shop, and refused when there is no such shop.
fn of_shop() -> DescribedRoutes {
    OpenApiRouter::default()
        .routes(routes!(products::list, products::post))
        .routes(routes!(products::get, products::put))
        .routes(routes!(history::of_product))
        .routes(routes!(categories::list))
        .routes(routes!(categories::get, categories::put, categories::delete))
        .routes(routes!(history::of_category))
        .routes(routes!(listings::list))
        .routes(routes!(listings::get, listings::put, listings::archive))
        .routes(routes!(history::of_listing))
        .routes(routes!(levels::list, inventory::post))
        .routes(routes!(fulfilments::list, inventory::post_fulfilments))
        .routes(routes!(levels::get))
        .routes(routes!(history::of_stock))
        .routes(routes!(levels::movements))
        .routes(routes!(locations::put_limits))
        .routes(routes!(locations::list))
        .routes(routes!(locations::get, locations::put))
        .routes(routes!(history::of_location))
        .routes(routes!(orders::list::list, orders::place::post))
        .routes(routes!(orders::get))
        .routes(routes!(history::of_order))
        .routes(routes!(history::of_reservation))
        .routes(routes!(orders::cancel))
        .routes(routes!(orders::release))
        .routes(routes!(payments::of_order, orders::payment::start))
        .routes(routes!(payments::refund))
        .routes(routes!(payments::list::list))
        .routes(routes!(payments::stuck))
        .routes(routes!(payments::reconciliation))
        .routes(routes!(payments::get))
        .routes(routes!(payments::settle::settle))
        .routes(routes!(history::of_payment))
        .routes(routes!(history::of_shop))
        .routes(routes!(feed::get))
        .routes(routes!(operations::totals))
        .routes(routes!(mails::get_settings, mails::put_settings))
        .routes(routes!(mails::list))
        .routes(routes!(mails::get))
        .routes(routes!(mails::resend))
        .merge(of_erp())
        .merge(of_webhooks())
}

fn of_erp() -> DescribedRoutes {
    OpenApiRouter::default()
        .routes(routes!(rejections::list))
        .routes(routes!(rejections::redrive_all))
        .routes(routes!(rejections::drop_all))
        .routes(routes!(rejections::get))
        .routes(routes!(rejections::redrive_one))
        .routes(routes!(rejections::drop_one))
        .routes(routes!(connectors::list))
        .routes(routes!(connectors::get))
}

fn of_webhooks() -> DescribedRoutes {
    OpenApiRouter::default()
        .routes(routes!(webhooks::list, webhooks::post))
        .routes(routes!(webhooks::get, webhooks::patch, webhooks::delete))
        .routes(routes!(webhooks::disable))
        .routes(routes!(webhooks::enable))
        .routes(routes!(secrets::rotate_secret))
        .routes(routes!(webhooks::test))
        .routes(routes!(deliveries::list_deliveries))
        .routes(routes!(deliveries::get_delivery))
        .routes(routes!(deliveries::resend))
        .routes(routes!(deliveries::abort))
        .routes(routes!(replays::list_replays, replays::replay))
        .routes(routes!(replays::show_replay))
        .routes(routes!(replays::cancel_replay))
        .routes(routes!(deliveries::proof))
}

async fn no_route(OriginalUri(uri): OriginalUri) -> Problem {
    let detail = format!("there is no route {}: /openapi.json lists all", uri.path());
    Problem::new(Code::NotFound, detail)
}

async fn no_method(method: Method) -> Problem {
    let detail = format!("the route has no method {method}: the header Allow lists those it has");
    Problem::new(Code::MethodNotAllowed, detail)
}
