//! The routes of the site, and the layers around them.

use std::time::Duration;

use axum::Router;
use axum::middleware::map_response;
use axum::routing::{get, post};
use sessile::acting::ActingLayer;
use sessile::csrf::CsrfLayer;
use sessile::errors::ErrorLayer;
use sessile::passive::PassiveLayer;
use sessile::user::{LocalPath, UserGuard, UserLayer};
use sessile::{SessionLayer, Sessions};

use crate::accounts::{Account, Accounts};
use crate::failure::Failure;
use crate::passwords::Passwords;
use crate::throttle::Throttle;
use crate::{admin, assets, change_password, confirm, devices, ending, failure, headers, shop, sign_in, sign_up};

/// State of the handlers.
#[derive(Clone)]
pub struct App {
    pub accounts: Accounts,
    pub passwords: Passwords,
    pub throttle: Throttle,
    /// Access to all sessions, for the list of devices.
    pub sessions: Sessions,
    /// Sessions in which an administrator acts as a user.
    pub acting_sessions: Sessions,
    /// Maximum age of the last password entry before a sensitive action.
    pub confirm_within: Duration,
    /// Time before the end of a session at which its pages warn.
    pub warn_before: Duration,
}

pub fn router(app: App, acting: ActingLayer, sessions: SessionLayer) -> Router {
    let guard = UserGuard::<Accounts>::new().with_sign_in_page(LocalPath::from_static("/sign-in"));
    let recent = UserGuard::<Accounts>::new()
        .with_recent(app.confirm_within)
        .with_confirm_page(LocalPath::from_static("/confirm"));
    let admins = UserGuard::<Accounts>::new().with_permission(async |account: Account| account.is_admin);
    let in_person = UserGuard::<Accounts>::new().without_actor();
    let pages = Router::new()
        .route("/admin", get(admin::show).layer(admins.clone()))
        .route("/admin/act-as/{id}", post(admin::act_as).layer(admins))
        .route("/password", get(change_password::show).post(change_password::submit).layer(recent))
        .route("/cart/order", post(shop::order))
        .route("/sign-out", post(sign_in::out))
        .route("/devices", get(devices::show))
        .route("/devices/{id}/end", post(devices::end))
        .route("/devices/name", post(devices::name).layer(in_person.clone()))
        .route("/devices/end-others", post(devices::end_others).layer(in_person.clone()))
        .route("/confirm", get(confirm::show).post(confirm::submit).layer(in_person))
        // Lets only signed-in users pass, on the routes above.
        .route_layer(guard)
        .route("/", get(shop::teas))
        .route("/cart", get(shop::cart))
        .route("/cart/{tea}/more", post(shop::more))
        .route("/cart/{tea}/less", post(shop::less))
        .route("/signed-out", get(sign_in::done))
        // Refuses a form without the CSRF token of its session, on the routes above.
        .layer(CsrfLayer::new())
        // These answer a form without its CSRF token by a fresh form.
        .route("/sign-up", get(sign_up::show).post(sign_up::submit))
        .route("/sign-in", get(sign_in::show).post(sign_in::submit))
        // These need no CSRF token, so that a visitor who only looks needs no session. The extractor `SameOrigin` refuses
        // requests from other sites.
        .route("/add", post(shop::add))
        .route("/session", get(ending::show).layer(PassiveLayer::new()).post(ending::stay))
        .fallback(async || Failure::NotFound)
        // A layer that is added later runs earlier.
        .layer(map_response(headers::keep_nowhere))
        .layer(UserLayer::new(app.accounts.clone()))
        .layer(acting)
        .layer(sessions)
        .layer(map_response(failure::page))
        .layer(ErrorLayer::from_fn(failure::of_session));

    Router::new().merge(assets::router()).merge(pages).layer(map_response(headers::harden)).with_state(app)
}
