//! Nodes of the application.

use reqwest::{Client, Method, StatusCode};
use sessile::store::Store;
use sessile_oidc::provider::{Provider, Settings};
use tokio::net::TcpListener;

use crate::browser::Browser;

/// Id of the application at the provider.
pub const CLIENT_ID: &str = "shop";

/// A node that is not started yet, so that its address is known before the provider's.
pub struct Reserved(TcpListener);

impl Reserved {
    pub async fn new() -> Self {
        Self(TcpListener::bind(("127.0.0.1", 0)).await.unwrap())
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.0.local_addr().unwrap())
    }

    pub async fn start(self, issuer: &str, client_id: &str, store: impl Store + Clone) -> Node {
        let url = self.url();
        let settings = Settings {
            issuer: issuer.to_owned(),
            client_id: client_id.to_owned(),
            client_secret: "secret".to_owned(),
            origin: url.clone(),
        };
        let app = sessile_oidc::router(Provider::discover(settings).await.unwrap(), store).unwrap();
        tokio::spawn(async move { axum::serve(self.0, app).await });
        Node { url, http: Client::new() }
    }
}

/// A running node.
#[derive(Clone)]
pub struct Node {
    pub url: String,
    http: Client,
}

impl Node {
    /// Starts a node of [`CLIENT_ID`].
    pub async fn start(issuer: &str, store: impl Store + Clone) -> Self {
        Reserved::new().await.start(issuer, CLIENT_ID, store).await
    }

    /// Returns the status of the account page.
    pub async fn account(&self, browser: &mut Browser) -> StatusCode {
        browser.send(Method::GET, &format!("{}/account", self.url), &[]).await.status()
    }

    /// Sends a logout token as the provider does.
    pub async fn log_out(&self, token: &str) -> StatusCode {
        self.log_out_form(&[("logout_token", token)]).await
    }

    pub async fn log_out_form(&self, form: &[(&str, &str)]) -> StatusCode {
        let request = self.http.post(format!("{}/logout/back-channel", self.url)).form(form);
        let response = request.send().await.unwrap();
        assert_eq!(response.headers()["cache-control"], "no-store");
        response.status()
    }
}
