//! What the node holds of each owner's routes, for `flockmq cluster verify`.

use axum::Json;
use axum::extract::{Path, Query, State as Shared};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::State;
use super::answer::refuse;
use crate::cluster::{Beliefs, NodeId};

/// GET /api/v1/cluster/beliefs
pub(super) async fn beliefs(Shared(state): Shared<State>) -> Json<Beliefs> {
    Json(state.cluster.as_ref().map_or_else(
        || Beliefs { id: state.identity.id, name: state.identity.name.clone(), owners: Vec::new() },
        |cluster| cluster.beliefs(),
    ))
}

#[derive(Deserialize)]
pub(super) struct From {
    #[serde(default)]
    after: usize,
}

/// GET /api/v1/cluster/beliefs/{owner}?after=N
pub(super) async fn of_owner(
    Shared(state): Shared<State>,
    Path(owner): Path<String>,
    Query(From { after }): Query<From>,
) -> Response {
    let Ok(owner) = owner.parse::<NodeId>() else {
        return refuse(StatusCode::BAD_REQUEST, "a node id has 32 hex digits");
    };
    let cluster = state.cluster.clone();
    let page = cluster.and_then(|cluster| cluster.routes_of(owner, after));
    match page {
        Some(page) => Json(page).into_response(),
        None => refuse(StatusCode::NOT_FOUND, "nothing of this owner is held here"),
    }
}
