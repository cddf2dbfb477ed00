//! One attempt at a mail, against a real mail server that accepts, refuses, hangs and closes.

use std::{
    path::Path,
    time::{Duration, SystemTime},
};

use mail::{
    Exchange, Failure, Login, Mail, Mailer, Outcome, Rendered, Server, SetupError, Timeouts, Tls,
};
use testkit::{Authority, MailServer, MailTls};
use tokio::{io::AsyncReadExt, net::TcpListener};

/// So short that a test waits for it, and long enough for what is to succeed within it.
const SHORT: Duration = Duration::from_secs(1);

fn folder() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

fn server(port: u16) -> Server {
    Server {
        host: "localhost".to_owned(),
        port,
        tls: Tls::None,
        login: None,
        trusted_roots_pem: None,
        timeouts: Timeouts::default(),
    }
}

fn mailer(server: Server) -> Mailer {
    Mailer::new(server).expect("the settings are good")
}

fn mail_to(address: &str) -> Mail {
    Mail {
        sender_name: "Acme".to_owned(),
        sender_address: "orders@acme.example".to_owned(),
        to: address.to_owned(),
        id: "0190b3a1-0000-7000-8000-000000000001".to_owned(),
        date: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000),
        language: "en".to_owned(),
        content: Rendered {
            subject: "Your order".to_owned(),
            text: "Thank you.\n.\nBye".to_owned(),
            html: "<p>Thank you.</p>".to_owned(),
        },
    }
}

fn shown(exchange: &Exchange) -> (Outcome, Option<u16>, &str) {
    (exchange.outcome, exchange.code, &exchange.enhanced_code)
}

#[tokio::test(flavor = "multi_thread")]
async fn mails_are_accepted_over_a_connection_that_is_kept() {
    let Some(smtp) = MailServer::start(folder()).await else { return };
    let mailer = mailer(server(smtp.port()));
    for name in ["ann", "bob"] {
        let exchange = mailer.send(&mail_to(&format!("{name}@example.com"))).await;
        assert_eq!(shown(&exchange), (Outcome::Accepted, Some(250), ""));
    }
    let received = smtp.received().await;
    assert_eq!(received[0].to, ["ann@example.com"]);
    assert_eq!(received[0].from, "orders@acme.example");
    let id = "<0190b3a1-0000-7000-8000-000000000001@acme.example>";
    assert_eq!((received[0].header("message-id"), received[1].header("message-id")), (id, id));
    assert_eq!(received[0].header("date"), "Tue, 14 Nov 2023 22:13:20 +0000");
    assert!(received[0].message.contains("\r\n.\r\nBye"), "a line of a dot ends no mail");
    assert_eq!((received[0].connection, received[1].connection), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_of_the_mail_and_leaves_the_connection() {
    let Some(smtp) = MailServer::start(folder()).await else { return };
    let mailer = mailer(server(smtp.port()));
    smtp.behave("busy", "450 4.2.1 busy@example.com is busy").await;
    smtp.behave("unknown", "550 5.1.1 unknown@example.com is unknown").await;
    smtp.behave("full", "552 full").await;
    for (name, outcome, code, enhanced) in [
        ("busy", Outcome::Failed(Failure::Deferred), 450, "4.2.1"),
        ("unknown", Outcome::Rejected(Failure::Rejected), 550, "5.1.1"),
        ("full", Outcome::Rejected(Failure::Rejected), 552, ""),
    ] {
        let exchange = mailer.send(&mail_to(&format!("{name}@example.com"))).await;
        assert_eq!(shown(&exchange), (outcome, Some(code), enhanced), "{name}");
        assert!(!format!("{exchange:?}").contains("example.com"), "{exchange:?}");
    }
    mailer.send(&mail_to("ann@example.com")).await;
    assert_eq!(smtp.received().await[0].connection, 1, "it is the connection of the first");
    // One that serves nobody for now is left.
    smtp.behave("busy", "421 4.3.2 shutting down").await;
    let exchange = mailer.send(&mail_to("busy@example.com")).await;
    assert_eq!(exchange.outcome, Outcome::Failed(Failure::Deferred));
    assert!(exchange.is_overloaded());
    mailer.send(&mail_to("ann@example.com")).await;
    assert_eq!(smtp.received().await[1].connection, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_or_closes_fails_the_attempt_for_now() {
    let Some(smtp) = MailServer::start(folder()).await else { return };
    let timeouts = Timeouts { command: SHORT, ..Timeouts::default() };
    let mailer = mailer(Server { timeouts, ..server(smtp.port()) });
    for (behaviour, failure) in [
        ("hang", Failure::Timeout),
        ("close", Failure::Closed),
        ("hang_after_data", Failure::Timeout),
        ("close_after_data", Failure::Closed),
    ] {
        smtp.behave("ann", behaviour).await;
        let exchange = mailer.send(&mail_to("ann@example.com")).await;
        assert_eq!(shown(&exchange), (Outcome::Failed(failure), None, ""), "{behaviour}");
    }
    // What the server had when it went away, it may have accepted: the next attempt is a second mail.
    smtp.behave("ann", "accept").await;
    let exchange = mailer.send(&mail_to("ann@example.com")).await;
    assert_eq!(exchange.outcome, Outcome::Accepted);
    let received = smtp.received().await;
    let ids: Vec<_> = received.iter().map(|mail| mail.header("message-id")).collect();
    assert_eq!(ids, [ids[0]; 3], "a repetition is recognised by its id");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_server_answers_fails_in_time() {
    let closed = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = closed.local_addr().expect("it is bound").port();
    drop(closed);
    let exchange = mailer(server(port)).send(&mail_to("ann@example.com")).await;
    assert_eq!(exchange.outcome, Outcome::Failed(Failure::Connect));
    // One that accepts connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = silent.local_addr().expect("it is bound").port();
    tokio::spawn(async move {
        let (mut stream, _) = silent.accept().await.expect("it connects");
        stream.read_to_end(&mut Vec::new()).await.ok();
    });
    let timeouts = Timeouts { connect: SHORT, ..Timeouts::default() };
    let mailer = mailer(Server { timeouts, host: "127.0.0.1".to_owned(), ..server(port) });
    let exchange = mailer.send(&mail_to("ann@example.com")).await;
    assert_eq!(exchange.outcome, Outcome::Failed(Failure::ConnectTimeout));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_attempt_ends_in_time() {
    let Some(smtp) = MailServer::start(folder()).await else { return };
    smtp.behave("ann", "hang").await;
    let timeouts = Timeouts { exchange: SHORT, ..Timeouts::default() };
    let mailer = mailer(Server { timeouts, ..server(smtp.port()) });
    let exchange = mailer.send(&mail_to("ann@example.com")).await;
    assert_eq!(exchange.outcome, Outcome::Failed(Failure::Timeout));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_cannot_be_written_is_refused_for_good() {
    let Some(smtp) = MailServer::start(folder()).await else { return };
    let mailer = mailer(server(smtp.port()));
    for address in ["nobody", "ann@exa mple.com", "ann@example.com\r\nRCPT TO:<eve@example.com>"] {
        let exchange = mailer.send(&mail_to(address)).await;
        assert_eq!(exchange.outcome, Outcome::Rejected(Failure::Unsendable), "{address}");
    }
    // The server offers no SMTPUTF8.
    let exchange = mailer.send(&mail_to("änn@example.com")).await;
    assert_eq!(exchange.outcome, Outcome::Rejected(Failure::Unsendable));
    assert_eq!(smtp.received().await, []);
}

fn encrypted(port: u16, tls: Tls, authority: &Authority, password: &str) -> Server {
    let login = Login { user: "acme".to_owned(), password: password.into() };
    let trusted_roots_pem = Some(authority.pem());
    Server { tls, login: Some(login), trusted_roots_pem, ..server(port) }
}

#[tokio::test(flavor = "multi_thread")]
async fn mails_are_sent_encrypted_by_who_has_logged_in() {
    let authority = Authority::new();
    let login = ("acme", "hush-hush");
    for (offered, tls) in [(MailTls::Starttls, Tls::Starttls), (MailTls::Implicit, Tls::Implicit)] {
        let smtp = MailServer::start_encrypted(folder(), offered, &authority, login).await;
        let Some(smtp) = smtp else { return };
        let server = encrypted(smtp.port(), tls, &authority, "hush-hush");
        let exchange = mailer(server.clone()).send(&mail_to("ann@example.com")).await;
        assert_eq!(exchange.outcome, Outcome::Accepted, "{tls:?} {exchange:?}");
        let received = smtp.received().await;
        assert!(received[0].is_encrypted, "{tls:?}");
        assert_eq!(received[0].user.as_deref(), Some("acme"));

        // A wrong login is the operator's to mend: no mail is given up for it.
        let wrong = encrypted(smtp.port(), tls, &authority, "wrong");
        let exchange = mailer(wrong).send(&mail_to("ann@example.com")).await;
        assert_eq!(exchange.outcome, Outcome::Failed(Failure::Login), "{tls:?}");
        assert_eq!(exchange.code, Some(535));

        // Nor is anything sent to a server that nobody vouches for, or that has another name.
        let stranger = encrypted(smtp.port(), tls, &Authority::new(), "hush-hush");
        let elsewhere = Server { host: "127.0.0.1".to_owned(), ..server };
        for server in [stranger, elsewhere] {
            let exchange = mailer(server).send(&mail_to("ann@example.com")).await;
            assert_eq!(exchange.outcome, Outcome::Failed(Failure::Tls), "{tls:?}");
        }
        assert_eq!(smtp.received().await.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_in_the_clear_where_it_is_to_be_encrypted() {
    let Some(smtp) = MailServer::start(folder()).await else { return };
    let server = Server { tls: Tls::Starttls, ..server(smtp.port()) };
    let exchange = mailer(server.clone()).send(&mail_to("ann@example.com")).await;
    assert_eq!(exchange.outcome, Outcome::Failed(Failure::Tls), "the server offers no STARTTLS");
    assert_eq!(smtp.received().await, []);
    let login = Login { user: "acme".to_owned(), password: "hush-hush".into() };
    let refused = Mailer::new(Server { tls: Tls::None, login: Some(login), ..server });
    assert!(matches!(refused, Err(SetupError::LoginInTheClear)));
}
