//! Who may do what at nats-server: a user for each kind of process and client, with the subjects that it may
//! publish to and subscribe to. nats-server enforces it; nobody without a user gets in.
//!
//! | user | publishes | subscribes |
//! |---|---|---|
//! | a service, such as `order` | its own log and the streams beside it, its commands, answers | questions to it |
//! | `notify` | also questions to `order`: whom a mail goes to | questions to it |
//! | `gateway` | the inbox, questions | logs, answers |
//! | `tradewind` | what all services and the gateway may | the same |
//! | `operator` | everything | everything |
//! | an integrator | nothing | the public events of its shop |
//! | a connector | lines of its shop, to the gateways | the answers to them |
//! | a connector at a leaf node | also what the leaf node keeps until the link is up | the same |
//!
//! A permission names subjects, and JetStream is asked by subjects as well: who may publish to
//! `$JS.API.STREAM.INFO.*` may ask for the state of streams. Nobody but the operator may delete or purge, and nobody but
//! services and the operator may create. Who asks JetStream names the subject of the answer, which the server does not
//! hold to these permissions: services and gateways are trusted not to name that of a log.

use std::fmt::Write as _;

use engine::server::Users;
use events::catalogue::public_events;
use gateway::ingest;
use protocol::id::Shop;
use uuid::Uuid;

use crate::services::NAMES;

/// What every process may ask of JetStream: streams and consumers, and what is in them.
const READ_STREAMS: [&str; 8] = [
    "$JS.API.INFO",
    "$JS.API.STREAM.INFO.*",
    "$JS.API.STREAM.NAMES",
    "$JS.API.STREAM.LIST",
    "$JS.API.STREAM.MSG.GET.*",
    "$JS.API.DIRECT.GET.>",
    "$JS.API.CONSUMER.>",
    "$JS.ACK.>",
];
/// Creates what is missing when a service starts, and the stream of claims when its server has lost it; a stream
/// that exists is not changed by it.
const CREATE_STREAMS: &str = "$JS.API.STREAM.CREATE.*";
/// Where requests are answered to.
const ANSWERS: &str = "_INBOX.>";
/// Where commands are answered to.
const REPLIES: &str = "reply.>";

/// The stream in which a leaf node keeps the lines of a connector while the link is down. The connector makes it;
/// it holds what is published below [`OUTBOX_SUBJECTS`].
const OUTBOX: &str = "OUTBOX";
const OUTBOX_SUBJECTS: &str = "outbox.>";

/// A user of nats-server: its name, and what it may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NatsUser {
    /// Its name: that of the file with its key, and of the comment beside it.
    pub name: String,
    /// The subjects that it may publish to.
    pub publish: Vec<String>,
    /// The subjects that it may subscribe to.
    pub subscribe: Vec<String>,
}

/// How a user proves who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// By the private key of this public one (an nkey, which begins with `U`).
    Nkey(String),
    /// By a password: where server and client are started together.
    Password(String),
}

impl NatsUser {
    fn new(name: &str, publish: &[&str], subscribe: &[&str]) -> Self {
        let owned = |subjects: &[&str]| subjects.iter().map(|it| (*it).to_owned()).collect();
        Self { name: name.to_owned(), publish: owned(publish), subscribe: owned(subscribe) }
    }

    /// A process that runs this service and no other.
    pub fn of_service(service: &str) -> Self {
        let mut user = Self::new(service, &READ_STREAMS, &[ANSWERS, REPLIES]);
        user.publish
            .extend([CREATE_STREAMS, ANSWERS, REPLIES, "lease.member.*"].map(str::to_owned));
        user.publish.extend([
            // Which partitions its process runs.
            format!("lease.{service}.*"),
            format!("{service}.>"),
            format!("engine.{service}.>"),
            // Beside its log: how attempts at calls to the outside went.
            format!("attempts.{service}.>"),
            // And how far its reconciliations got.
            format!("reconciled.{service}.>"),
            // What a service sends to itself, and asks itself, such as about differences that a job found.
            format!("inbox.*.*.{service}.>"),
            format!("query.{service}.>"),
        ]);
        if service == "notify" {
            // Mails show orders as they are, and go to who placed them.
            user.publish.push("query.order.>".to_owned());
        }
        user.subscribe.push(format!("query.{service}.>"));
        user
    }

    /// A process that runs the gateway and no service.
    pub fn of_gateway() -> Self {
        let mut user = Self::new("gateway", &READ_STREAMS, &[ANSWERS, REPLIES]);
        user.publish.extend(["inbox.>", "query.>"].map(str::to_owned));
        user.publish.push(format!("{}.>", ingest::REPLIES));
        user.subscribe.push(format!("{}.>", ingest::REQUESTS));
        user.subscribe.extend(NAMES.iter().map(|service| format!("{service}.>")));
        user
    }

    /// A process that runs everything, or several services.
    pub fn of_process() -> Self {
        let mut all = Self { name: "tradewind".to_owned(), ..Self::of_gateway() };
        for service in NAMES {
            let Self { publish, subscribe, .. } = Self::of_service(service);
            all.publish.extend(publish);
            all.subscribe.extend(subscribe);
        }
        for subjects in [&mut all.publish, &mut all.subscribe] {
            subjects.sort_unstable();
            subjects.dedup();
        }
        all
    }

    /// Who runs the installation.
    pub fn of_operator() -> Self {
        Self::new("operator", &[">"], &[">"])
    }

    /// Somebody who reads the public events of a shop, or of all of them, as they happen. It may publish
    /// nothing: a request to JetStream would name the subject of its answer, which could be that of a log.
    pub fn of_integrator(name: &str, shop: Option<&Shop>) -> Self {
        let shop = shop.map_or("*", Shop::as_str);
        // A service with public events has no others on the subjects of its log: what is not public is on `engine.>`.
        // So the user may read events that come with later versions, and may ask for all by one subject.
        let services = public_events().iter().map(|event| format!("{}.*.{shop}.*", event.service));
        let mut subscribe: Vec<_> = services.collect();
        subscribe.sort_unstable();
        subscribe.dedup();
        Self { name: name.to_owned(), publish: Vec::new(), subscribe }
    }

    /// An ERP connector: it sends lines of a shop to the gateways, and gets their answers. These have a
    /// subject of its own, which its client must be told: so nobody else hears them.
    pub fn of_connector(name: &str, shop: &Shop) -> Self {
        let subject = |kind: &str| format!("{}.{shop}.{kind}", ingest::REQUESTS);
        Self {
            name: name.to_owned(),
            publish: ingest::KINDS.map(subject).to_vec(),
            subscribe: vec![format!("{}.{name}.>", ingest::REPLIES)],
        }
    }

    /// A connector at a leaf node, as a user of the leaf node's server: there it may also keep lines in a
    /// stream of its own, and take them out of it.
    pub fn of_leaf_connector(name: &str, shop: &Shop) -> Self {
        let mut user = Self::of_connector(name, shop);
        let of_stream = |request: &str| format!("$JS.API.{request}.{OUTBOX}");
        user.publish.extend([OUTBOX_SUBJECTS, "$JS.API.INFO"].map(str::to_owned));
        user.publish.extend(["STREAM.CREATE", "STREAM.INFO"].map(of_stream));
        let of_consumers = ["CONSUMER.CREATE", "CONSUMER.INFO", "CONSUMER.MSG.NEXT"];
        user.publish.extend(of_consumers.map(|request| format!("{}.>", of_stream(request))));
        user.publish.push(format!("$JS.ACK.{OUTBOX}.>"));
        user
    }

    /// The users of every installation.
    pub fn of_installation() -> Vec<Self> {
        let services = NAMES.iter().map(|service| Self::of_service(service));
        [Self::of_process(), Self::of_operator(), Self::of_gateway()]
            .into_iter()
            .chain(services)
            .collect()
    }
}

/// The part of nats-server's configuration that lets these users in, and nobody else.
pub fn configuration(users: &[(NatsUser, Identity)]) -> String {
    let mut text = "authorization {\n  users: [\n".to_owned();
    for (user, identity) in users {
        let NatsUser { name, publish, subscribe } = user;
        let identity = match identity {
            Identity::Nkey(key) => format!("nkey: {key:?}"),
            Identity::Password(password) => format!("user: {name:?}, password: {password:?}"),
        };
        // An empty list would allow everything.
        let publish = match publish.as_slice() {
            [] => "{ deny: \">\" }".to_owned(),
            subjects => format!("{{ allow: {subjects:?} }}"),
        };
        let subscribe = format!("{{ allow: {subscribe:?} }}");
        write!(
            text,
            "    # {name}\n    {{ {identity}, permissions: {{\n        publish: {publish}\n        \
             subscribe: {subscribe} }} }}\n"
        )
        .unwrap_or_default();
    }
    text + "  ]\n}\n"
}

/// The part of a leaf node's configuration that connects it to the installation's server at an address, as the
/// user who has that private key.
pub fn link_configuration(address: &str, seed: &str) -> String {
    format!("leafnodes {{\n  remotes: [ {{ url: {address:?}, nkey: {seed:?} }} ]\n}}\n")
}

/// The part of nats-server's configuration by which it takes connections of leaf nodes at an address.
pub fn leafnodes_configuration(listen: &str) -> String {
    format!("leafnodes {{\n  listen: {listen:?}\n}}\n")
}

/// A secret that nobody guesses: 64 letters and digits, of 244 random bits.
#[expect(clippy::disallowed_methods, reason = "a secret is made of nothing but chance")]
pub fn random_secret() -> String {
    format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple())
}

/// The users of a server that is started here, for this run alone: with random passwords. Its address names
/// the one that may do what all processes may.
pub fn for_this_run() -> Users {
    let users = NatsUser::of_installation().into_iter().map(|user| (user, random_secret()));
    let users: Vec<_> = users.collect();
    let passwords = users.iter().map(|(user, password)| (user.name.clone(), password.clone()));
    Users {
        default: NatsUser::of_process().name,
        passwords: passwords.collect(),
        configuration: configuration(
            &users
                .into_iter()
                .map(|(user, word)| (user, Identity::Password(word)))
                .collect::<Vec<_>>(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_writes_its_own_log_and_no_other() {
        let order = NatsUser::of_service("order");
        assert!(order.publish.contains(&"order.>".to_owned()));
        assert!(order.publish.contains(&"attempts.order.>".to_owned()));
        assert!(!order.publish.contains(&"attempts.notify.>".to_owned()));
        let logs = NAMES.iter().filter(|name| **name != "order");
        for other in logs {
            assert!(
                !order.publish.iter().any(|it| it.starts_with(&format!("{other}."))),
                "{other}"
            );
        }
    }

    #[test]
    fn an_integrator_subscribes_to_public_events_of_its_shop_alone() {
        let shop = Shop::parse("acme").expect("a name");
        let NatsUser { publish, subscribe, .. } = NatsUser::of_integrator("reports", Some(&shop));
        assert!(publish.is_empty());
        let services = ["catalog", "inventory", "order", "payment", "shop"];
        assert_eq!(subscribe, services.map(|service| format!("{service}.*.acme.*")));
    }

    #[test]
    fn a_connector_sends_lines_of_its_shop_alone() {
        let shop = Shop::parse("acme").expect("a name");
        let connector = NatsUser::of_connector("warehouse", &shop);
        let kinds = ["erp.v1.acme.stock", "erp.v1.acme.products", "erp.v1.acme.shipments"];
        assert_eq!(connector.publish, kinds);
        assert_eq!(connector.subscribe, ["erp.reply.warehouse.>"]);
    }

    #[test]
    fn a_connector_at_a_leaf_node_may_keep_its_lines_there() {
        let shop = Shop::parse("acme").expect("a name");
        let NatsUser { publish, subscribe, .. } = NatsUser::of_leaf_connector("warehouse", &shop);
        for subject in ["erp.v1.acme.stock", "outbox.>", "$JS.API.STREAM.CREATE.OUTBOX"] {
            assert!(publish.contains(&subject.to_owned()), "{subject}: {publish:?}");
        }
        assert!(!publish.iter().any(|it| it == ">" || it == "$JS.API.>"), "{publish:?}");
        assert_eq!(subscribe, ["erp.reply.warehouse.>"]);
    }

    #[test]
    fn the_configuration_denies_who_may_publish_nothing() {
        let user = NatsUser::new("reader", &[], &["order.>"]);
        let text = configuration(&[(user, Identity::Nkey("UABC".to_owned()))]);
        assert!(text.contains("nkey: \"UABC\""), "{text}");
        assert!(text.contains("publish: { deny: \">\" }"), "{text}");
        assert!(text.contains("subscribe: { allow: [\"order.>\"] }"), "{text}");
    }
}
