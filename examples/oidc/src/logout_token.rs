//! The checks of a logout token (OpenID Connect Back-Channel Logout 1.0 §2.4 and §2.6).

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openidconnect::JsonWebKey;
use openidconnect::core::{CoreJsonWebKey, CoreJsonWebKeySet, CoreJwsSigningAlgorithm};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::failure::Failure;
use crate::now;
use crate::provider::{ALGORITHMS, Provider};
use crate::provider_sessions::Logout;

/// Member of `events` that makes a token a logout token.
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";
/// Accepted difference between the clocks of the provider and of this node, in seconds.
pub(crate) const LEEWAY: i64 = 60;

/// A logout token that passed all checks but that for its repetition.
#[derive(Debug)]
pub(crate) struct LogoutToken {
    pub(crate) logout: Logout,
    pub(crate) jti: String,
    /// Time after which the token is refused.
    pub(crate) expires_in: Duration,
}

/// The header of a JWS.
///
/// `alg` is one that this crate knows: `none` and encrypted tokens are errors. `kid` is optional, and unnecessary: each of
/// the provider's few keys is tried.
#[derive(Deserialize)]
struct Header {
    alg: CoreJwsSigningAlgorithm,
    typ: Option<String>,
    crit: Option<Value>,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    aud: Value,
    iat: i64,
    exp: i64,
    jti: String,
    events: Map<String, Value>,
    sub: Option<String>,
    sid: Option<String>,
}

pub(crate) async fn verify(provider: &Provider, token: &str) -> Result<LogoutToken, Failure> {
    let [header, payload, signature] = parts(token)?;
    let header: Header = json(&decode(header)?)?;
    // An attacker chooses the header, so the algorithm is one of a fixed list, and a key accepts only its own.
    if !ALGORITHMS.contains(&header.alg) {
        return Err(Failure::Invalid("the algorithm is not accepted"));
    }
    // Other tokens of the provider have other types (RFC 8725 §3.11).
    if !header
        .typ
        .as_deref()
        .is_none_or(|typ| ["logout+jwt", "JWT"].iter().any(|known| known.eq_ignore_ascii_case(typ)))
    {
        return Err(Failure::Invalid("the token is of another type"));
    }
    if header.crit.is_some() {
        return Err(Failure::Invalid("the header has critical fields"));
    }
    let signed = &token[..token.rfind('.').unwrap_or_default()];
    let signature = decode(signature)?;
    let has_signed = |key: &CoreJsonWebKey| key.verify_signature(&header.alg, signed.as_bytes(), &signature).is_ok();
    let check_signature = |keys: &CoreJsonWebKeySet| keys.keys().iter().any(has_signed).then_some(());
    if provider.check_by_keys(check_signature).await?.is_none() {
        return Err(Failure::Invalid("the signature is not the provider's"));
    }
    check(provider, json(&decode(payload)?)?)
}

fn check(provider: &Provider, claims: Map<String, Value>) -> Result<LogoutToken, Failure> {
    // An ID token has one, and must not pass as a logout token.
    if claims.contains_key("nonce") {
        return Err(Failure::Invalid("the token has a nonce"));
    }
    let Ok(claims) = serde_json::from_value::<Claims>(Value::Object(claims)) else {
        return Err(Failure::Invalid("a claim is missing or has another type"));
    };
    let now = now();
    let refused = [
        (claims.iss != provider.issuer().as_str(), "the token is another issuer's"),
        // Another audience could otherwise use the token that it received.
        (!is_only(&claims.aud, provider.client_id()), "the token is for another audience"),
        (claims.iat > now + LEEWAY, "the token was issued in the future"),
        (claims.exp <= now - LEEWAY, "the token has expired"),
        (!claims.events.get(EVENT).is_some_and(Value::is_object), "the token has no logout event"),
        (claims.sub.is_none() && claims.sid.is_none(), "the token has neither sub nor sid"),
    ];
    if let Some((_, reason)) = refused.into_iter().find(|(is_refused, _)| *is_refused) {
        return Err(Failure::Invalid(reason));
    }
    let expires_in = Duration::from_secs(u64::try_from(claims.exp - now).unwrap_or_default() + LEEWAY.unsigned_abs());
    let logout = Logout { sub: claims.sub, sid: claims.sid, at: claims.iat };
    Ok(LogoutToken { logout, jti: claims.jti, expires_in })
}

/// Checks whether an audience is exactly this client.
fn is_only(audience: &Value, client: &str) -> bool {
    match audience {
        Value::String(one) => one == client,
        Value::Array(all) => matches!(all.as_slice(), [Value::String(one)] if one == client),
        _ => false,
    }
}

fn parts(token: &str) -> Result<[&str; 3], Failure> {
    let parts: Vec<&str> = token.splitn(4, '.').collect();
    parts.try_into().map_err(|_| Failure::Invalid("the token is not a signed JWT"))
}

fn decode(part: &str) -> Result<Vec<u8>, Failure> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| Failure::Invalid("the token is not base64url"))
}

fn json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(bytes).map_err(|_| Failure::Invalid("the token has an unknown form"))
}
