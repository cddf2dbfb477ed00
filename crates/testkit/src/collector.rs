//! A collector of traces, as OTLP over HTTP describes it.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{Router, body::Bytes, extract::State, http::HeaderMap, routing::post};
use opentelemetry_proto::tonic::{
    collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse},
    trace::v1::Span,
};
use prost::Message;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

/// Takes spans from whoever exports them to its address; gone when it is dropped.
#[derive(Debug)]
pub struct Collector {
    address: SocketAddr,
    received: Received,
    _serving: AbortOnDropHandle<()>,
}

type Received = Arc<Mutex<Vec<ExportTraceServiceRequest>>>;

impl Collector {
    /// Starts one on a free port of the loopback address.
    pub async fn start() -> Self {
        let received = Received::default();
        let routes = Router::new().route("/v1/traces", post(take)).with_state(received.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let serving = tokio::spawn(async move {
            axum::serve(listener, routes).await.expect("it serves");
        });
        Self { address, received, _serving: AbortOnDropHandle::new(serving) }
    }

    /// Where it takes spans: the setting `otlp-endpoint`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// All spans that it got.
    pub fn spans(&self) -> Vec<Span> {
        let requests = self.received.lock().expect("nobody panicked");
        let resources = requests.iter().flat_map(|request| &request.resource_spans);
        let scopes = resources.flat_map(|resource| &resource.scope_spans);
        scopes.flat_map(|scope| scope.spans.clone()).collect()
    }

    /// The attributes of the process that sent the first request, as text.
    pub fn resource(&self) -> String {
        let requests = self.received.lock().expect("nobody panicked");
        format!("{:?}", requests[0].resource_spans[0].resource)
    }
}

async fn take(State(received): State<Received>, headers: HeaderMap, body: Bytes) -> Vec<u8> {
    assert_eq!(headers["content-type"], "application/x-protobuf");
    let request = ExportTraceServiceRequest::decode(body).expect("is an export of traces");
    received.lock().expect("nobody panicked").push(request);
    ExportTraceServiceResponse::default().encode_to_vec()
}
