//! The routes for operators: whether the process runs and is ready, and what the services count
//! over a shop.

use std::{sync::Arc, time::Instant};

use axum::{Json, extract::State};
use events::proto::{inventory, order, payment};
use futures::future::try_join3;
use serde_json::{Value, json};

use crate::{
    extract::RequestContext,
    limits::RequestClass,
    problem::{Code, Problem},
    readiness::Checked,
    state::AppState,
    view,
};

/// `GET /healthz`: the process runs. Asks nobody, so that a supervisor does not restart a process
/// because of its broker.
pub(crate) async fn healthz() -> Json<Value> {
    Json(json!({"status": "up"}))
}

/// `GET /readyz`: the process can do its work, and every partition of the services that it runs.
pub(crate) async fn readyz(State(state): State<Arc<AppState>>) -> Result<Json<Value>, Problem> {
    if state.shutdown.is_cancelled() {
        return Err(Problem::new(Code::NotReady, "the process stops: send requests to another"));
    }
    let checked = state.readiness.check(Instant::now(), state.services.ask_broker()).await;
    if !checked.is_ready() {
        return Err(not_ready(&checked));
    }
    let partitions = checked.services.partitions;
    Ok(Json(json!({"status": "ready", "broker": "available", "partitions": partitions})))
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
fn error_text(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// `GET /v1/shops/{shop}/totals`.
pub(crate) async fn totals(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
) -> Result<Json<Value>, Problem> {
    let _permit = state.concurrency.try_acquire(RequestClass::Totals, context.shop.as_str())?;
    let services = &state.services;
    let (orders, payments, inventory) = try_join3(
        services.query_all(&context, order::GetTotals {}),
        services.query_all(&context, payment::GetTotals {}),
        services.query_all(&context, inventory::GetTotals {}),
    )
    .await?;
    Ok(Json(json!({
        "orders": view::order_totals(orders)?,
        "payments": view::payment_totals(payments),
        "inventory": view::stock_totals(inventory),
    })))
}

#[cfg(test)]
mod tests {
    use std::io;

    use axum::response::IntoResponse;

    use super::*;
    use crate::readiness::{PartitionState, PartitionStatus, Readiness};

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
