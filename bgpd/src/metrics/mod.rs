//! What monitoring sees: `/metrics`, `/livez` and `/readyz` over HTTP.
//!
//! Nothing is counted here. A scrape asks the core for the same snapshot that `bgpd status` shows and writes it down, so the two never
//! disagree and a peer that is gone leaves no series behind. A connection serves one request within a deadline, and there are only so
//! many, so a scraper that hangs costs itself.
//!
//! * `/metrics`: see [`series`] for the names.
//! * `/livez`: 200 as long as the core answers.
//! * `/readyz`: 200 as [`ready`] says, else 503; the body says why.

pub mod ready;
pub mod series;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::control::{Ask, Core};
use ready::Readiness;

/// Requests at a time.
const REQUESTS_MAX: usize = 16;
/// How long one may take, from the connection to the last octet.
const REQUEST_PATIENCE: Duration = Duration::from_secs(30);
/// Pause after the process ran out of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// There is no metrics server.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} for metrics: {error}; choose another `metrics.listen`")]
pub struct BindError {
    address: SocketAddr,
    error: io::Error,
}

/// A metrics server, ready to be served.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
}

impl Server {
    /// Takes the address.
    pub async fn bind(address: SocketAddr) -> Result<Server, BindError> {
        match TcpListener::bind(address).await {
            Ok(listener) => Ok(Server { listener }),
            Err(error) => Err(BindError { address, error }),
        }
    }

    /// Where it is; the port too, where 0 was asked for.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until it is dropped.
    pub async fn run(self, core: Core) {
        let places = Arc::new(Semaphore::new(REQUESTS_MAX));
        let mut requests = JoinSet::new();
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            while requests.try_join_next().is_some() {}
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let core = core.clone();
                    requests.spawn(async move {
                        serve(stream, core).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "metrics server cannot accept");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

async fn serve(stream: TcpStream, core: Core) {
    let service = service_fn(move |request| answer(request, core.clone()));
    let connection = hyper::server::conn::http1::Builder::new()
        .keep_alive(false)
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service);
    match tokio::time::timeout(REQUEST_PATIENCE, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "metrics client gone"),
        Err(_) => tracing::debug!("metrics client too slow"),
    }
}

async fn answer(request: Request<Incoming>, core: Core) -> Result<Response<String>, Infallible> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
        response.headers_mut().insert(ALLOW, hyper::header::HeaderValue::from_static("GET, HEAD"));
        return Ok(response);
    }
    Ok(match request.uri().path() {
        "/metrics" => metrics(&core).await,
        "/livez" => match core.ask(|reply| Ask::Status { reply }).await {
            Ok(_) => plain(StatusCode::OK, "alive\n"),
            Err(unanswered) => plain(StatusCode::SERVICE_UNAVAILABLE, &format!("{unanswered}\n")),
        },
        "/readyz" => match core.ask(|reply| Ask::Status { reply }).await.map(|it| ready::judge(&it)) {
            Ok(Readiness::Ready) => plain(StatusCode::OK, "ready\n"),
            Ok(Readiness::NotReady(why)) => {
                plain(StatusCode::SERVICE_UNAVAILABLE, &format!("not ready: {why}\n"))
            }
            Err(unanswered) => plain(StatusCode::SERVICE_UNAVAILABLE, &format!("not ready: {unanswered}\n")),
        },
        _ => plain(StatusCode::NOT_FOUND, "there are /metrics, /livez and /readyz\n"),
    })
}

async fn metrics(core: &Core) -> Response<String> {
    let snapshot = async {
        let instance = core.ask(|reply| Ask::Status { reply }).await?;
        let peers = core.ask(|reply| Ask::Peers { address: None, reply }).await?;
        Ok::<_, crate::control::Unanswered>(series::Snapshot { instance, peers })
    };
    let snapshot = match snapshot.await {
        Ok(snapshot) => snapshot,
        Err(unanswered) => return plain(StatusCode::SERVICE_UNAVAILABLE, &format!("{unanswered}\n")),
    };
    // With ten thousand peers this takes a while, which no other task should wait for.
    match tokio::task::spawn_blocking(|| series::write(snapshot)).await {
        Ok(Ok(text)) => {
            let mut response = Response::new(text);
            let kind = hyper::header::HeaderValue::from_static(series::CONTENT_TYPE);
            response.headers_mut().insert(CONTENT_TYPE, kind);
            response
        }
        Ok(Err(_)) | Err(_) => plain(StatusCode::INTERNAL_SERVER_ERROR, "cannot write the metrics down\n"),
    }
}

fn plain(status: StatusCode, text: &str) -> Response<String> {
    let mut response = Response::new(text.to_owned());
    *response.status_mut() = status;
    let kind = hyper::header::HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn start(ready: bool) -> SocketAddr {
        let (core, mut asks) = Core::pair();
        let server = Server::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = server.address().unwrap();
        tokio::spawn(server.run(core));
        tokio::spawn(async move {
            while let Some(ask) = asks.recv().await {
                match ask {
                    Ask::Status { reply } => {
                        let mut instance = samples::instance();
                        instance.peers_established = if ready { 3 } else { 0 };
                        let _ = reply.send(instance);
                    }
                    Ask::Peers { reply, .. } => {
                        let _ = reply.send(vec![samples::peer("10.0.0.2".parse().unwrap())]);
                    }
                    Ask::Routes { .. } | Ask::Why { .. } | Ask::Order { .. } | Ask::Bird { .. } => {
                        panic!("not asked by metrics")
                    }
                }
            }
        });
        address
    }

    async fn get(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(format!("{request} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    }

    #[tokio::test]
    async fn each_path_answers() {
        let address = start(true).await;
        let live = get(address, "GET /livez").await;
        assert!(live.starts_with("HTTP/1.1 200 OK\r\n") && live.ends_with("\r\n\r\nalive\n"), "{live}");
        let ready = get(address, "GET /readyz").await;
        assert!(ready.starts_with("HTTP/1.1 200 OK\r\n") && ready.ends_with("ready\n"), "{ready}");
        let metrics = get(address, "GET /metrics").await;
        assert!(metrics.contains("content-type: application/openmetrics-text"), "{metrics}");
        assert!(metrics.contains("bgpd_peer_up{peer=\"10.0.0.2\"} 1\n"), "{metrics}");
        assert!(get(address, "GET /").await.starts_with("HTTP/1.1 404"));
        assert!(get(address, "POST /metrics").await.starts_with("HTTP/1.1 405"));
    }

    #[tokio::test]
    async fn not_ready_says_why() {
        let address = start(false).await;
        let ready = get(address, "GET /readyz").await;
        assert!(ready.starts_with("HTTP/1.1 503"), "{ready}");
        assert!(ready.ends_with("not ready: no peer is Established (0 of 3)\n"), "{ready}");
    }

    #[tokio::test]
    async fn a_core_that_is_gone_is_neither_alive_nor_ready() {
        let (core, asks) = Core::pair();
        drop(asks);
        let server = Server::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = server.address().unwrap();
        tokio::spawn(server.run(core));
        for path in ["GET /livez", "GET /readyz", "GET /metrics"] {
            assert!(get(address, path).await.starts_with("HTTP/1.1 503"), "{path}");
        }
    }

    #[tokio::test]
    async fn an_address_that_is_taken_is_one_message() {
        let address = start(true).await;
        let error = Server::bind(address).await.unwrap_err().to_string();
        let expected = format!(
            "cannot listen on {address} for metrics: Address already in use (os error 98); choose another `metrics.listen`"
        );
        assert_eq!(error, expected);
    }
}
