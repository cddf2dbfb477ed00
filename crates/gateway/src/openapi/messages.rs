//! What several routes answer, and no type of theirs writes.

#![expect(dead_code, reason = "these types are descriptions")]

use events::id::{OrderId, PaymentId};
use protocol::{id::CommandId, time::Timestamp};
use utoipa::ToSchema;

use crate::{problem::FieldError, readiness::PartitionStatus};

/// A request that failed: a problem document of RFC 9457. An unknown member is to be ignored, and an unknown `code` to be
/// read as its `status`.
#[derive(ToSchema)]
#[schema(as = Problem)]
pub(crate) struct ProblemDocument {
    /// `urn:tradewind:problem:` and the code.
    r#type: String,
    /// What happened, for people.
    title: String,
    /// The status of the response.
    status: u16,
    /// What to do about it, for people.
    detail: String,
    /// What happened, for programs. It is stable.
    code: String,
    /// Each wrong field of the body, parameter or header.
    #[serde(default)]
    errors: Vec<FieldError>,
    /// Of `forbidden`: the scope that the API key lacks.
    scope: Option<String>,
    /// Of `reference_taken`: the order that has the reference.
    order_id: Option<OrderId>,
    /// Of `payment_not_due` and `too_late`: the status of the order.
    order_status: Option<String>,
    /// Of `payment_not_due`: what is paid of it.
    payment_status: Option<String>,
    /// Of `too_late`: what has shipped of it.
    fulfilment_status: Option<String>,
    /// Of `total_mismatch`: what the order was expected to cost.
    expected_total: Option<i64>,
    /// Of `total_mismatch`: what it costs.
    total: Option<i64>,
    /// Of `total_mismatch` and `currency_refused`: the currency.
    currency: Option<String>,
    /// Of `refund_too_large`: the payment.
    payment_id: Option<PaymentId>,
    /// Of `refund_too_large`: what can be paid back.
    refundable: Option<Refundable>,
    /// Of `precondition_failed`, `stale` and `version_mismatch`: the version that there is.
    version: Option<u64>,
    /// Of `version_mismatch`: the version that was expected.
    expected_version: Option<u64>,
    /// Of `unavailable`: the command, which may be stored all the same.
    command_id: Option<CommandId>,
    /// Of `unavailable`: where it can be followed.
    command_url: Option<String>,
    /// Of problems of the feed: the service whose log it is about.
    service: Option<String>,
    /// Of `newer_event`: its position in the log.
    position: Option<u64>,
    /// Of `not_ready`: `available` or `unavailable`.
    broker: Option<String>,
    /// Of `not_ready`: why the broker cannot be used.
    broker_error: Option<String>,
    /// Of `not_ready`: every partition of the services that the process runs.
    #[serde(default)]
    partitions: Vec<PartitionStatus>,
}

/// An amount that can be paid back.
#[derive(ToSchema)]
pub(crate) struct Refundable {
    /// In minor units.
    minor: i64,
    /// The currency.
    currency: String,
}

/// An event as it leaves by HTTP: CloudEvents 1.0. Numbers of 64 bits are texts.
#[derive(ToSchema)]
pub(crate) struct CloudEvent {
    /// `1.0`.
    specversion: String,
    /// Its id (UUIDv7).
    id: String,
    /// `/shops/<shop>/<service>`.
    source: String,
    /// `<service>.<event>`, such as `order.paid`.
    r#type: String,
    /// The id of the aggregate that it is about.
    subject: String,
    /// When it was decided.
    time: Timestamp,
    /// `application/json`.
    datacontenttype: String,
    /// The fact, as protobuf JSON. `GET /v1/event-types` has the JSON Schema of each type.
    #[schema(value_type = Object)]
    data: (),
    /// The shop.
    shop: String,
    /// Its position in the log of its service.
    position: String,
    /// The position of the event of the same aggregate before it.
    previousposition: Option<String>,
    /// What it is about, such as `order`.
    aggregatetype: String,
    /// Counts the events of the aggregate, from 1.
    aggregateversion: String,
    /// When it happened outside, where that is known.
    occurredat: Option<Timestamp>,
    /// Who asked for it: `api_key`, `subject`, `connector`, `customer`, `operator`; or `service`, when nobody did.
    actorkind: Option<String>,
    /// Which one.
    actorid: Option<String>,
    /// What it follows from, such as `order.placed`.
    causekind: Option<String>,
    /// The id of that.
    causeid: Option<String>,
    /// What belongs together has the same.
    correlationid: Option<String>,
    /// The W3C trace context.
    traceparent: Option<String>,
    /// The same.
    tracestate: Option<String>,
}

/// What a service answered to a command: `tradewind.events.v1.AnswerBody` as protobuf JSON.
// Its schema is that of the message: see `finish`.
#[derive(ToSchema)]
pub(crate) struct Answer {}
