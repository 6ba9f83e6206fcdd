//! A browser without pages: it keeps cookies by host and port.

use std::collections::BTreeMap;

use openidconnect::url::Url;
use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use reqwest::{Client, Method, Response, StatusCode};

/// A browser. A clone has a separate jar with the same cookies.
#[derive(Clone)]
pub struct Browser {
    http: Client,
    cookies: BTreeMap<(String, String), String>,
}

impl Browser {
    pub fn new() -> Self {
        let http = Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Self { http, cookies: BTreeMap::new() }
    }

    /// Makes one node's cookies those of another, as if both had the same address.
    pub fn copy_cookies(&mut self, from: &str, to: &str) {
        let of = |url: &str| Url::parse(url).unwrap().authority().to_owned();
        let (from, to) = (of(from), of(to));
        self.cookies.retain(|(host, _), _| *host != to);
        for ((host, name), value) in self.cookies.clone() {
            if host == from {
                self.cookies.insert((to.clone(), name), value);
            }
        }
    }

    /// Sends a request with the host's cookies, and stores the response's. Follows no redirect.
    pub async fn send(&mut self, method: Method, url: &str, form: &[(&str, &str)]) -> Response {
        let url = Url::parse(url).unwrap();
        let host = url.authority().to_owned();
        let mut request = self.http.request(method, url);
        let cookies = self.cookies.iter().filter(|((of, _), _)| *of == host);
        let cookies: Vec<String> = cookies.map(|((_, name), value)| format!("{name}={value}")).collect();
        if !cookies.is_empty() {
            request = request.header(COOKIE, cookies.join("; "));
        }
        if !form.is_empty() {
            request = request.form(form);
        }
        let response = request.send().await.unwrap();
        for cookie in response.headers().get_all(SET_COOKIE) {
            let (name, value) = cookie.to_str().unwrap().split(';').next().unwrap().split_once('=').unwrap();
            let key = (host.clone(), name.to_owned());
            if value.is_empty() {
                self.cookies.remove(&key);
            } else {
                self.cookies.insert(key, value.to_owned());
            }
        }
        response
    }

    /// Gets a page and follows its redirects; returns the last status and text.
    pub async fn open(&mut self, url: &str) -> (StatusCode, String) {
        let mut next = self.send(Method::GET, url, &[]).await;
        for _ in 0..10 {
            let Some(to) = next.headers().get(LOCATION) else { break };
            let to = next.url().join(to.to_str().unwrap()).unwrap();
            next = self.send(Method::GET, to.as_str(), &[]).await;
        }
        (next.status(), next.text().await.unwrap())
    }

    /// Returns the target of a page's redirect.
    pub async fn redirect(&mut self, url: &str) -> Url {
        let response = self.send(Method::GET, url, &[]).await;
        assert_eq!(response.status(), StatusCode::SEE_OTHER, "{url}");
        Url::parse(response.headers()[LOCATION].to_str().unwrap()).unwrap()
    }
}
