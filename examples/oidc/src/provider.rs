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
    AdditionalClaims, AsyncHttpClient, AuthenticationFlow, AuthorizationCode, ClaimsVerificationError, ClientId,
    ClientSecret, CsrfToken, EmptyExtraTokenFields, EndpointMaybeSet, EndpointNotSet, EndpointSet, HttpRequest,
    HttpResponse, IdTokenClaims, IdTokenFields, IdTokenVerifier, IssuerUrl, JsonWebKeySetUrl, LogoutRequest, Nonce,
    PkceCodeChallenge, PkceCodeVerifier, PostLogoutRedirectUrl, ProviderMetadataWithLogout, RedirectUrl,
    StandardErrorResponse, StandardTokenResponse, TokenResponse,
};
use serde::{Deserialize, Serialize};

use crate::MAX_SESSION;
use crate::failure::Failure;

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
/// Least time between two fetches of the keys, so that forged tokens cannot cause one each.
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
    /// Earliest time of the next fetch of the keys.
    next_fetch: tokio::sync::Mutex<Instant>,
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
            next_fetch: tokio::sync::Mutex::new(Instant::now()),
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
        // With a maximum age, the ID token has an `auth_time` (OpenID Connect Core 1.0 §3.1.2.1).
        let (url, state, nonce) = request.set_max_age(MAX_SESSION).set_pkce_challenge(challenge).url();
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
        let check = |keys: &CoreJsonWebKeySet| {
            // A public client's, since it accepts no signature by the client's secret.
            let verifier =
                IdTokenVerifier::new_public_client(self.client_id.clone(), self.issuer.clone(), keys.clone());
            match token.claims(&verifier.set_allowed_algs(ALGORITHMS), nonce) {
                Err(ClaimsVerificationError::SignatureVerification(_)) => None,
                checked => Some(checked.cloned().map_err(provider_failed)),
            }
        };
        let no_key = || Err(Failure::Provider("the ID token is signed by no key of the provider".into()));
        self.check_by_keys(check).await?.unwrap_or_else(no_key)
    }

    /// Returns the result of a check by the provider's keys; `None` if no key fits.
    ///
    /// If no known key fits, or they are old, they are fetched again, at a bounded rate.
    pub(crate) async fn check_by_keys<T>(
        &self,
        check: impl Fn(&CoreJsonWebKeySet) -> Option<T>,
    ) -> Result<Option<T>, Failure> {
        let check_known = || self.known_keys().and_then(|keys| check(&keys));
        if let Some(checked) = check_known() {
            return Ok(Some(checked));
        }
        // Held during the fetch, so that concurrent calls share it. A call whose key is known does not wait.
        let mut next_fetch = self.next_fetch.lock().await;
        if let Some(checked) = check_known() {
            return Ok(Some(checked));
        }
        // The key may be a new one, so the token is not refused.
        if Instant::now() < *next_fetch {
            return Err(Failure::KeysUnknown);
        }
        // Also before the fetch: the client may drop this call meanwhile.
        *next_fetch = Instant::now() + MIN_INTERVAL;
        let set = CoreJsonWebKeySet::fetch_async(&self.keys_url, &self.http).await;
        *next_fetch = Instant::now() + MIN_INTERVAL;
        let set = set.map_err(provider_failed)?;
        *self.fetched() = Keys { set: set.clone(), fetched_at: Instant::now() };
        Ok(check(&set))
    }

    /// Returns the provider's keys, if they are not old.
    fn known_keys(&self) -> Option<CoreJsonWebKeySet> {
        let keys = self.fetched();
        (keys.fetched_at.elapsed() < MAX_KEY_AGE).then(|| keys.set.clone())
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
