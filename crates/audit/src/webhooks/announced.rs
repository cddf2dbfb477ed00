//! What becomes of an endpoint is told the other endpoints of its shop: that it was disabled, or fails.

use std::collections::BTreeMap;

use events::proto::notify::{self, DisabledReason, announced::What, notify_event::Kind};

use super::endpoint::Endpoint;
use crate::{Findings, LogPosition};

/// The type of the event that an endpoint was disabled.
const DISABLED: &str = "webhook.endpoint_disabled";
/// The type of the event that an endpoint fails.
const FAILING: &str = "webhook.endpoint_failing";

/// What happened to an endpoint, and the next event of the shop has to announce.
#[derive(Debug)]
pub(super) struct PendingAnnouncement {
    at: LogPosition,
    endpoint_id: String,
    event_type: &'static str,
}

impl PendingAnnouncement {
    /// What has to be announced of an event of that endpoint: nothing when nobody else wants to know.
    pub(super) fn of(
        at: LogPosition,
        endpoint_id: &str,
        kind: &Kind,
        endpoints: &BTreeMap<String, Endpoint>,
    ) -> Option<Self> {
        let event_type = match kind {
            // Who asks for it knows.
            Kind::EndpointDisabled(it) if it.reason() != DisabledReason::Requested => DISABLED,
            Kind::FailureWarned(_) => FAILING,
            _ => return None,
        };
        let is_wanted = endpoints.iter().any(|(id, it)| id != endpoint_id && it.wants(event_type));
        is_wanted.then(|| Self { at, endpoint_id: endpoint_id.to_owned(), event_type })
    }

    /// That it was announced: by the event `next` of the endpoint `id`, which is decided with it.
    pub(super) fn expect_announced(self, id: &str, next: Option<&Kind>, findings: &mut Findings) {
        let Self { at, endpoint_id, event_type } = self;
        let announced = match next {
            Some(Kind::Announced(it)) => event_type_of(it),
            _ => None,
        };
        findings.expect(id == endpoint_id && announced == Some(event_type), || {
            format!("{at}: {event_type} of the endpoint {endpoint_id} was not announced")
        });
    }
}

/// The type of what is announced.
pub(super) fn event_type_of(announced: &notify::Announced) -> Option<&'static str> {
    Some(match announced.what.as_ref()? {
        What::EndpointDisabled(_) => DISABLED,
        What::EndpointFailing(_) => FAILING,
    })
}
