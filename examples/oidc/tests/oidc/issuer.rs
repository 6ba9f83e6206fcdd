//! A provider that signs whatever a test asks for.

use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::{Form, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use openidconnect::core::{CoreEdDsaPrivateSigningKey, CoreHmacKey, CoreJwsSigningAlgorithm};
use openidconnect::{JsonWebKeyId, PrivateSigningKey};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::browser::Browser;
use crate::node::{CLIENT_ID, Node};

/// Member of a logout token's `events`.
pub const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// A provider whose authorization codes are the claims of the ID token.
#[derive(Clone)]
pub struct Issuer {
    pub url: String,
    keys: Arc<Mutex<Keys>>,
    /// Held while the page with the keys must not answer.
    keys_page: Arc<tokio::sync::Mutex<()>>,
}

struct Keys {
    seed: u8,
    kid: String,
    are_served: bool,
    fetches: usize,
}

impl Issuer {
    pub async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let keys = Keys { seed: 1, kid: "1".to_owned(), are_served: true, fetches: 0 };
        let issuer = Self { url, keys: Arc::new(Mutex::new(keys)), keys_page: Arc::default() };
        let app = Router::new()
            .route("/.well-known/openid-configuration", get(metadata))
            .route("/keys", get(keys_page))
            .route("/token", post(token_page))
            .with_state(issuer.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        issuer
    }

    /// Replaces the key.
    pub fn rotate_key(&self) {
        let mut keys = self.keys.lock().unwrap();
        keys.seed += 1;
        keys.kid = keys.seed.to_string();
    }

    /// Makes the page with the keys answer, or fail.
    pub fn serve_keys(&self, are_served: bool) {
        self.keys.lock().unwrap().are_served = are_served;
    }

    /// Makes the page with the keys wait until the guard is dropped.
    pub async fn hold_keys(&self) -> impl Drop {
        Arc::clone(&self.keys_page).lock_owned().await
    }

    /// Returns how often the keys were asked for.
    pub fn key_fetches(&self) -> usize {
        self.keys.lock().unwrap().fetches
    }

    /// Begins a sign-in; returns the address that finishes it.
    pub async fn begin(&self, node: &Node, browser: &mut Browser, claims: Value) -> String {
        let to = browser.redirect(&format!("{}/sign-in", node.url)).await;
        let asked = |name: &str| to.query_pairs().find(|(key, _)| key == name).unwrap().1.into_owned();
        assert_eq!((asked("code_challenge_method"), asked("scope")), ("S256".to_owned(), "openid".to_owned()));
        let code = with(&with(&self.claims(), &json!({ "nonce": asked("nonce") })), &claims);
        let code = URL_SAFE_NO_PAD.encode(code.to_string());
        format!("{}/callback?state={}&code={code}", node.url, asked("state"))
    }

    /// Signs a browser in.
    pub async fn sign_in(&self, node: &Node, claims: Value) -> Browser {
        let mut browser = Browser::new();
        let back = self.begin(node, &mut browser, claims).await;
        assert_eq!(browser.open(&back).await.0, StatusCode::OK);
        browser
    }

    /// Returns a valid logout token of a provider's session or user, with the changed claims.
    pub fn logout_token(&self, changes: &Value) -> String {
        self.sign(&self.logout_header(), &with(&self.logout_claims(), changes))
    }

    pub fn logout_header(&self) -> Value {
        json!({ "alg": "EdDSA", "kid": self.keys.lock().unwrap().kid, "typ": "logout+jwt" })
    }

    /// Returns the claims of a logout token with a new `jti`, without `sub` and `sid`.
    pub fn logout_claims(&self) -> Value {
        let random = openidconnect::Nonce::new_random();
        with(&self.claims(), &json!({ "events": { EVENT: {} }, "jti": random.secret(), "sub": null }))
    }

    pub fn sign(&self, header: &Value, claims: &Value) -> String {
        let seed = self.keys.lock().unwrap().seed;
        sign_by(seed, header, claims)
    }

    /// Signs with the public key as the secret of an HMAC.
    pub fn sign_by_public_key(&self, claims: &Value) -> String {
        let key = self.public_key();
        let public = URL_SAFE_NO_PAD.decode(key["x"].as_str().unwrap()).unwrap();
        let header = json!({ "alg": "HS256", "kid": key["kid"], "typ": "logout+jwt" });
        let signed = signed_part(&header, claims);
        let signature = CoreHmacKey::new(public).sign(&CoreJwsSigningAlgorithm::HmacSha256, signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.unwrap()))
    }

    fn public_key(&self) -> Value {
        let keys = self.keys.lock().unwrap();
        serde_json::to_value(key(keys.seed, &keys.kid).as_verification_key()).unwrap()
    }

    fn claims(&self) -> Value {
        json!({ "iss": self.url, "aud": CLIENT_ID, "sub": "ada", "iat": now(), "exp": now() + 120 })
    }
}

/// Returns an object with these members changed, and those that are null removed.
pub fn with(object: &Value, changes: &Value) -> Value {
    let mut object = object.as_object().unwrap().clone();
    object.extend(changes.as_object().unwrap().clone());
    object.retain(|_, value| !value.is_null());
    Value::Object(object)
}

pub fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

/// Signs with the key of a seed. The issuer's first is 1.
pub fn sign_by(seed: u8, header: &Value, claims: &Value) -> String {
    let signed = signed_part(header, claims);
    let signature = key(seed, "").sign(&CoreJwsSigningAlgorithm::EdDsa, signed.as_bytes()).unwrap();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// Returns the header and the claims of a token, as its signature covers them.
pub fn signed_part(header: &Value, claims: &Value) -> String {
    format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()))
}

fn key(seed: u8, kid: &str) -> CoreEdDsaPrivateSigningKey {
    // PKCS #8 of an Ed25519 key (RFC 8410 §7).
    let prefix = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    let der = [prefix.as_slice(), &[seed; 32]].concat();
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(der));
    CoreEdDsaPrivateSigningKey::from_ed25519_pem(&pem, Some(JsonWebKeyId::new(kid.to_owned()))).unwrap()
}

async fn metadata(State(issuer): State<Issuer>) -> Json<Value> {
    let page = |path: &str| format!("{}/{path}", issuer.url);
    Json(json!({
        "issuer": issuer.url,
        "authorization_endpoint": page("authorize"),
        "token_endpoint": page("token"),
        "jwks_uri": page("keys"),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["EdDSA"],
    }))
}

async fn keys_page(State(issuer): State<Issuer>) -> Result<Json<Value>, StatusCode> {
    issuer.keys.lock().unwrap().fetches += 1;
    drop(issuer.keys_page.lock().await);
    let are_served = issuer.keys.lock().unwrap().are_served;
    if are_served { Ok(Json(json!({ "keys": [issuer.public_key()] }))) } else { Err(StatusCode::SERVICE_UNAVAILABLE) }
}

#[derive(Deserialize)]
struct Exchange {
    code: String,
}

async fn token_page(State(issuer): State<Issuer>, Form(exchange): Form<Exchange>) -> Json<Value> {
    let claims = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(exchange.code).unwrap()).unwrap();
    let header = with(&issuer.logout_header(), &json!({ "typ": "JWT" }));
    Json(json!({ "access_token": "-", "token_type": "Bearer", "id_token": issuer.sign(&header, &claims) }))
}
