//! Accepting connections and keeping each within its limits.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::http::{HeaderName, HeaderValue, Request, StatusCode, header};
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::{debug, warn};

use super::answer::refuse;
use super::settings::{
    ANSWER_TIME_MAX, BODY_BYTES_MAX, CONNECTION_TIME_MAX, CONNECTIONS_MAX, GOODBYE_TIME_MAX,
    HEADER_BYTES_MAX, HEADER_TIME_MAX, HEADERS_MAX,
};
use crate::net::backoff::Backoff;
use crate::net::{TcpListener, TcpStream};
use crate::tasks::Tasks;

/// Accepts until the tasks are asked to stop.
pub(super) async fn accept(listener: TcpListener, answers: Router, tasks: Tasks) {
    let free = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut backoff = Backoff::new(Duration::from_millis(10), Duration::from_secs(1), 0);
    loop {
        let accepted = tokio::select! {
            () = tasks.stopping().cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                backoff.reset();
                match Arc::clone(&free).try_acquire_owned() {
                    Ok(permit) => {
                        let connection = converse(stream, answers.clone(), tasks.clone(), permit);
                        tasks.spawn("http-connection", connection);
                    }
                    Err(_) => debug!(%peer, "HTTP connection refused: all {CONNECTIONS_MAX} are in use"),
                }
            }
            Err(error) => {
                // Mostly a lack of file descriptors: accepting at once again would burn the processor.
                warn!(%error, "cannot accept HTTP connections for the moment");
                tokio::time::sleep(backoff.next_pause()).await;
            }
        }
    }
}

async fn converse(stream: TcpStream, answers: Router, tasks: Tasks, permit: OwnedSemaphorePermit) {
    // Without it answers are only slower.
    let _ = stream.set_nodelay(true);
    let answers = TowerToHyperService::new(answers);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME_MAX)
        .max_buf_size(HEADER_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), service_fn(move |request| answer(answers.clone(), request)));
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => {
            if let Err(error) = ended {
                debug!(%error, "HTTP connection broke");
            }
            return;
        }
        () = tokio::time::sleep(CONNECTION_TIME_MAX) => {}
        () = tasks.stopping().cancelled() => {}
    }
    connection.as_mut().graceful_shutdown();
    // Whatever is not read by then is given up.
    let _ = tokio::time::timeout(GOODBYE_TIME_MAX, connection).await;
    drop(permit);
}

async fn answer(
    answers: TowerToHyperService<Router>,
    request: Request<Incoming>,
) -> Result<Response, std::convert::Infallible> {
    let mut response = if request.body().size_hint().lower() > BODY_BYTES_MAX as u64 {
        refuse(StatusCode::PAYLOAD_TOO_LARGE, "the request's body is too large")
    } else {
        let answered = tokio::time::timeout(ANSWER_TIME_MAX, answers.call(request.map(Body::new))).await;
        match answered {
            Ok(Ok(response)) => response,
            Err(_) => refuse(StatusCode::SERVICE_UNAVAILABLE, "the answer took too long"),
        }
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff"));
    Ok(response)
}
