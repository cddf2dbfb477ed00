//! The routes for operators: whether the process runs and is ready, and what the services count
//! over a shop.

use std::{error::Error, sync::Arc, time::Instant};

use axum::{Json, extract::State, http::StatusCode};
use events::{
    http::{OrderTotals, PaymentTotals, StockTotals},
    proto::{inventory, order, payment},
};
use futures::future::try_join3;
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use crate::{
    extract::RequestContext,
    limits::RequestClass,
    problem::{Code, PROBLEM_JSON, Problem},
    readiness::{Checked, PartitionStatus, Readiness},
    state::AppState,
    view,
};

/// The process runs.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Health {
    /// `up`.
    status: &'static str,
}

/// The process can do its work.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Ready {
    /// `ready`.
    status: &'static str,
    /// `available`.
    broker: &'static str,
    /// Every partition of the services that the process runs.
    partitions: Vec<PartitionStatus>,
}

/// What the services count over a shop.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Totals {
    /// The orders.
    orders: OrderTotals,
    /// The payments.
    payments: PaymentTotals,
    /// The stock.
    inventory: StockTotals,
}

/// Says that the process runs.
///
/// Nobody is asked, so that a supervisor does not restart a process because of its broker.
#[utoipa::path(
    get,
    path = "/healthz",
    operation_id = "get_health",
    tag = "Operations",
    responses((status = 200, description = "It runs.", body = Health)),
)]
pub(crate) async fn healthz() -> Json<Health> {
    Json(Health { status: "up" })
}

/// Says whether the process can do its work, with every partition of the services that it runs.
#[utoipa::path(
    get,
    path = "/readyz",
    operation_id = "get_readiness",
    tag = "Operations",
    responses((status = 200, description = "It can.", body = Ready)),
    extensions(("x-problems" = json!(["not_ready"]))),
)]
pub(crate) async fn readyz(State(state): State<Arc<AppState>>) -> Result<Json<Ready>, Problem> {
    if state.shutdown.is_cancelled() {
        return Err(stopping());
    }
    let checked = state.readiness.check(Instant::now(), state.services.ask_broker()).await;
    ready(checked).map(Json)
}

/// What a process without a gateway answers about its health, as the gateway does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthAnswer {
    /// The status code.
    pub status: u16,
    /// The media type of the body.
    pub content_type: &'static str,
    /// The document.
    pub body: String,
}

impl HealthAnswer {
    /// What `/healthz` answers.
    pub fn up() -> Self {
        Self::of(Ok(Health { status: "up" }))
    }

    /// What `/readyz` answers, by what the services of the process and the broker are.
    pub fn readiness(
        services: Readiness,
        broker_error: Option<Arc<dyn Error + Send + Sync>>,
    ) -> Self {
        Self::of(ready(Checked { services, broker_error }))
    }

    /// What `/readyz` answers when the process stops.
    pub fn stopping() -> Self {
        Self::of::<Ready>(Err(stopping()))
    }

    fn of<Document: Serialize>(found: Result<Document, Problem>) -> Self {
        let (status, content_type, body) = match found {
            Ok(document) => (StatusCode::OK, "application/json", serde_json::to_string(&document)),
            Err(problem) => {
                (problem.status(), PROBLEM_JSON, serde_json::to_string(&problem.document()))
            }
        };
        // Strings and numbers, which always have a JSON form.
        Self { status: status.as_u16(), content_type, body: body.unwrap_or_default() }
    }
}

fn stopping() -> Problem {
    Problem::new(Code::NotReady, "the process stops: send requests to another")
}

fn ready(checked: Checked) -> Result<Ready, Problem> {
    if !checked.is_ready() {
        return Err(not_ready(&checked));
    }
    let partitions = checked.services.partitions;
    Ok(Ready { status: "ready", broker: "available", partitions })
}

fn not_ready(checked: &Checked) -> Problem {
    let broker = if checked.broker_error.is_some() { "unavailable" } else { "available" };
    let problem = if let Some(error) = &checked.broker_error {
        let detail = "check that nats-server runs, stores, and has the streams: see broker_error";
        let text = error_text(error);
        Problem::new(Code::NotReady, detail).caused_by(error).with("broker_error", text)
    } else {
        let detail = "the services of this process are not ready: partitions names each";
        Problem::new(Code::NotReady, detail)
    };
    problem.with("broker", broker).with("partitions", json!(checked.services.partitions))
}

/// An error with all its causes.
fn error_text(error: &dyn Error) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Counts orders, payments and stock over the shop.
#[utoipa::path(
    get,
    path = "/shops/{shop}/totals",
    operation_id = "get_totals",
    tag = "Operations",
    responses((status = 200, description = "What the services count.", body = Totals)),
    extensions(("x-problems" = json!(["third_party_unavailable"]))),
)]
pub(crate) async fn totals(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
) -> Result<Json<Totals>, Problem> {
    let _permit = state.concurrency.try_acquire(RequestClass::Totals, context.shop.as_str())?;
    let services = &state.services;
    let (orders, payments, inventory) = try_join3(
        services.query_all(&context, order::GetTotals {}),
        services.query_all(&context, payment::GetTotals {}),
        services.query_all(&context, inventory::GetTotals {}),
    )
    .await?;
    Ok(Json(Totals {
        orders: view::order_totals(orders)?,
        payments: view::payment_totals(payments)?,
        inventory: view::stock_totals(inventory),
    }))
}

#[cfg(test)]
mod tests {
    use std::io;

    use axum::response::IntoResponse;
    use serde_json::Value;

    use super::*;
    use crate::readiness::PartitionState;

    #[tokio::test]
    async fn a_process_that_is_not_ready_names_its_partitions_and_the_broker() {
        let partition = PartitionStatus {
            service: "order".to_owned(),
            partition: 3,
            state: PartitionState::Failing,
            error: Some("an event cannot be read".to_owned()),
            problems: vec!["something waits for an operator".to_owned()],
        };
        for (broker_error, broker) in [
            (None, "available"),
            (Some(Arc::new(io::Error::other("no answer")) as _), "unavailable"),
        ] {
            let services = Readiness { ready: false, partitions: vec![partition.clone()] };
            let response = not_ready(&Checked { services, broker_error }).into_response();
            assert_eq!(response.status(), 503);
            let body = axum::body::to_bytes(response.into_body(), usize::MAX).await;
            let document: Value =
                serde_json::from_slice(&body.expect("is in memory")).expect("is JSON");
            assert_eq!(
                (&document["code"], &document["broker"]),
                (&json!("not_ready"), &json!(broker))
            );
            let reason = if broker == "available" { Value::Null } else { json!("no answer") };
            assert_eq!(document["broker_error"], reason);
            let expected = json!([{"service": "order", "partition": 3, "state": "failing",
                "error": "an event cannot be read",
                "problems": ["something waits for an operator"]}]);
            assert_eq!(document["partitions"], expected);
        }
    }
}
