//! Names, and what they resolve to.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex},
};

use testkit::{Authority, DnsServer, Receiver, eventually};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
};
use webhook_http::{Exchange, Failure, Outcome, Policy, parse_url};

use crate::rig::{BODY, Rig, SHORT, local, local_with};

const NAME: &str = "hooks.example.com";

fn url(receiver: &Receiver) -> String {
    format!("http://{NAME}:{}/", receiver.address().port())
}

#[track_caller]
fn assert_unresolved(exchange: &Exchange) {
    assert_eq!(exchange.outcome, Outcome::Failed(Failure::Unresolved));
    assert!(exchange.latency.is_zero() && exchange.response_excerpt.is_empty(), "{exchange:?}");
}

#[tokio::test]
async fn a_name_is_resolved_by_the_given_server_and_is_the_host_of_the_request() {
    let (dns, receiver) = (DnsServer::start().await, Receiver::start().await);
    dns.set(NAME, &["127.0.0.1"]);
    let rig = Rig::new(local_with(&dns));
    assert_eq!(rig.send(&url(&receiver)).await.outcome, Outcome::Delivered);
    let host = format!("{NAME}:{}", receiver.address().port());
    assert_eq!(receiver.received()[0].header("host"), host);
}

#[tokio::test]
async fn any_address_that_is_not_global_refuses_a_name() {
    let (dns, receiver) = (DnsServer::start().await, Receiver::start().await);
    for addresses in [
        &["10.0.0.1"][..],
        &["127.0.0.1", "10.0.0.1"],
        &["127.0.0.1", "fd00::1"],
        &["127.0.0.1", "::ffff:127.0.0.1"],
        &["169.254.169.254", "127.0.0.1"],
    ] {
        dns.set(NAME, addresses);
        let rig = Rig::new(local_with(&dns));
        assert_unresolved(&rig.send(&url(&receiver)).await);
    }
    assert_eq!(receiver.connections(), 0, "nothing was sent anywhere");
}

#[tokio::test]
async fn a_private_name_and_one_that_does_not_exist_look_the_same() {
    let (dns, receiver) = (DnsServer::start().await, Receiver::start().await);
    dns.set(NAME, &["10.0.0.1"]);
    dns.hang("slow.example.com");
    let rig = Rig::new(Policy { dns_timeout: SHORT, ..local_with(&dns) });
    let private = rig.send(&url(&receiver)).await;
    assert_unresolved(&private);
    for other in ["nowhere.example.com", "slow.example.com"] {
        let other = rig.send(&url(&receiver).replace(NAME, other)).await;
        assert_eq!(other, private, "every field is the same");
    }
    assert!(!format!("{private:?}").contains("10.0.0.1"));
}

#[tokio::test]
async fn a_name_that_changes_to_a_private_address_is_not_followed() {
    let dns = DnsServer::start().await;
    // The machine answers on the whole of 127.0.0.0/8; only 127.0.0.1 is allowed.
    let allowed = Receiver::start().await;
    let private: IpAddr = [127, 0, 0, 2].into();
    let private = Receiver::start_on_port(private, allowed.address().port()).await;
    dns.set(NAME, &["127.0.0.1"]);
    let rig = Rig::new(local_with(&dns));
    assert_eq!(rig.send(&url(&allowed)).await.outcome, Outcome::Delivered);

    dns.set(NAME, &["127.0.0.2"]);
    eventually("the change is noticed, although a connection is open", async || {
        let exchange = rig.send(&url(&allowed)).await;
        if exchange.outcome != Outcome::Delivered {
            assert_unresolved(&exchange);
        }
        exchange.outcome != Outcome::Delivered
    })
    .await;
    assert_eq!(private.connections(), 0);

    // It is looked up again, and sent to as soon as the name is public.
    dns.set(NAME, &["127.0.0.1"]);
    eventually("it is delivered again", async || {
        rig.send(&url(&allowed)).await.outcome == Outcome::Delivered
    })
    .await;
}

#[tokio::test]
async fn a_name_that_moves_gets_new_connections() {
    let dns = DnsServer::start().await;
    let before = Receiver::start().await;
    let after = Receiver::start_on_port([127, 0, 0, 2].into(), before.address().port()).await;
    let mut policy = local_with(&dns);
    policy.allowed_networks = vec!["127.0.0.0/8".parse().expect("a network")];
    let rig = Rig::new(policy);
    dns.set(NAME, &["127.0.0.1"]);
    rig.send(&url(&before)).await;
    dns.set(NAME, &["127.0.0.2"]);
    eventually("it is sent to the new address, although a connection is open", async || {
        rig.send(&url(&before)).await;
        after.count() > 0
    })
    .await;
    // From now on, the old address gets nothing more.
    let count = before.count();
    rig.send(&url(&before)).await;
    assert_eq!(before.count(), count);
}

#[tokio::test]
async fn deliveries_to_one_host_share_a_look_up() {
    let (dns, receiver) = (DnsServer::start().await, Receiver::start().await);
    dns.set(NAME, &["127.0.0.1"]);
    let rig = Rig::new(local_with(&dns));
    let url = url(&receiver);
    let all = (0..50).map(|_| rig.send(&url));
    for exchange in futures::future::join_all(all).await {
        assert_eq!(exchange.outcome, Outcome::Delivered);
    }
    // IPv4 and IPv6; on a slow machine, more than the second for which an answer is used at least.
    let queries = dns.queries(NAME);
    assert!((2..20).contains(&queries), "{queries} queries for 50 deliveries");
}

#[tokio::test]
async fn a_private_address_is_refused_at_each_attempt_and_not_only_at_creation() {
    let receiver = Receiver::start().await;
    let url = parse_url(&receiver.url("/"), &local()).expect("it was allowed once");
    // The operator has become stricter since.
    for policy in [
        Policy { allowed_networks: Vec::new(), ..local() },
        Policy { allow_http: false, ..local() },
        Policy { allowed_ports: "443".parse().expect("a port"), ..local() },
    ] {
        let rig = Rig::new(policy);
        let request = webhook_http::Request {
            url: &url,
            headers: &rig.headers,
            secrets: &rig.secrets,
            id: "a",
            timestamp: 1,
            attempt: 1,
            traceparent: None,
            body: bytes::Bytes::new(),
            replay: false,
        };
        let exchange = rig.sender.send(request).await;
        assert_eq!(exchange.outcome, Outcome::Failed(Failure::Refused));
    }
    assert_eq!(receiver.connections(), 0);
}

#[tokio::test]
async fn with_a_proxy_everything_goes_through_it_and_names_are_its_own_to_resolve() {
    let receiver = Receiver::start().await;
    // What is no proxy answers CONNECT with 204, and so sees what it is asked for.
    let proxy = Receiver::start().await;
    let mut policy = local();
    policy.proxy = Some(proxy.url("/").parse().expect("a URL"));
    let rig = Rig::new(policy);
    let exchange = rig.send(&format!("http://{NAME}:{}/", receiver.address().port())).await;
    assert_eq!(exchange.outcome, Outcome::Failed(Failure::Connect));
    let path = proxy.received().remove(0).path;
    assert_eq!(path, format!("{NAME}:{}", receiver.address().port()));
    assert_eq!(receiver.connections(), 0);
}

/// A proxy that lets everything through to this machine, whatever the name: the ports and names that it was
/// asked for, and the address at which it listens.
async fn open_proxy() -> (Arc<Mutex<Vec<String>>>, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(client.read_u8().await.expect("a request comes"));
            }
            let head = String::from_utf8(head).expect("it is text");
            let target = head.strip_prefix("CONNECT ").and_then(|it| it.split(' ').next());
            let target = target.expect("it asks for a connection").to_owned();
            let port = target.rsplit(':').next().and_then(|port| port.parse::<u16>().ok());
            seen.lock().expect("is free").push(target);
            let target = ("127.0.0.1", port.expect("it names a port"));
            let mut server = TcpStream::connect(target).await.expect("the receiver listens");
            client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.expect("the client reads");
            tokio::spawn(async move { copy_bidirectional(&mut client, &mut server).await });
        }
    });
    (asked, address)
}

#[tokio::test]
async fn a_proxy_carries_a_connection_whose_tls_ends_at_the_receiver() {
    let authority = Authority::new();
    let receiver = Receiver::start_with_tls(authority.server(&[NAME])).await;
    let (asked, address) = open_proxy().await;
    let mut policy = local();
    policy.proxy = Some(format!("http://{address}").parse().expect("a URL"));
    policy.trusted_roots_pem = Some(authority.pem());
    let url = format!("https://{NAME}:{}/", receiver.address().port());
    let rig = Rig::new(policy.clone());
    assert_eq!(rig.send(&url).await.outcome, Outcome::Delivered);
    assert_eq!(receiver.received()[0].body, BODY);
    let target = format!("{NAME}:{}", receiver.address().port());
    assert_eq!(*asked.lock().expect("is free"), [target]);

    // The proxy cannot pretend to be the receiver.
    policy.trusted_roots_pem = Some(Authority::new().pem());
    let exchange = Rig::new(policy).send(&url).await;
    assert_eq!(exchange.outcome, Outcome::Failed(Failure::Tls));
    assert_eq!(receiver.count(), 1);
}
