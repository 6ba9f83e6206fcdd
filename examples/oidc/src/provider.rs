//! Requests to the provider.

use std::error::Error;
use std::io;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use openidconnect::core::{
    CoreAuthDisplay, CoreAuthPrompt, CoreErrorResponseType, CoreGenderClaim, CoreJsonWebKey, CoreJsonWebKeySet,
    CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm, CoreResponseType, CoreRevocableToken,
    CoreRevocationErrorResponse, CoreTokenIntrospectionResponse, CoreTokenType,
};
use openidconnect::url::Url;
use openidconnect::{
    AdditionalClaims, AsyncHttpClient, AuthenticationFlow, AuthorizationCode, ClientId, ClientSecret, CsrfToken,
    EmptyExtraTokenFields, EndpointMaybeSet, EndpointNotSet, EndpointSet, HttpRequest, HttpResponse, IdTokenClaims,
    IdTokenFields, IdTokenVerifier, IssuerUrl, JsonWebKey, JsonWebKeyId, JsonWebKeySetUrl, LogoutRequest, Nonce,
    PkceCodeChallenge, PkceCodeVerifier, PostLogoutRedirectUrl, ProviderMetadataWithLogout, RedirectUrl,
    StandardErrorResponse, StandardTokenResponse, TokenResponse,
};
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::logout_token;

/// Accepted signatures of the provider. None has a shared secret as its key.
pub(crate) const ALGORITHMS: [CoreJwsSigningAlgorithm; 4] = [
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
    CoreJwsSigningAlgorithm::RsaSsaPssSha256,
    CoreJwsSigningAlgorithm::EcdsaP256Sha256,
    CoreJwsSigningAlgorithm::EdDsa,
];
/// Time limit of a request to the provider.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Most bytes of the provider's answer.
const MAX_ANSWER: usize = 1 << 20;
/// Age at which the provider's keys are fetched again, so that a withdrawn key is forgotten.
const MAX_KEY_AGE: Duration = Duration::from_secs(60 * 60);
/// Least time between two requests for unknown keys, so that forged tokens cannot cause a request each.
const MIN_INTERVAL: Duration = Duration::from_secs(1);

/// Settings of this application at the provider.
#[derive(Clone, Debug)]
pub struct Settings {
    /// URL of the provider.
    pub issuer: String,
    /// Id of this application.
    pub client_id: String,
    /// Secret of this application.
    pub client_secret: String,
    /// Address of this application, such as `https://shop.example`.
    pub origin: String,
}

/// The claim of an ID token that names the provider's session.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Sid {
    pub(crate) sid: Option<String>,
}

impl AdditionalClaims for Sid {}

type Fields = IdTokenFields<
    Sid,
    EmptyExtraTokenFields,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJwsSigningAlgorithm,
>;

type OidcClient = openidconnect::Client<
    Sid,
    CoreAuthDisplay,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJsonWebKey,
    CoreAuthPrompt,
    StandardErrorResponse<CoreErrorResponseType>,
    StandardTokenResponse<Fields, CoreTokenType>,
    CoreTokenIntrospectionResponse,
    CoreRevocableToken,
    CoreRevocationErrorResponse,
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointMaybeSet,
    EndpointMaybeSet,
>;

/// The provider, as this application knows it.
#[derive(Debug)]
pub struct Provider {
    http: Http,
    issuer: IssuerUrl,
    client_id: ClientId,
    client: OidcClient,
    sign_out_url: String,
    keys_url: JsonWebKeySetUrl,
    keys: Mutex<Keys>,
    last_fetch: tokio::sync::Mutex<Option<Fetch>>,
}

/// The last time that the keys were asked for.
#[derive(Debug)]
struct Fetch {
    at: Instant,
    has_failed: bool,
}

#[derive(Debug)]
struct Keys {
    set: CoreJsonWebKeySet,
    fetched_at: Instant,
}

impl Provider {
    /// Asks the provider for its addresses and keys.
    ///
    /// # Errors
    ///
    /// A malformed URL in the settings, or a provider that does not answer.
    pub async fn discover(settings: Settings) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let http = Http::new()?;
        let issuer = IssuerUrl::new(settings.issuer)?;
        let client_id = ClientId::new(settings.client_id);
        let metadata = ProviderMetadataWithLogout::discover_async(issuer.clone(), &http).await?;

        let home = format!("{}/", settings.origin);
        let sign_out_url = match metadata.additional_metadata().end_session_endpoint.clone() {
            Some(endpoint) => LogoutRequest::from(endpoint)
                .set_client_id(client_id.clone())
                .set_post_logout_redirect_uri(PostLogoutRedirectUrl::new(home)?)
                .http_get_url()
                .into(),
            None => home,
        };
        let keys = Keys { set: metadata.jwks().clone(), fetched_at: Instant::now() };
        let keys_url = metadata.jwks_uri().clone();
        let client = openidconnect::Client::from_provider_metadata(
            metadata,
            client_id.clone(),
            Some(ClientSecret::new(settings.client_secret)),
        )
        .set_redirect_uri(RedirectUrl::new(format!("{}/callback", settings.origin))?);
        Ok(Self {
            http,
            issuer,
            client_id,
            client,
            sign_out_url,
            keys_url,
            keys: Mutex::new(keys),
            last_fetch: tokio::sync::Mutex::default(),
        })
    }

    pub(crate) fn issuer(&self) -> &IssuerUrl {
        &self.issuer
    }

    pub(crate) fn client_id(&self) -> &str {
        self.client_id.as_str()
    }

    /// Returns the provider's page for signing out, or the home page if it has none.
    pub(crate) fn sign_out_url(&self) -> String {
        self.sign_out_url.clone()
    }

    /// Returns the URL of the provider's sign-in page, and the secrets of this sign-in.
    pub(crate) fn authorization(&self) -> (Url, CsrfToken, Nonce, PkceCodeVerifier) {
        let flow = AuthenticationFlow::<CoreResponseType>::AuthorizationCode;
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let request = self.client.authorize_url(flow, CsrfToken::new_random, Nonce::new_random);
        let (url, state, nonce) = request.set_pkce_challenge(challenge).url();
        (url, state, nonce, verifier)
    }

    /// Exchanges a code for an ID token, and checks the token (OpenID Connect Core 1.0 §3.1.3.7).
    pub(crate) async fn redeem(
        &self,
        code: AuthorizationCode,
        verifier: PkceCodeVerifier,
        nonce: &Nonce,
    ) -> Result<IdTokenClaims<Sid, CoreGenderClaim>, Failure> {
        let request = self.client.exchange_code(code).map_err(provider_failed)?;
        let answer = request.set_pkce_verifier(verifier).request_async(&self.http).await.map_err(provider_failed)?;
        let token = answer.id_token().ok_or(Failure::Invalid("the provider sent no ID token"))?;
        let header = logout_token::header(&token.to_string())?;
        let keys = self.keys(header.kid.as_ref()).await?;
        // A public client's, since it accepts no signature by the client's secret.
        let verifier = IdTokenVerifier::new_public_client(self.client_id.clone(), self.issuer.clone(), keys);
        token.claims(&verifier.set_allowed_algs(ALGORITHMS), nonce).cloned().map_err(provider_failed)
    }

    /// Returns the provider's keys. If they are old, or this one is unknown, they are fetched again.
    pub(crate) async fn keys(&self, kid: Option<&JsonWebKeyId>) -> Result<CoreJsonWebKeySet, Failure> {
        if let Some(set) = self.known_keys(kid) {
            return Ok(set);
        }
        // Held while they are fetched, so that concurrent calls fetch them once. Calls for known keys do not wait.
        let mut last = self.last_fetch.lock().await;
        if let Some(set) = self.known_keys(kid) {
            return Ok(set);
        }
        if let Some(last) = last.as_ref().filter(|last| last.at.elapsed() < MIN_INTERVAL) {
            // After a failure it is unknown whether this key is the provider's.
            return if last.has_failed {
                Err(Failure::Provider("the keys are not known".into()))
            } else {
                Ok(self.fetched().set.clone())
            };
        }
        *last = Some(Fetch { at: Instant::now(), has_failed: true });
        let set = CoreJsonWebKeySet::fetch_async(&self.keys_url, &self.http).await.map_err(provider_failed)?;
        *last = Some(Fetch { at: Instant::now(), has_failed: false });
        *self.fetched() = Keys { set: set.clone(), fetched_at: Instant::now() };
        Ok(set)
    }

    /// Returns the provider's keys, if they are not old and this one is among them.
    fn known_keys(&self, kid: Option<&JsonWebKeyId>) -> Option<CoreJsonWebKeySet> {
        let keys = self.fetched();
        let is_known = kid.is_none_or(|kid| keys.set.keys().iter().any(|key| key.key_id() == Some(kid)));
        (is_known && keys.fetched_at.elapsed() < MAX_KEY_AGE).then(|| keys.set.clone())
    }

    fn fetched(&self) -> MutexGuard<'_, Keys> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn provider_failed(error: impl Error) -> Failure {
    Failure::Provider(error.to_string())
}

/// The client library's connection to the provider. It follows no redirect, which could lead to any host.
#[derive(Debug)]
struct Http(Client<HttpsConnector<HttpConnector>, Full<Bytes>>);

impl Http {
    fn new() -> Result<Self, rustls::Error> {
        let tls =
            HttpsConnectorBuilder::new().with_provider_and_webpki_roots(rustls::crypto::ring::default_provider())?;
        // Providers on the network have `https` URLs; those of the tests have not.
        Ok(Self(Client::builder(TokioExecutor::new()).build(tls.https_or_http().enable_http1().build())))
    }

    async fn send(&self, request: HttpRequest) -> io::Result<HttpResponse> {
        let response = self.0.request(request.map(Full::from)).await.map_err(io::Error::other)?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, MAX_ANSWER).collect().await.map_err(io::Error::other)?;
        Ok(HttpResponse::from_parts(head, body.to_bytes().to_vec()))
    }
}

impl<'c> AsyncHttpClient<'c> for Http {
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<HttpResponse>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(async { tokio::time::timeout(TIMEOUT, self.send(request)).await? })
    }
}
