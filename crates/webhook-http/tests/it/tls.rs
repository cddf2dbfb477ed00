//! TLS is always verified.

use std::sync::Arc;

use http::Version;
use rustls::ServerConfig;
use testkit::{Authority, DnsServer, RawBehaviour, RawReceiver, Receiver};
use webhook_http::{Failure, Outcome, Policy};

use crate::rig::{Rig, SHORT, local_with};

const NAME: &str = "hooks.example.com";

/// A sender that trusts the authority, and resolves the name to this machine.
async fn rig(authority: &Authority) -> (DnsServer, Rig) {
    let dns = DnsServer::start().await;
    dns.set(NAME, &["127.0.0.1"]);
    let policy = Policy { trusted_roots_pem: Some(authority.pem()), ..local_with(&dns) };
    let rig = Rig::new(policy);
    (dns, rig)
}

fn url(receiver: &Receiver) -> String {
    format!("https://{NAME}:{}/", receiver.address().port())
}

#[tokio::test]
async fn a_receiver_with_a_trusted_certificate_gets_its_deliveries_over_one_connection() {
    let authority = Authority::new();
    let receiver = Receiver::start_with_tls(authority.server(&[NAME])).await;
    let (_dns, rig) = rig(&authority).await;
    for _ in 0..3 {
        assert_eq!(rig.send(&url(&receiver)).await.outcome, Outcome::Delivered);
    }
    assert!(receiver.received().iter().all(|it| it.version == Version::HTTP_2));
    assert_eq!(receiver.connections(), 1);
}

#[tokio::test]
async fn a_receiver_without_http_2_gets_http_1_1() {
    let authority = Authority::new();
    let mut tls = ServerConfig::clone(&authority.server(&[NAME]));
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    let receiver = Receiver::start_with_tls(Arc::new(tls)).await;
    let (_dns, rig) = rig(&authority).await;
    for _ in 0..3 {
        assert_eq!(rig.send(&url(&receiver)).await.outcome, Outcome::Delivered);
    }
    assert!(receiver.received().iter().all(|it| it.version == Version::HTTP_11));
    assert_eq!(receiver.connections(), 1);
}

#[tokio::test]
async fn a_receiver_by_http_2_that_falls_silent_has_the_whole_time_of_an_exchange() {
    let authority = Authority::new();
    let (_dns, rig) = rig(&authority).await;
    let rig = Rig::new(Policy { exchange_timeout: 2 * SHORT, ..rig.policy });
    let receiver = RawReceiver::start_silent_http2(authority.server(&[NAME])).await;
    let url = format!("https://{NAME}:{}/", receiver.address().port());
    let exchange = rig.send(&url).await;
    assert_eq!(exchange.outcome, Outcome::Throttled(Failure::Timeout));
    assert!(exchange.latency >= 2 * SHORT, "{exchange:?}");
    // Its connection ends while the next request waits on it: that one was not answered in time either.
    assert_eq!(rig.send(&url).await.outcome, Outcome::Throttled(Failure::Timeout));
    assert_eq!(receiver.connections(), 1);
}

#[tokio::test]
async fn a_certificate_that_does_not_hold_is_refused_before_anything_is_sent() {
    let authority = Authority::new();
    let (_dns, rig) = rig(&authority).await;
    for (what, tls) in [
        ("another name", authority.server(&["other.example.com"])),
        ("expired", authority.expired_server(&[NAME])),
        ("another authority", Authority::new().server(&[NAME])),
    ] {
        let receiver = Receiver::start_with_tls(tls).await;
        let exchange = rig.send(&url(&receiver)).await;
        assert_eq!(exchange.outcome, Outcome::Failed(Failure::Tls), "{what}");
        assert_eq!((receiver.connections(), receiver.count()), (1, 0), "{what}");
    }
}

#[tokio::test]
async fn what_does_not_speak_tls_is_refused() {
    let authority = Authority::new();
    let (_dns, rig) = rig(&authority).await;
    let plain = Receiver::start().await;
    assert_eq!(rig.send(&url(&plain)).await.outcome, Outcome::Failed(Failure::Tls));
    let garbage = RawReceiver::start(RawBehaviour::Garbage).await;
    let url = format!("https://{NAME}:{}/", garbage.address().port());
    assert_eq!(rig.send(&url).await.outcome, Outcome::Failed(Failure::Tls));
    assert_eq!(plain.count(), 0);
}
