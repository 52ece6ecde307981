//! The routes and what they answer.

use axum::Json;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::extract::State as Shared;
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::json;

use super::explain::explain;
use super::settings::BODY_BYTES_MAX;
use super::{State, beliefs, changes};
use crate::cluster::{NodeStatus, RouteListing, Status};

/// What prometheus-client writes.
const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub(super) fn router(state: State) -> Router {
    Router::new()
        .route("/health/live", get(live))
        .route("/health/ready", get(ready))
        .route("/metrics", get(metrics))
        .route("/api/v1/cluster", get(cluster))
        .route("/api/v1/cluster/routes", get(routes))
        .route("/api/v1/explain", get(explain))
        .route("/api/v1/cluster/beliefs", get(beliefs::beliefs))
        .route("/api/v1/cluster/beliefs/{owner}", get(beliefs::of_owner))
        .route("/api/v1/cluster/forget", post(changes::forget))
        .route("/api/v1/cluster/join", post(changes::join))
        .route("/api/v1/cluster/leave", post(changes::leave))
        .fallback(unknown)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(state)
}

/// An error as JSON: `{"error": …}`.
pub(super) fn refuse(status: StatusCode, error: &str) -> Response {
    (status, Json(json!({ "error": error }))).into_response()
}

/// The process runs and answers.
async fn live() -> &'static str {
    "live"
}

async fn ready(Shared(state): Shared<State>) -> Response {
    let obstacles = state.readiness.obstacles();
    let ready = obstacles.is_empty();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({ "ready": ready, "reasons": obstacles }))).into_response()
}

async fn metrics(Shared(state): Shared<State>) -> Response {
    match state.metrics.encode() {
        Ok(text) => ([(header::CONTENT_TYPE, HeaderValue::from_static(METRICS_TYPE))], text).into_response(),
        Err(_) => refuse(StatusCode::INTERNAL_SERVER_ERROR, "the metrics cannot be written"),
    }
}

async fn cluster(Shared(state): Shared<State>) -> Json<Status> {
    Json(state.cluster.as_ref().map_or_else(|| alone(&state), |cluster| cluster.status()))
}

/// A node without a cluster is its own flock: nothing can be behind.
fn alone(state: &State) -> Status {
    let identity = &state.identity;
    let node = NodeStatus {
        id: identity.id,
        name: identity.name.clone(),
        address: String::new(),
        http: String::new(),
        is_self: true,
        incarnation: identity.incarnation,
        state: "live",
        link: "self",
        routes: 0,
        lag: 0,
        digest: format!("{:016x}", 0),
        digest_agrees: true,
        seen_ms_ago: 0,
        unacked: 0,
        reason: String::new(),
    };
    Status {
        cluster: String::new(),
        id: identity.id,
        name: identity.name.clone(),
        ready: state.readiness.obstacles().is_empty(),
        converged: true,
        nodes: vec![node],
    }
}

async fn routes(Shared(state): Shared<State>) -> Response {
    let routes: Vec<RouteListing> =
        state.cluster.as_ref().map(|cluster| cluster.routes()).unwrap_or_default();
    Json(json!({ "routes": routes })).into_response()
}

async fn unknown(uri: Uri) -> Response {
    refuse(StatusCode::NOT_FOUND, &format!("there is nothing at {}", uri.path()))
}

async fn method_not_allowed() -> Response {
    refuse(StatusCode::METHOD_NOT_ALLOWED, "not with this method: GET reads, POST changes")
}
