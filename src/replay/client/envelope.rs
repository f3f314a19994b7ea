use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};

use http::header::{ACCEPT, CONNECTION, CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderName, HeaderValue, Method, Request, Uri};

use super::message::{Head, Message};
use crate::dialect::WireRequest;
use crate::replay::ExtraHeaders;
use crate::replay::target::{BaseUrl, Credentials, Target};
use crate::shape::Endpoint;

/// Puts what a target wants around a dialect's bytes: its address, its key.
pub(in crate::replay) struct Envelope {
    url: BaseUrl,
    host: HeaderValue,
    credentials: Credentials,
    extra: ExtraHeaders,
    keep_alive: bool,
    probe: bool,
    /// Heads of the requests so far: as many as a trace has endpoints, and models where these stand in paths.
    made: Mutex<Vec<(Kind, Arc<Head>)>>,
}

/// What requests have in common that begin alike.
#[derive(PartialEq)]
struct Kind {
    endpoint: Endpoint,
    path: Cow<'static, str>,
    headers: Vec<(&'static str, &'static str)>,
}

/// Beyond it a head is made for each request again.
const MOST_KINDS: usize = 256;

/// Marks requests that measure the target before the replay, so that a recorder in between leaves them out.
const PROBE: HeaderName = HeaderName::from_static("x-reenact-probe");

impl Envelope {
    pub(in crate::replay) fn new(target: &Target) -> Self {
        Self {
            url: target.url.clone(),
            // A parsed authority is always a valid header value.
            host: HeaderValue::from_str(&target.url.authority())
                .unwrap_or_else(|_| HeaderValue::from_static("")),
            credentials: target.credentials.clone(),
            extra: target.headers.clone(),
            keep_alive: target.keep_alive,
            probe: false,
            made: Mutex::default(),
        }
    }

    /// The same for probes.
    pub(in crate::replay) fn for_probes(target: &Target) -> Self {
        Self {
            probe: true,
            ..Self::new(target)
        }
    }

    /// A dialect's request.
    pub(in crate::replay) fn post(&self, endpoint: Endpoint, wire: WireRequest) -> Message {
        let kind = Kind {
            endpoint,
            path: wire.path,
            headers: wire.headers,
        };
        Message::new(self.head(kind), wire.body)
    }

    /// A question in JSON that no dialect has.
    pub(in crate::replay) fn ask(&self, endpoint: Endpoint, body: String) -> Message {
        let mut request = self.request(Method::POST, endpoint, endpoint.path());
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        self.extra.put_into(headers);
        Message::new(Head::new(&request, true), body)
    }

    /// A plain question.
    pub(in crate::replay) fn get(&self, endpoint: Endpoint) -> Message {
        let mut request = self.request(Method::GET, endpoint, endpoint.path());
        self.extra.put_into(request.headers_mut());
        Message::new(Head::new(&request, false), "")
    }

    /// The head of a dialect's requests of this kind.
    fn head(&self, kind: Kind) -> Arc<Head> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, head)) = made.iter().find(|(known, _)| *known == kind) {
            return Arc::clone(head);
        }
        let mut request = self.request(Method::POST, kind.endpoint, &kind.path);
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        for &(name, value) in &kind.headers {
            headers.insert(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        self.extra.put_into(headers);
        let head = Head::new(&request, true);
        if made.len() < MOST_KINDS {
            made.push((kind, Arc::clone(&head)));
        }
        head
    }

    fn request(&self, method: Method, endpoint: Endpoint, path: &str) -> Request<()> {
        let mut request = Request::new(());
        *request.method_mut() = method;
        // The prefix came out of a parsed URL and the path is one of the dialects', so they parse.
        *request.uri_mut() = Uri::try_from(self.url.path(path)).unwrap_or_default();
        let headers = request.headers_mut();
        headers.insert(HOST, self.host.clone());
        headers.insert(
            USER_AGENT,
            HeaderValue::from_static(concat!("reenact/", env!("CARGO_PKG_VERSION"))),
        );
        headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
        if let Some((name, value)) = self.credentials.header(endpoint) {
            headers.insert(name, value);
        }
        if !self.keep_alive {
            // Tells the server, too: it need not keep the connection for a request that will not come.
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if self.probe {
            headers.insert(PROBE, HeaderValue::from_static("1"));
        }
        request
    }
}
