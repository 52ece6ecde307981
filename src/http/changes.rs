//! The requests that change something: who may make them, and what becomes of them.

use axum::Json;
use axum::extract::State as Shared;
use axum::extract::rejection::JsonRejection;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::State;
use super::answer::refuse;
use crate::cluster::{Cluster, ForgetError, JoinError};

/// Whether requests may change something, and what asks the node to stop.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// `http.allow_changes`, or what follows from `http.bind`.
    pub allowed: bool,
    /// Cancelled when the node is to leave.
    pub leave: CancellationToken,
}

/// Why a request changes nothing.
pub(super) struct Refusal(StatusCode, String);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        refuse(self.0, &self.1)
    }
}

type Body<T> = Result<Json<T>, JsonRejection>;

/// Refuses what is not allowed. JSON is the proof that no form on a web page sent it, and whatever a script on a
/// page sends has an origin.
fn permit<T: DeserializeOwned>(state: &State, headers: &HeaderMap, body: Body<T>) -> Result<T, Refusal> {
    if !state.changes.allowed {
        let error = "changes over HTTP are not allowed here: http.allow_changes is false, the default unless http.bind \
                     is loopback";
        return Err(Refusal(StatusCode::FORBIDDEN, error.to_owned()));
    }
    if headers.contains_key(header::ORIGIN) {
        return Err(Refusal(StatusCode::FORBIDDEN, "a web page asks for this: not allowed".to_owned()));
    }
    match body {
        Ok(Json(body)) => Ok(body),
        Err(rejection) => Err(Refusal(rejection.status(), rejection.body_text())),
    }
}

fn cluster(state: &State) -> Result<&Cluster, Refusal> {
    let alone = || Refusal(StatusCode::CONFLICT, "this node stands alone: it has no [cluster]".to_owned());
    state.cluster.as_deref().ok_or_else(alone)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Forget {
    node: String,
    #[serde(default)]
    force: bool,
}

/// POST /api/v1/cluster/forget
pub(super) async fn forget(
    Shared(state): Shared<State>,
    headers: HeaderMap,
    body: Body<Forget>,
) -> Result<Response, Refusal> {
    let Forget { node, force } = permit(&state, &headers, body)?;
    let forgotten = cluster(&state)?.forget(&node, force).map_err(|error| {
        let status = match error {
            ForgetError::Unknown(_) => StatusCode::NOT_FOUND,
            ForgetError::Ambiguous { .. } | ForgetError::Own(_) | ForgetError::Alive { .. } => {
                StatusCode::CONFLICT
            }
        };
        Refusal(status, error.to_string())
    })?;
    Ok(Json(json!({ "forgotten": forgotten })).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Join {
    address: String,
}

/// POST /api/v1/cluster/join
pub(super) async fn join(
    Shared(state): Shared<State>,
    headers: HeaderMap,
    body: Body<Join>,
) -> Result<Response, Refusal> {
    let Join { address } = permit(&state, &headers, body)?;
    let joined = cluster(&state)?.join(&address).await.map_err(|error| {
        let status = match error {
            JoinError::Probe { .. } | JoinError::NoGossip { .. } => StatusCode::BAD_GATEWAY,
            JoinError::Full | JoinError::Forgotten => StatusCode::CONFLICT,
        };
        Refusal(status, error.to_string())
    })?;
    Ok(Json(json!({ "joined": joined })).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Leave {}

/// POST /api/v1/cluster/leave
pub(super) async fn leave(
    Shared(state): Shared<State>,
    headers: HeaderMap,
    body: Body<Leave>,
) -> Result<Response, Refusal> {
    let Leave {} = permit(&state, &headers, body)?;
    let identity = cluster(&state)?.identity();
    let answer = json!({ "leaving": { "id": identity.id, "name": identity.name } });
    state.changes.leave.cancel();
    Ok((StatusCode::ACCEPTED, Json(answer)).into_response())
}
