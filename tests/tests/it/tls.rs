//! The gateway with a certificate: TLS, and nothing else.

use std::sync::Arc;

use client::{Client, Error, upload::Upload};
use rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::pem::PemObject};
use testkit::{Authority, Db};
use tests::{Installation, SHOP, order, settle, stock};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

/// What is answered to a request for the list of shops; nothing when the connection is closed.
async fn shops(mut connection: impl AsyncRead + AsyncWrite + Unpin) -> String {
    let request = "GET /v1/shops HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer secret\r\n\
                   connection: close\r\n\r\n";
    connection.write_all(request.as_bytes()).await.expect("it is sent");
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).await.ok();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_with_a_certificate_answers_over_tls_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let authority = Authority::new();
    let (certificate, key) = authority.certificate(&["127.0.0.1"]);
    let [certificate_file, key_file] = ["cert.pem", "key.pem"].map(|it| folder.path().join(it));
    std::fs::write(&certificate_file, certificate).expect("it is written");
    std::fs::write(&key_file, key).expect("it is written");
    let db = Db::sqlite();
    let installation = Installation::start(&db, |settings| {
        settings.gateway.tls_cert_file = Some(certificate_file);
        settings.gateway.tls_key_file = Some(key_file);
    })
    .await;
    let address = installation.url().strip_prefix("http://").expect("an address").to_owned();

    let mut roots = RootCertStore::empty();
    let root = PemObject::from_pem_slice(authority.pem().as_bytes()).expect("is a certificate");
    roots.add(root).expect("is an authority");
    let client = ClientConfig::builder_with_provider(ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .expect("the provider has them")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connect = async || TcpStream::connect(&address).await.expect("it listens");
    let name = "127.0.0.1".try_into().expect("is an address");
    let encrypted = TlsConnector::from(Arc::new(client)).connect(name, connect().await).await;
    let answer = shops(encrypted.expect("the certificate is trusted")).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("\"shops\""), "{answer}");
    assert!(!shops(connect().await).await.contains("HTTP"), "without TLS");
    installation.stop_and_verify_with(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_trusts_the_authorities_that_it_is_given_and_no_others() {
    let folder = tempfile::tempdir().expect("a folder");
    let authority = Authority::new();
    let (certificate, key) = authority.certificate(&["127.0.0.1"]);
    let [certificate_file, key_file] = ["cert.pem", "key.pem"].map(|it| folder.path().join(it));
    std::fs::write(&certificate_file, certificate).expect("it is written");
    std::fs::write(&key_file, key).expect("it is written");
    let db = Db::sqlite();
    let installation = Installation::start(&db, |settings| {
        settings.gateway.tls_cert_file = Some(certificate_file);
        settings.gateway.tls_key_file = Some(key_file);
    })
    .await;
    let url = installation.url().replace("http://", "https://");
    let trusted = |url: &str, authority: &Authority| {
        Client::trusting(authority.pem().as_bytes(), url, "secret", SHOP).expect("a client")
    };
    let api = trusted(&url, &authority);
    stock(&api, "MUG", 5).await;
    let placed = settle(&api, &order("MUG", 1, "card"), "first").await;
    assert_eq!(placed.status.as_u16(), 201, "{placed:?}");

    // Refused at once, and not tried again.
    let refused = async |client: Client| client.shop().await.expect_err("it is refused");
    let other = refused(trusted(&url, &Authority::new())).await;
    assert!(matches!(other, Error::UnknownAuthority), "{other:?}");
    let unknown = refused(Client::new(&url, "secret", SHOP).expect("a client")).await;
    assert!(matches!(unknown, Error::UnknownAuthority), "{unknown:?}");
    let by_name = trusted(&url.replace("127.0.0.1", "localhost"), &authority);
    let name = refused(by_name.clone()).await;
    assert!(matches!(&name, Error::OtherName { names } if names.contains("127.0.0.1")), "{name:?}");
    // An upload has a client of its own.
    let upload = by_name.upload(Upload::ndjson("inventory"), "{}\n".into()).await;
    assert!(matches!(upload, Err(Error::OtherName { .. })), "{upload:?}");
    let none = Client::trusting(b"no certificate", &url, "secret", SHOP);
    assert!(matches!(none, Err(Error::Authorities)), "{none:?}");
    installation.stop_and_verify().await;
}
