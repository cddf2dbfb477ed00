//! The events of some runs in which nearly everything happens that events tell of.

use events::names::event_name;
use node::services::NAMES;
use prost::Message as _;
use testkit::Db;
use tests::Installation;

use super::{day, trouble};

/// The public events of the runs with their types, by service, in the order of their logs.
pub(super) async fn of_runs() -> Vec<(String, Vec<u8>)> {
    let [day, parts, late, slow] = [(); 4].map(|()| Db::sqlite());
    let mut events = events_of(day::run(&day).await).await;
    events.extend(events_of(day::paid_when_it_ships(&parts).await).await);
    events.extend(events_of(trouble::late_provider(&late).await).await);
    events.extend(events_of(trouble::slow_customer(&slow).await).await);
    events
}

async fn events_of(installation: Installation) -> Vec<(String, Vec<u8>)> {
    let mut events = Vec::new();
    for service in NAMES {
        let stream = format!("{}-0", service.to_uppercase());
        for entry in installation.server.events::<events::proto::Event>(&stream).await {
            let name = entry.event.body.as_ref().and_then(event_name).expect("it has a name");
            if !entry.subject.starts_with("engine.") {
                events.push((format!("{service}.{name}"), entry.event.encode_to_vec()));
            }
        }
    }
    installation.stop_and_verify().await;
    events
}
