//! The API keys of the settings: what they must be, what they allow, and how a caller's key is compared
//! with them. Those that the installation has made are in [`managed_keys`](crate::managed_keys).

use std::net::SocketAddr;

use data_encoding::HEXLOWER_PERMISSIVE;
use events::proto::{command, inventory::RecordStock};
use protocol::{actor::ActorKind, id::Shop, proto::Actor, time::Timestamp};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;

use crate::key_text::Digest;

/// The shortest key, in characters, of a gateway that other machines can reach.
pub const MIN_API_KEY_LENGTH: usize = 16;
/// What a setting begins with that has the digest of a key and not the key.
const DIGEST: &str = "sha256:";

/// An API key that the gateway does not start with.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ApiKeyError {
    /// It has no characters.
    #[error("an API key is empty: set one, for example the output of `openssl rand -hex 32`")]
    Empty,
    /// It cannot be sent in the header `Authorization`.
    #[error("an API key must be visible ASCII characters, without spaces")]
    NotVisibleAscii,
    /// What is given as its digest is none.
    #[error("what follows sha256: must be the SHA-256 of an API key, as 64 hexadecimal digits")]
    NoDigest,
    /// It could be guessed.
    #[error(
        "an API key has {length} characters and must have at least {MIN_API_KEY_LENGTH}, because \
         {listen} can be reached from other machines: set a longer one, for example the output of \
         `openssl rand -hex 32`, or listen on 127.0.0.1"
    )]
    TooShort {
        /// The characters that it has.
        length: usize,
        /// Where the gateway was to listen.
        listen: SocketAddr,
    },
    /// Two keys have one id.
    #[error("two API keys have the id {0}")]
    SameId(String),
    /// Two ids have one key.
    #[error("the API keys {0} and {1} are the same: give each its own")]
    SameKey(String, String),
}

/// An API key, and what it allows.
#[derive(Debug, Clone)]
pub struct ApiKeySetting {
    /// Its id, by which events name who asked.
    pub id: String,
    /// The key; or `sha256:` and its digest in hexadecimal, so that the key itself is kept nowhere.
    pub key: SecretString,
    /// What it allows.
    pub scopes: Vec<Scope>,
    /// The shops that it is for; all when there are none.
    pub shops: Vec<Shop>,
    /// From when on it is refused.
    pub expires_at: Option<Timestamp>,
}

impl ApiKeySetting {
    /// A key that allows everything in all shops, for good.
    pub fn of_everything(id: &str, key: SecretString) -> Self {
        let scopes = Scope::ALL.to_vec();
        Self { id: id.to_owned(), key, scopes, shops: Vec::new(), expires_at: None }
    }
}

/// What a key can allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// To read what is of a shop, but for its webhook endpoints.
    Read,
    /// To place orders, cancel and release them, start payments and pay back.
    Orders,
    /// To say what an order costs: prices of lines, discounts, and charges below 0.
    PricesAsSold,
    /// To put products, categories, listings and locations, and to record stock.
    Erp,
    /// To do what a warehouse does: read orders and stock, and record goods issues and transfers.
    Fulfilment,
    /// To read and change webhook endpoints.
    Webhooks,
    /// To create, change and list shops, and whatever no other scope is for.
    Admin,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 7] = [
        Self::Read,
        Self::Orders,
        Self::PricesAsSold,
        Self::Erp,
        Self::Fulfilment,
        Self::Webhooks,
        Self::Admin,
    ];

    /// The scope as it is in settings and problems.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Orders => "orders",
            Self::PricesAsSold => "prices-as-sold",
            Self::Erp => "erp",
            Self::Fulfilment => "fulfilment",
            Self::Webhooks => "webhooks",
            Self::Admin => "admin",
        }
    }

    /// What it allows, for the description of the API.
    pub(crate) fn description(self) -> &'static str {
        match self {
            Self::Read => "reads what is of a shop, but for its webhook endpoints",
            Self::Orders => {
                "places orders, cancels and releases them, starts payments and pays back"
            }
            Self::PricesAsSold => {
                "says what an order costs: prices of lines, discounts, charges below 0"
            }
            Self::Erp => {
                "puts products, categories, listings and locations, records stock, and sees what came of it"
            }
            Self::Fulfilment => "reads orders and stock, and records goods issues and transfers",
            Self::Webhooks => "reads and changes webhook endpoints",
            Self::Admin => "creates, changes and lists shops, and does what no other scope is for",
        }
    }

    /// Reads a scope.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == text)
    }
}

/// The keys of the gateway.
pub(crate) struct ApiKeys(Vec<KnownKey>);

struct KnownKey {
    caller: Caller,
    key: ApiKey,
}

/// Who sends a request: the key that it has, the subject of its token, or a user of nats-server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Caller {
    /// What it is; nothing in a request that has no key.
    kind: Option<ActorKind>,
    /// The id of the key, the subject of the token, or the name of the connector's user.
    pub(crate) key_id: String,
    /// What it allows.
    scopes: Vec<Scope>,
    shops: Vec<Shop>,
    expires_at: Option<Timestamp>,
    /// Of a key that the installation has made: by what the secret that was presented is checked.
    pub(crate) secret: Option<Digest>,
}

impl Caller {
    /// A connector that nats-server lets send the lines of a shop. It does not say which of its users that
    /// is: `user` is what the sender calls itself.
    pub(crate) fn of_connector(shop: &Shop, user: &str) -> Self {
        Self {
            kind: Some(ActorKind::Connector),
            key_id: user.to_owned(),
            scopes: vec![Scope::Erp],
            shops: vec![shop.clone()],
            expires_at: None,
            secret: None,
        }
    }

    /// Who has a key that the installation has made.
    pub(crate) fn of_key(
        id: String,
        scopes: Vec<Scope>,
        shops: Vec<Shop>,
        expires_at: Option<Timestamp>,
    ) -> Self {
        Self { kind: Some(ActorKind::ApiKey), key_id: id, scopes, shops, expires_at, secret: None }
    }

    /// The same, who presented the secret with that digest.
    pub(crate) fn with_secret(self, digest: Digest) -> Self {
        Self { secret: Some(digest), ..self }
    }

    /// Who has a token.
    pub(crate) fn of_token(
        subject: &str,
        scopes: Vec<Scope>,
        shops: Vec<Shop>,
        expires_at: Timestamp,
    ) -> Self {
        let (key_id, expires_at) = (subject.to_owned(), Some(expires_at));
        Self { kind: Some(ActorKind::Subject), key_id, scopes, shops, expires_at, secret: None }
    }

    /// The caller as events name it that follow from a command. A connector is named by its lines, where
    /// they name one.
    pub(crate) fn actor(&self, asked: &command::Body) -> Option<Actor> {
        let kind = self.kind?;
        let id = match kind {
            ActorKind::Connector => connector(asked).unwrap_or(&self.key_id),
            _ => &self.key_id,
        };
        Some(kind.actor(id))
    }

    /// A name that no other caller has.
    pub(crate) fn name(&self) -> String {
        let kind = self.kind.map_or("", ActorKind::as_str);
        match self.shops.first() {
            // What it calls itself is not checked: nothing is known of it but its shop.
            Some(shop) if self.kind == Some(ActorKind::Connector) => format!("{kind} {shop}"),
            _ => format!("{kind} {}", self.key_id),
        }
    }

    /// The name of a connector's user, where it is one.
    pub(crate) fn connector(&self) -> Option<&str> {
        let is_connector = self.kind == Some(ActorKind::Connector) && !self.key_id.is_empty();
        is_connector.then_some(&*self.key_id)
    }

    /// Whether the key allows that.
    pub(crate) fn may(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }

    /// Whether the key is for the shop of that name; an empty name stands for all shops.
    pub(crate) fn is_for(&self, shop: &str) -> bool {
        self.shops.is_empty() || self.shops.iter().any(|it| it.as_str() == shop)
    }

    /// Whether the caller's key or token ends at that time or later; `None` is never.
    pub(crate) fn lasts_until(&self, end: Option<Timestamp>) -> bool {
        self.expires_at.is_none_or(|own| end.is_some_and(|end| end <= own))
    }

    /// Whether the key has expired.
    pub(crate) fn has_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }
}

/// The connector that all lines of a command are of.
fn connector(asked: &command::Body) -> Option<&str> {
    let command::Body::RecordStock(RecordStock { lines, invalid }) = asked else { return None };
    let of_lines = lines.iter().map(|line| line.document.as_ref().map(|it| &*it.connector));
    let of_invalid = invalid.iter().map(|line| line.line.as_ref().map(|it| &*it.connector));
    let mut named = of_lines.chain(of_invalid);
    let first = named.next().flatten()?;
    named.all(|other| other == Some(first)).then_some(first)
}

impl ApiKeys {
    /// Checks the keys of a gateway that listens on `listen`.
    pub(crate) fn new(keys: &[ApiKeySetting], listen: SocketAddr) -> Result<Self, ApiKeyError> {
        let mut known = Self(Vec::with_capacity(keys.len()));
        for ApiKeySetting { id, key, scopes, shops, expires_at } in keys {
            if known.0.iter().any(|other| other.caller.key_id == *id) {
                return Err(ApiKeyError::SameId(id.clone()));
            }
            let key = ApiKey::new(key, listen)?;
            if let Some(other) = known.0.iter().find(|other| other.key.0 == key.0) {
                return Err(ApiKeyError::SameKey(other.caller.key_id.clone(), id.clone()));
            }
            let caller = Caller {
                kind: Some(ActorKind::ApiKey),
                key_id: id.clone(),
                scopes: scopes.clone(),
                shops: shops.clone(),
                expires_at: *expires_at,
                secret: None,
            };
            known.0.push(KnownKey { caller, key });
        }
        Ok(known)
    }

    /// Who has this key. Every key is compared, so that the time says nothing about which one it is.
    pub(crate) fn find(&self, key: &str) -> Option<&Caller> {
        let digest = Sha256::digest(key).into();
        let compared = self.0.iter().map(|known| known.key.is(&digest).then_some(&known.caller));
        compared.fold(None, Option::or)
    }
}

/// The digest of the API key. Digests have one length, so that comparing them in constant time does
/// not reveal the length of the key either.
struct ApiKey([u8; 32]);

impl ApiKey {
    /// Checks the key of a gateway that listens on `listen`. A short one is accepted on a loopback
    /// address alone.
    fn new(key: &SecretString, listen: SocketAddr) -> Result<Self, ApiKeyError> {
        let key = key.expose_secret();
        if let Some(digest) = key.strip_prefix(DIGEST) {
            let digest = HEXLOWER_PERMISSIVE.decode(digest.as_bytes()).ok();
            let digest = digest.and_then(|digest| digest.try_into().ok());
            return digest.map(Self).ok_or(ApiKeyError::NoDigest);
        }
        let length = key.len();
        if length == 0 {
            return Err(ApiKeyError::Empty);
        }
        if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(ApiKeyError::NotVisibleAscii);
        }
        if length < MIN_API_KEY_LENGTH && !listen.ip().is_loopback() {
            return Err(ApiKeyError::TooShort { length, listen });
        }
        Ok(Self(Sha256::digest(key).into()))
    }

    /// Whether this is the digest of the API key.
    fn is(&self, digest: &[u8; 32]) -> bool {
        digest.ct_eq(&self.0).into()
    }

    #[cfg(test)]
    fn matches(&self, key: &str) -> bool {
        self.is(&Sha256::digest(key).into())
    }
}

#[cfg(test)]
mod tests {
    use events::proto::inventory::{Document, StockDocument};

    use super::*;

    const LOOPBACK: &str = "127.0.0.1:8080";
    const EVERYWHERE: &str = "0.0.0.0:8080";

    #[track_caller]
    fn check(key: &str, listen: &str, expected: Option<&ApiKeyError>) {
        let listen = listen.parse().expect("is an address");
        assert_eq!(
            ApiKey::new(&key.into(), listen).err().as_ref(),
            expected,
            "{key:?} on {listen}"
        );
    }

    #[test]
    fn an_empty_key_or_one_that_no_header_can_carry_is_refused() {
        check("", LOOPBACK, Some(&ApiKeyError::Empty));
        check("", EVERYWHERE, Some(&ApiKeyError::Empty));
        check("two words", LOOPBACK, Some(&ApiKeyError::NotVisibleAscii));
        check("key\n", LOOPBACK, Some(&ApiKeyError::NotVisibleAscii));
    }

    #[test]
    fn a_short_key_is_for_a_loopback_address_alone() {
        check("x", LOOPBACK, None);
        check("x", "[::1]:8080", None);
        let listen = EVERYWHERE.parse().expect("is an address");
        check("fifteen-letters", EVERYWHERE, Some(&ApiKeyError::TooShort { length: 15, listen }));
        check("sixteen-letters!", EVERYWHERE, None);
    }

    #[test]
    fn a_caller_may_what_its_own_key_allows() {
        let setting = |id: &str, key: &str, scopes: &[Scope]| ApiKeySetting {
            scopes: scopes.to_vec(),
            ..ApiKeySetting::of_everything(id, key.into())
        };
        let listen = LOOPBACK.parse().expect("is an address");
        let settings = [setting("erp", "one", &Scope::ALL), setting("shop", "two", &[])];
        let keys = ApiKeys::new(&settings, listen).expect("are good");
        let may = |key| keys.find(key).map(|it| (&*it.key_id, it.may(Scope::PricesAsSold)));
        assert_eq!(may("one"), Some(("erp", true)));
        assert_eq!(may("two"), Some(("shop", false)));
        assert_eq!(may("three"), None);
        let twice = [setting("erp", "one", &[]), setting("erp", "two", &[])];
        let error = ApiKeys::new(&twice, listen).err();
        assert_eq!(error, Some(ApiKeyError::SameId("erp".to_owned())));
        let same = [setting("erp", "one", &[]), setting("shop", "one", &[])];
        let error = ApiKeys::new(&same, listen).err();
        assert_eq!(error, Some(ApiKeyError::SameKey("erp".to_owned(), "shop".to_owned())));
    }

    #[test]
    fn a_key_may_be_known_by_its_digest_alone() {
        let listen = EVERYWHERE.parse().expect("is an address");
        let digest = data_encoding::HEXLOWER.encode(&Sha256::digest("sixteen-letters!"));
        let key = ApiKey::new(&format!("sha256:{digest}").into(), listen).expect("is a digest");
        assert!(key.matches("sixteen-letters!") && !key.matches(&digest));
        check("sha256:abc", EVERYWHERE, Some(&ApiKeyError::NoDigest));
    }

    #[test]
    fn a_key_is_for_its_shops_and_its_time() {
        let shop = Shop::parse("acme").expect("is a name");
        let at = |ms| Timestamp::from_millis(ms);
        let caller = Caller { shops: vec![shop], expires_at: Some(at(1_000)), ..Caller::default() };
        assert!(caller.is_for("acme") && !caller.is_for("beta") && !caller.is_for(""));
        assert!(Caller::default().is_for("beta") && Caller::default().is_for(""));
        assert!(!caller.has_expired(at(999)) && caller.has_expired(at(1_000)));
        assert!(!Caller::default().has_expired(at(i64::MAX / 2)));
    }

    #[test]
    fn a_connector_is_named_by_its_lines() {
        let shop = Shop::parse("acme").expect("is a name");
        let caller = Caller::of_connector(&shop, "warehouse");
        let record = |connectors: &[&str]| {
            let line = |connector: &&str| StockDocument {
                document: Some(Document { connector: (*connector).into(), ..Default::default() }),
                ..Default::default()
            };
            let lines = connectors.iter().map(line).collect();
            command::Body::RecordStock(RecordStock { lines, invalid: vec![] })
        };
        for (connectors, id) in
            [(&["wms", "wms"] as &[_], "wms"), (&["wms", "till"], "warehouse"), (&[], "warehouse")]
        {
            let actor = caller.actor(&record(connectors));
            assert_eq!(actor, Some(ActorKind::Connector.actor(id)), "{connectors:?}");
        }
        assert_eq!(caller.name(), Caller::of_connector(&shop, "other").name());
        assert_eq!(Caller::default().actor(&record(&["wms"])), None);
        let with_key = Caller { kind: Some(ActorKind::ApiKey), key_id: "k".into(), ..caller };
        assert_eq!(with_key.actor(&record(&["wms"])), Some(ActorKind::ApiKey.actor("k")));
    }

    #[test]
    fn only_the_same_key_matches() {
        let key = ApiKey::new(&"secret".into(), LOOPBACK.parse().expect("is an address"));
        let key = key.expect("is good");
        assert!(key.matches("secret"));
        for other in ["", "secre", "secret1", "Secret"] {
            assert!(!key.matches(other), "{other:?} matched");
        }
    }
}
