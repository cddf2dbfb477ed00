//! Connections are used again, and what is sent at once does not wait for each other.

use std::sync::Arc;

use testkit::{Behaviour, Receiver};
use webhook_http::{Outcome, Policy};

use crate::rig::{Rig, SHORT, local};

#[tokio::test]
async fn deliveries_one_after_the_other_share_a_connection() {
    let receiver = Receiver::start().await;
    receiver.behave(Behaviour::Answer(200, Vec::new(), "thank you".to_owned()));
    let rig = Rig::new(local());
    for _ in 0..20 {
        let exchange = rig.send(&receiver.url("/")).await;
        assert_eq!(
            (exchange.outcome, exchange.response_excerpt.as_str()),
            (Outcome::Delivered, "thank you")
        );
    }
    assert_eq!(receiver.connections(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_delivery_holds_up_no_other_of_the_same_receiver() {
    let receiver = Receiver::start().await;
    receiver.behave(Behaviour::by(|received| {
        if received.path == "/hang" { Behaviour::Hang } else { Behaviour::status(204) }
    }));
    let rig = Arc::new(Rig::new(local()));
    let hanging = {
        let (rig, url) = (Arc::clone(&rig), receiver.url("/hang"));
        tokio::spawn(async move { rig.send(&url).await })
    };
    testkit::eventually("the first hangs", async || receiver.count() == 1).await;
    for _ in 0..20 {
        assert_eq!(rig.send(&receiver.url("/")).await.outcome, Outcome::Delivered);
    }
    assert!(!hanging.is_finished());
    hanging.abort();
}

#[tokio::test]
async fn a_delivery_that_is_given_up_leaves_the_next_one_a_connection_that_works() {
    let receiver = Receiver::start().await;
    let rig = Rig::new(Policy { exchange_timeout: SHORT, ..local() });
    receiver.behave(Behaviour::Hang);
    rig.send(&receiver.url("/")).await;
    receiver.behave(Behaviour::status(204));
    assert_eq!(rig.send(&receiver.url("/")).await.outcome, Outcome::Delivered);
    assert_eq!(receiver.connections(), 2);
}
