//! Tokens of an issuer on this machine: good ones, and those of somebody who tries what is not allowed.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Json, Router, extract::State, http::StatusCode, response::IntoResponse, routing::get};
use data_encoding::BASE64URL_NOPAD;
use events::proto::{command::Body, order::CancelOrder};
use jsonwebtoken::get_current_timestamp;
use ring::{
    hmac,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair},
};
use serde_json::json;
use testkit::eventually;
use tokio::{net::TcpListener, task::JoinSet, time::timeout};
use tokio_util::task::AbortOnDropHandle;

use super::{
    keys::{MAX_AGE, MIN_FETCH_INTERVAL},
    *,
};

const AUDIENCE: &str = "https://shop.example/api";

/// An issuer that publishes keys.
struct Issuer {
    url: String,
    shared: Arc<Shared>,
    _serving: AbortOnDropHandle<()>,
}

#[derive(Default)]
struct Shared {
    url: Mutex<String>,
    keys: Mutex<Vec<Value>>,
    fetches: AtomicUsize,
    is_down: AtomicBool,
}

impl Issuer {
    async fn start(keys: &[&Key]) -> Self {
        let shared = Arc::new(Shared::default());
        let discovery = async |State(shared): State<Arc<Shared>>| {
            let url = shared.url.lock().expect("nobody panicked").clone();
            Json(json!({"issuer": url, "jwks_uri": format!("{url}/keys")}))
        };
        let published = async |State(shared): State<Arc<Shared>>| {
            shared.fetches.fetch_add(1, Ordering::SeqCst);
            if shared.is_down.load(Ordering::SeqCst) {
                return StatusCode::INTERNAL_SERVER_ERROR.into_response();
            }
            let keys = shared.keys.lock().unwrap_or_else(PoisonError::into_inner).clone();
            Json(json!({"keys": keys})).into_response()
        };
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/keys", get(published))
            .with_state(shared.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("has an address"));
        shared.url.lock().expect("nobody panicked").clone_from(&url);
        let serving = tokio::spawn(async move {
            axum::serve(listener, router).await.expect("it serves");
        });
        let issuer = Self { url, shared, _serving: AbortOnDropHandle::new(serving) };
        issuer.publish(keys.iter().map(|key| key.public.clone()).collect());
        issuer
    }

    fn publish(&self, keys: Vec<Value>) {
        *self.shared.keys.lock().expect("nobody panicked") = keys;
    }

    fn fetches(&self) -> usize {
        self.shared.fetches.load(Ordering::SeqCst)
    }

    fn settings(&self) -> JwtSettings {
        JwtSettings {
            issuer: self.url.clone(),
            audience: AUDIENCE.to_owned(),
            jwks_url: format!("{}/keys", self.url).parse().ok(),
            ca_file: None,
            scope_claim: "scope".to_owned(),
            shop_claim: "shop".to_owned(),
        }
    }

    fn jwt(&self) -> Jwt {
        Jwt::new(&self.settings()).expect("the settings are good")
    }

    /// The claims of a good token.
    fn claims(&self) -> Value {
        json!({
            "iss": self.url, "aud": AUDIENCE, "sub": "till-7", "exp": get_current_timestamp() + 3_600,
            "scope": "openid read orders", "shop": "acme",
        })
    }

    /// The same with one changed; null takes it away.
    fn claims_but(&self, name: &str, value: Value) -> Value {
        let mut claims = self.claims();
        let all = claims.as_object_mut().expect("is an object");
        if value.is_null() {
            all.remove(name)
        } else {
            all.insert(name.to_owned(), value)
        };
        claims
    }
}

type Sign = Box<dyn Fn(&[u8]) -> Vec<u8>>;

/// A key of the issuer.
struct Key {
    header: Value,
    public: Value,
    point: Vec<u8>,
    sign: Sign,
}

impl Key {
    fn ed25519(id: &str) -> Self {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("is made");
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).expect("is a key");
        let point = pair.public_key().as_ref().to_vec();
        Self {
            header: json!({"alg": "EdDSA", "kid": id}),
            public: json!({"kty": "OKP", "crv": "Ed25519", "kid": id, "x": encode(&point)}),
            point,
            sign: Box::new(move |message| pair.sign(message).as_ref().to_vec()),
        }
    }

    fn p256(id: &str) -> Self {
        let (algorithm, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).expect("is made");
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).expect("is a key");
        let point = pair.public_key().as_ref().to_vec();
        let (x, y) = (encode(&point[1..33]), encode(&point[33..]));
        Self {
            header: json!({"alg": "ES256", "kid": id, "typ": "at+jwt"}),
            public: json!({"kty": "EC", "crv": "P-256", "kid": id, "use": "sig", "alg": "ES256", "x": x, "y": y}),
            point,
            sign: Box::new(move |message| {
                let signed = pair.sign(&SystemRandom::new(), message);
                signed.expect("is signed").as_ref().to_vec()
            }),
        }
    }

    fn token(&self, claims: &Value) -> String {
        signed(&self.header, claims, &self.sign)
    }
}

fn encode(bytes: &[u8]) -> String {
    BASE64URL_NOPAD.encode(bytes)
}

fn signed(header: &Value, claims: &Value, sign: &dyn Fn(&[u8]) -> Vec<u8>) -> String {
    let [header, claims] = [header, claims].map(|it| encode(it.to_string().as_bytes()));
    let message = format!("{header}.{claims}");
    let signature = encode(&sign(message.as_bytes()));
    format!("{message}.{signature}")
}

fn status(verified: Result<Caller, Problem>) -> u16 {
    verified.map_or_else(|problem| problem.into_response().status().as_u16(), |_| 200)
}

#[tokio::test]
async fn a_token_says_who_sends_and_what_it_may() {
    let (first, second) = (Key::ed25519("1"), Key::p256("2"));
    let issuer = Issuer::start(&[&first, &second]).await;
    let jwt = issuer.jwt();
    for key in [&first, &second] {
        let token = key.token(&issuer.claims());
        assert!(is_token(&token));
        let caller = jwt.verify(&token).await.expect("is good");
        let body = Body::CancelOrder(CancelOrder::default());
        let actor = caller.actor(&body).expect("it is known");
        assert_eq!((actor.kind.as_str(), actor.id.as_str()), ("subject", "till-7"));
        let may = Scope::ALL.map(|scope| caller.may(scope));
        let expected = Scope::ALL.map(|scope| [Scope::Read, Scope::Orders].contains(&scope));
        assert_eq!(may, expected);
        assert!(caller.is_for("acme") && !caller.is_for("beta") && !caller.is_for(""));
        let now = Timestamp::from_millis(get_current_timestamp() as i64 * 1_000);
        assert!(!caller.has_expired(now));
        // Its clock and the issuer's may be 30 s apart.
        assert!(!caller.has_expired(Timestamp::from_millis(now.millis() + 3_625_000)));
        assert!(caller.has_expired(Timestamp::from_millis(now.millis() + 3_631_000)));
    }
    assert_eq!(issuer.fetches(), 1);
}

#[tokio::test]
async fn scopes_and_shops_may_be_lists_in_claims_of_other_names() {
    let key = Key::ed25519("1");
    let issuer = Issuer::start(&[&key]).await;
    let settings = JwtSettings {
        scope_claim: "permissions".to_owned(),
        shop_claim: "https://shop.example/shops".to_owned(),
        ..issuer.settings()
    };
    let jwt = Jwt::new(&settings).expect("the settings are good");
    let mut claims = issuer.claims_but("permissions", json!(["erp", "profile"]));
    claims["https://shop.example/shops"] = json!(["acme", "beta"]);
    let caller = jwt.verify(&key.token(&claims)).await.expect("is good");
    assert!(caller.may(Scope::Erp) && !caller.may(Scope::Read));
    assert!(caller.is_for("acme") && caller.is_for("beta") && !caller.is_for("gamma"));
}

#[tokio::test]
async fn a_token_is_for_the_shops_that_it_names() {
    let key = Key::ed25519("1");
    let issuer = Issuer::start(&[&key]).await;
    let jwt = issuer.jwt();
    let of = async |shop: Value| jwt.verify(&key.token(&issuer.claims_but("shop", shop))).await;
    let all = of(json!("*")).await.expect("is good");
    assert!(all.is_for("acme") && all.is_for(""));
    for none in [
        json!(null),
        json!([]),
        json!(""),
        json!(7),
        json!({"a": 1}),
        json!("NO SHOP"),
        json!(["*", "a"]),
    ] {
        assert_eq!(status(of(none.clone()).await), 403, "{none}");
    }
}

#[tokio::test]
async fn a_token_with_a_wrong_claim_is_refused() {
    let key = Key::ed25519("1");
    let issuer = Issuer::start(&[&key]).await;
    let jwt = issuer.jwt();
    let now = get_current_timestamp();
    for (name, value) in [
        ("exp", json!(now - 31)),
        ("exp", json!(null)),
        ("exp", json!("never")),
        ("nbf", json!(now + 3_600)),
        ("nbf", json!("soon")),
        ("iss", json!("https://issuer.example")),
        ("iss", json!(null)),
        ("aud", json!("https://other.example")),
        ("aud", json!(["https://other.example"])),
        ("aud", json!(null)),
        ("sub", json!(null)),
        ("sub", json!("")),
        ("sub", json!(7)),
        ("sub", json!("a\nb")),
        ("sub", json!("x".repeat(MAX_SUBJECT_LENGTH + 1))),
    ] {
        let token = key.token(&issuer.claims_but(name, value.clone()));
        assert_eq!(status(jwt.verify(&token).await), 401, "{name} {value}");
    }
    for (name, value) in [
        ("nbf", json!(now)),
        ("aud", json!(["https://other.example", AUDIENCE])),
        ("sub", json!("ü".repeat(MAX_SUBJECT_LENGTH))),
    ] {
        let token = key.token(&issuer.claims_but(name, value.clone()));
        assert_eq!(status(jwt.verify(&token).await), 200, "{name} {value}");
    }
}

#[tokio::test]
async fn a_token_cannot_choose_how_it_is_verified() {
    let (key, other) = (Key::ed25519("1"), Key::p256("2"));
    let issuer = Issuer::start(&[&key, &other]).await;
    // A symmetric key in public is nobody's secret.
    let secret = b"0123456789abcdef0123456789abcdef";
    let symmetric = json!({"kty": "oct", "kid": "3", "k": encode(secret), "alg": "HS256"});
    let wrong_use = {
        let mut public = Key::ed25519("4").public;
        public["use"] = json!("enc");
        public
    };
    let post_quantum = json!({"kty": "AKP", "kid": "5", "alg": "ML-DSA-44", "pub": "AAAA"});
    issuer.publish(vec![
        post_quantum,
        symmetric,
        key.public.clone(),
        other.public.clone(),
        wrong_use,
    ]);
    let jwt = issuer.jwt();
    let claims = issuer.claims();
    assert_eq!(status(jwt.verify(&key.token(&claims)).await), 200);

    let hmac_by = |secret: &[u8]| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        move |message: &[u8]| hmac::sign(&key, message).as_ref().to_vec()
    };
    let header = |alg: &str, kid: &str| json!({"alg": alg, "kid": kid});
    let nobody = |_: &[u8]| Vec::new();
    for (what, token) in [
        ("none", signed(&header("none", "1"), &claims, &nobody)),
        ("None", signed(&header("None", "1"), &claims, &nobody)),
        ("no signature", signed(&header("EdDSA", "1"), &claims, &nobody)),
        ("HS256 by the public key", signed(&header("HS256", "1"), &claims, &hmac_by(&key.point))),
        ("HS256 by a P-256 key", signed(&header("HS256", "2"), &claims, &hmac_by(&other.point))),
        ("HS256 by a published secret", signed(&header("HS256", "3"), &claims, &hmac_by(secret))),
        ("RS256 of an Ed25519 key", signed(&header("RS256", "1"), &claims, &key.sign)),
        ("ES256 of an Ed25519 key", signed(&header("ES256", "1"), &claims, &key.sign)),
        ("the key of another", signed(&header("EdDSA", "1"), &claims, &Key::ed25519("1").sign)),
        ("a key for encryption", signed(&header("EdDSA", "4"), &claims, &key.sign)),
    ] {
        assert_eq!(status(jwt.verify(&token).await), 401, "{what}");
    }
    let mut embedded = header("EdDSA", "6");
    let own = Key::ed25519("6");
    embedded["jwk"] = own.public.clone();
    let token = signed(&embedded, &claims, &own.sign);
    assert_eq!(status(jwt.verify(&token).await), 401, "a key in the token");

    let good = key.token(&claims);
    let parts: Vec<_> = good.split('.').collect();
    let forged = encode(issuer.claims_but("shop", json!("*")).to_string().as_bytes());
    let forged = format!("{}.{forged}.{}", parts[0], parts[2]);
    assert_eq!(status(jwt.verify(&forged).await), 401, "other claims");
    for garbage in ["..", "a.b.c", "", "e30.e30.e30"] {
        assert_eq!(status(jwt.verify(garbage).await), 401, "{garbage:?}");
    }
    assert!(!is_token(&"a".repeat(MAX_TOKEN_BYTES + 1)) && !is_token("an-api-key"));
}

#[tokio::test]
async fn a_token_of_which_anything_has_changed_is_refused() {
    let (first, second) = (Key::ed25519("1"), Key::p256("2"));
    let issuer = Issuer::start(&[&first, &second]).await;
    let jwt = issuer.jwt();
    for key in [&first, &second] {
        let token = key.token(&issuer.claims());
        assert_eq!(status(jwt.verify(&token).await), 200);
        let refused = async |changed: String| {
            let status = status(jwt.verify(&changed).await);
            assert_eq!(status, 401, "{changed}");
        };
        for at in 0..token.len() {
            // Another letter each time: in the last one of a part, some letters differ in bits that say nothing.
            let other = if &token[at..=at] == "A" { "B" } else { "A" };
            refused([&token[..at], other, &token[at + 1..]].concat()).await;
            refused([&token[..at], &token[at + 1..]].concat()).await;
            refused(token[..at].to_owned()).await;
            for inserted in [".", "=", "é", "A", " "] {
                refused([&token[..at], inserted, &token[at..]].concat()).await;
            }
        }
        let parts: Vec<_> = token.split('.').collect();
        for order in [[1, 0, 2], [0, 2, 1], [0, 0, 2], [0, 1, 1]] {
            refused(order.map(|at| parts[at]).join(".")).await;
        }
    }
    assert!(issuer.fetches() <= 2, "what nobody signed makes no more than one fetch in a while");
}

#[tokio::test]
async fn a_token_without_a_key_id_is_verified_by_the_only_key_of_its_algorithm() {
    let (key, other, second) = (Key::ed25519("1"), Key::p256("2"), Key::ed25519("3"));
    let issuer = Issuer::start(&[&key, &other]).await;
    let token = signed(&json!({"alg": "EdDSA"}), &issuer.claims(), &key.sign);
    assert_eq!(status(issuer.jwt().verify(&token).await), 200);
    issuer.publish(vec![key.public.clone(), second.public.clone()]);
    assert_eq!(status(issuer.jwt().verify(&token).await), 401);
}

#[tokio::test]
async fn the_issuer_may_change_its_keys() {
    let (old, new) = (Key::ed25519("1"), Key::p256("2"));
    let issuer = Issuer::start(&[&old]).await;
    let (jwt, start) = (issuer.jwt(), Instant::now());
    let [of_old, of_new] = [&old, &new].map(|key| key.token(&issuer.claims()));
    let at = async |token: &str, later| status(jwt.verify_at(token, start + later).await);
    assert_eq!(at(&of_old, Duration::ZERO).await, 200);
    issuer.publish(vec![old.public.clone(), new.public.clone()]);
    assert_eq!(at(&of_new, MIN_FETCH_INTERVAL).await, 200);
    assert_eq!(at(&of_old, MIN_FETCH_INTERVAL).await, 200);
    assert_eq!(issuer.fetches(), 2);

    // What it takes back is forgotten with the next fetch.
    issuer.publish(vec![new.public.clone()]);
    jwt.keys.fetch(start + 2 * MIN_FETCH_INTERVAL).await;
    assert_eq!(at(&of_old, 2 * MIN_FETCH_INTERVAL).await, 401);
    assert_eq!(at(&of_new, 2 * MIN_FETCH_INTERVAL).await, 200);
}

#[tokio::test]
async fn a_flood_of_unknown_keys_makes_one_fetch_in_a_while() {
    let key = Key::ed25519("1");
    let issuer = Issuer::start(&[&key]).await;
    let (jwt, start) = (Arc::new(issuer.jwt()), Instant::now());
    for round in 1..=3_u32 {
        let now = start + MIN_FETCH_INTERVAL * round;
        let mut flood = JoinSet::new();
        for number in 0..200 {
            let header = json!({"alg": "EdDSA", "kid": format!("{round}-{number}")});
            let (jwt, token) = (jwt.clone(), signed(&header, &issuer.claims(), &key.sign));
            flood.spawn(async move { status(jwt.verify_at(&token, now).await) });
        }
        assert!(flood.join_all().await.into_iter().all(|status| status == 401));
        assert_eq!(issuer.fetches(), round as usize);
        assert_eq!(status(jwt.verify_at(&key.token(&issuer.claims()), now).await), 200);
    }
}

#[tokio::test]
async fn a_request_that_is_given_up_ends_no_fetch() {
    let key = Key::ed25519("1");
    let issuer = Issuer::start(&[&key]).await;
    let (jwt, now) = (issuer.jwt(), Instant::now());
    let token = key.token(&issuer.claims());
    timeout(Duration::ZERO, jwt.verify_at(&token, now)).await.expect_err("it is given up");
    eventually("the keys are known", async || status(jwt.verify_at(&token, now).await) == 200)
        .await;
    assert_eq!(issuer.fetches(), 1);
}

#[tokio::test]
async fn known_keys_hold_for_a_while_when_the_issuer_is_down() {
    let key = Key::ed25519("1");
    let issuer = Issuer::start(&[&key]).await;
    let (jwt, start) = (issuer.jwt(), Instant::now());
    let (known, unknown) = (key.token(&issuer.claims()), Key::ed25519("2").token(&issuer.claims()));
    let at = async |token: &str, later| status(jwt.verify_at(token, start + later).await);
    issuer.shared.is_down.store(true, Ordering::SeqCst);
    assert_eq!(at(&known, Duration::ZERO).await, 503, "nothing is known");
    issuer.shared.is_down.store(false, Ordering::SeqCst);
    assert_eq!(at(&known, MIN_FETCH_INTERVAL).await, 200);

    issuer.shared.is_down.store(true, Ordering::SeqCst);
    let since = MIN_FETCH_INTERVAL;
    assert_eq!(at(&unknown, 2 * MIN_FETCH_INTERVAL).await, 503, "it may be a new one");
    assert_eq!(at(&known, since + MAX_AGE).await, 200);
    assert_eq!(at(&known, since + MAX_AGE + Duration::from_secs(1)).await, 503);
    issuer.shared.is_down.store(false, Ordering::SeqCst);
    assert_eq!(at(&known, since + MAX_AGE + 2 * MIN_FETCH_INTERVAL).await, 200);
}

#[tokio::test]
async fn the_issuer_says_itself_where_its_keys_are() {
    let key = Key::ed25519("1");
    let issuer = Issuer::start(&[&key]).await;
    let settings = JwtSettings { jwks_url: None, ..issuer.settings() };
    let jwt = Jwt::new(&settings).expect("the settings are good");
    assert_eq!(status(jwt.verify(&key.token(&issuer.claims())).await), 200);

    // What is found there is of another issuer.
    *issuer.shared.url.lock().expect("nobody panicked") = "https://other.example".to_owned();
    let jwt = Jwt::new(&settings).expect("the settings are good");
    assert_eq!(status(jwt.verify(&key.token(&issuer.claims())).await), 503);
}

#[test]
fn settings_that_cannot_be_used_are_refused() {
    let settings = |issuer: &str, jwks_url: Option<&str>| JwtSettings {
        issuer: issuer.to_owned(),
        audience: AUDIENCE.to_owned(),
        jwks_url: jwks_url.and_then(|url| url.parse().ok()),
        ca_file: None,
        scope_claim: "scope".to_owned(),
        shop_claim: "shop".to_owned(),
    };
    assert!(Jwt::new(&settings("an issuer", Some("https://issuer.example/keys"))).is_ok());
    for (issuer, jwks_url, problem) in [
        ("an issuer", None, "is no URL"),
        ("http://issuer.example", None, "must begin with https://"),
        ("https://issuer.example", Some("http://issuer.example/keys"), "must begin with https://"),
    ] {
        let error = Jwt::new(&settings(issuer, jwks_url)).expect_err("is refused");
        assert!(error.to_string().contains(problem), "{error}");
    }
}
