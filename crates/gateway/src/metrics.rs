//! What is measured of requests: how many, how they were answered, how long they took.
//!
//! Labels take few values whatever callers send: the route is the pattern that matched, never the
//! path, and a method that HTTP does not define is `other`.

use std::time::{Duration, Instant};

use axum::{
    extract::{MatchedPath, Request},
    http::Method,
    middleware::Next,
    response::Response,
};
use engine::metrics::Metric;
use metrics::{Gauge, counter, gauge, histogram};

use crate::rate::Limited;

/// Time of a request.
pub const REQUEST_DURATION: Metric = Metric::histogram_seconds(
    "http_request_duration_seconds",
    &["method", "route", "status"],
    "Time from the headers of a request to those of its response.",
);

/// Requests that are not yet answered.
pub const REQUESTS_IN_FLIGHT: Metric =
    Metric::gauge("http_requests_in_flight", &[], "Requests that are not yet answered.");

/// Time of a write to the inbox.
pub const INBOX_WRITE_DURATION: Metric = Metric::histogram_seconds(
    "inbox_write_duration_seconds",
    &[],
    "Time that a write to the inbox took, until the server had acknowledged it.",
);

/// Requests that were one too many.
pub const RATE_LIMITED: Metric = Metric::counter(
    "http_rate_limited_total",
    &["limit"],
    "Requests that were refused because their key or shop sent more than it may, by limit: key, shop.",
);

/// All metrics of the gateway.
pub const ALL: [Metric; 4] =
    [REQUEST_DURATION, REQUESTS_IN_FLIGHT, INBOX_WRITE_DURATION, RATE_LIMITED];

/// The route of a request that matched none.
const UNMATCHED: &str = "unmatched";

/// The status of a request whose caller did not wait for the answer.
const ABANDONED: &str = "abandoned";

/// Gives the recorder of this process all help texts. Called once, after the recorder is there.
pub fn describe() {
    ALL.iter().for_each(Metric::describe);
    // A counter that begins with its first event has no rate then.
    for limit in [Limited::Key, Limited::Shop] {
        counter!(RATE_LIMITED.name, "limit" => limit.as_str()).increment(0);
    }
}

/// Measures a request. The outermost layer of the routes, so that it sees what the others answer.
pub async fn measure(request: Request, next: Next) -> Response {
    let measured = Measured::begin(&request);
    let response = next.run(request).await;
    measured.end(&response);
    response
}

/// A command was written to the inbox.
pub fn inbox_written(took: Duration) {
    histogram!(INBOX_WRITE_DURATION.name).record(took.as_secs_f64());
}

/// A request was one too many.
pub(crate) fn rate_limited(limit: Limited) {
    counter!(RATE_LIMITED.name, "limit" => limit.as_str()).increment(1);
}

/// A request under way. It is measured when this is dropped, also when its caller went away.
struct Measured {
    begun: Instant,
    method: &'static str,
    route: String,
    status: Option<String>,
    in_flight: Gauge,
}

impl Measured {
    fn begin(request: &Request) -> Self {
        let route =
            request.extensions().get::<MatchedPath>().map_or(UNMATCHED, MatchedPath::as_str);
        let in_flight = gauge!(REQUESTS_IN_FLIGHT.name);
        in_flight.increment(1.0);
        Self {
            begun: Instant::now(),
            method: method(request.method()),
            route: route.to_owned(),
            status: None,
            in_flight,
        }
    }

    fn end(mut self, response: &Response) {
        self.status = Some(response.status().as_str().to_owned());
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        self.in_flight.decrement(1.0);
        let status = self.status.take().unwrap_or_else(|| ABANDONED.to_owned());
        let route = std::mem::take(&mut self.route);
        histogram!(
            REQUEST_DURATION.name,
            "method" => self.method, "route" => route, "status" => status
        )
        .record(self.begun.elapsed().as_secs_f64());
    }
}

fn method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use axum::{Router, body::Body, http::StatusCode, middleware, routing::get};
    use futures::FutureExt;
    use metrics::set_default_local_recorder;
    use metrics_exporter_prometheus::PrometheusBuilder;
    use tower::ServiceExt;

    use super::*;

    fn request(method: &str, path: &str) -> Request {
        Request::builder().method(method).uri(path).body(Body::empty()).expect("is valid")
    }

    /// On one thread, so that the recorder of this thread gets it all.
    #[tokio::test]
    async fn requests_are_counted_by_route_and_never_by_path() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        let _installed = set_default_local_recorder(&recorder);
        describe();
        let shops = Router::new()
            .route("/shops/{shop}/orders", get(|| async { StatusCode::CONFLICT }))
            .route("/shops/{shop}/slow", get(pending::<()>));
        let routes = Router::new()
            .nest("/v1", shops)
            .fallback(|| async { StatusCode::NOT_FOUND })
            .layer(middleware::from_fn(measure));
        let answer = |method: &str, path: &str| routes.clone().oneshot(request(method, path));

        for shop in ["acme", "zeta"] {
            let response = answer("GET", &format!("/v1/shops/{shop}/orders")).await;
            assert_eq!(response.expect("never fails").status(), StatusCode::CONFLICT);
        }
        answer("BREW", "/coffee").await.expect("never fails");
        // Its caller goes away.
        let mut slow = Box::pin(answer("GET", "/v1/shops/acme/slow"));
        assert!((&mut slow).now_or_never().is_none());
        assert!(handle.render().contains("http_requests_in_flight 1\n"));
        drop(slow);
        inbox_written(Duration::from_millis(2));

        let text = handle.render();
        let count = "http_request_duration_seconds_count";
        let orders = "route=\"/v1/shops/{shop}/orders\",status=\"409\"";
        let slow = "route=\"/v1/shops/{shop}/slow\",status=\"abandoned\"";
        for line in [
            format!("{count}{{method=\"GET\",{orders}}} 2"),
            format!("{count}{{method=\"GET\",{slow}}} 1"),
            format!("{count}{{method=\"other\",route=\"unmatched\",status=\"404\"}} 1"),
            "# TYPE http_requests_in_flight gauge".to_owned(),
            "http_requests_in_flight 0".to_owned(),
            "inbox_write_duration_seconds_count 1".to_owned(),
        ] {
            assert!(text.lines().any(|it| it == line), "{line} is not in:\n{text}");
        }
        assert!(!text.contains("acme"), "{text}");
    }
}
