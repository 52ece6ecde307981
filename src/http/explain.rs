//! `GET /api/v1/explain`: who would get a message, and why not the others.

use axum::Json;
use axum::extract::{RawQuery, State as Shared};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::State;
use super::answer::refuse;
use super::query::{Query, QueryError};
use crate::broker::{Explanation, Question, QuestionError};
use crate::cluster::NodeId;
use crate::net::clock;

/// Parameters of the query. `forwarded` is set by whoever asks on after a first node: the message comes from a peer.
const PARAMETERS: &[&str] = &["topic", "client", "publisher", "qos", "forwarded"];

/// The node that answers, and its answer.
#[derive(Serialize)]
struct Answer {
    id: NodeId,
    name: String,
    #[serde(flatten)]
    explanation: Explanation,
}

/// Why a question is refused; the text is shown to whoever asks.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error(transparent)]
    Query(#[from] QueryError),
    #[error("{0}: {1}")]
    Question(&'static str, QuestionError),
    #[error("forwarded is true or false")]
    Forwarded,
}

pub(super) async fn explain(Shared(state): Shared<State>, RawQuery(query): RawQuery) -> Response {
    let question = match question(query.as_deref().unwrap_or_default()) {
        Ok(question) => question,
        Err(refusal) => return refuse(StatusCode::BAD_REQUEST, &refusal.to_string()),
    };
    let explanation = state.broker.explain(clock::now(), &question);
    let (id, name) = (state.identity.id, state.identity.name.clone());
    Json(Answer { id, name, explanation }).into_response()
}

fn question(query: &str) -> Result<Question, Refusal> {
    let query = Query::parse(query, PARAMETERS)?;
    let mut question =
        Question::new(query.require("topic")?).map_err(|error| Refusal::Question("topic", error))?;
    if let Some(client) = query.get("client") {
        question = question.for_client(client).map_err(|error| Refusal::Question("client", error))?;
    }
    if let Some(publisher) = query.get("publisher") {
        question = question.by_publisher(publisher).map_err(|error| Refusal::Question("publisher", error))?;
    }
    if let Some(qos) = query.get("qos") {
        let wrong = |error| Refusal::Question("qos", error);
        let number = qos.parse().map_err(|_| wrong(QuestionError::Qos))?;
        question = question.at_qos(number).map_err(wrong)?;
    }
    match query.get("forwarded") {
        None | Some("false") => Ok(question),
        Some("true") => Ok(question.forwarded()),
        Some(_) => Err(Refusal::Forwarded),
    }
}
