use bytes::Bytes;
use http::header::{ACCEPT, CONNECTION, CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderName, HeaderValue, Method, Request, Uri};

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
}

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
    pub(in crate::replay) fn post(&self, endpoint: Endpoint, wire: WireRequest) -> Request<Bytes> {
        let mut request = self.request(Method::POST, endpoint, &wire.path);
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        for (name, value) in wire.headers {
            headers.insert(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        self.extra.put_into(headers);
        *request.body_mut() = Bytes::from(wire.body);
        request
    }

    /// A question in JSON that no dialect has.
    pub(in crate::replay) fn ask(&self, endpoint: Endpoint, body: String) -> Request<Bytes> {
        let mut request = self.request(Method::POST, endpoint, endpoint.path());
        let json = HeaderValue::from_static("application/json");
        request.headers_mut().insert(CONTENT_TYPE, json);
        *request.body_mut() = Bytes::from(body);
        request
    }

    /// A plain question.
    pub(in crate::replay) fn get(&self, endpoint: Endpoint) -> Request<Bytes> {
        let mut request = self.request(Method::GET, endpoint, endpoint.path());
        self.extra.put_into(request.headers_mut());
        request
    }

    fn request(&self, method: Method, endpoint: Endpoint, path: &str) -> Request<Bytes> {
        let mut request = Request::new(Bytes::new());
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
