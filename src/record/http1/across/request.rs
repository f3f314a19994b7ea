use bytes::Bytes;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};

use crate::net::http1::{Field, Fields, Malformed};
use crate::record::front::forwarded::Stamp;
use crate::record::http1::request::RequestHead;
use crate::record::translate::clean_trailers;

/// The request that a head asks for, as HTTP/2 will say it, with the forwarded headers of `stamp`.
///
/// # Errors
/// Where a name or target is longer or odder than HTTP/2's side takes.
pub(in crate::record::http1) fn translated(
    head: &RequestHead<'_>,
    stamp: Option<&Stamp>,
) -> Result<Request<()>, Malformed> {
    let mut request = Request::new(());
    *request.method_mut() = Method::from_bytes(head.method).map_err(|_| Malformed::FirstLine)?;
    *request.uri_mut() = target(head)?;
    let lines = head.lines_beyond();
    let came = || Fields(&lines).flatten();
    // `Expect` is answered here: the body is asked for at once, as interim answers are not translated.
    let stays = |field: &Field<'_>| {
        !(field.is("transfer-encoding")
            || field.is("expect")
            || stamp.is_some() && Stamp::speaks_for(field.name))
    };
    let mut headers = header_map(came().filter(stays))?;
    if let Some(stamp) = stamp {
        let host = head.authority().or_else(|| head.field("host"));
        let fields = came().map(|field| (field.name, field.value));
        for (name, value) in stamp.lines(host, fields) {
            let value = HeaderValue::from_maybe_shared(Bytes::from(value));
            headers.append(name, value.map_err(|_| Malformed::FieldValue)?);
        }
    }
    *request.headers_mut() = headers;
    Ok(request)
}

fn target(head: &RequestHead<'_>) -> Result<Uri, Malformed> {
    let bytes = Bytes::copy_from_slice;
    let mut parts = http::uri::Parts::default();
    let below = PathAndQuery::from_maybe_shared(bytes(head.below()));
    parts.path_and_query = Some(below.map_err(|_| Malformed::FirstLine)?);
    if let Some(authority) = head.authority() {
        let authority = Authority::from_maybe_shared(bytes(authority));
        parts.authority = Some(authority.map_err(|_| Malformed::Host)?);
        parts.scheme = Some(Scheme::HTTP);
    }
    Uri::from_parts(parts).map_err(|_| Malformed::FirstLine)
}

/// Fields as HTTP/2's side holds them.
pub(super) fn header_map<'a>(
    fields: impl Iterator<Item = Field<'a>>,
) -> Result<HeaderMap, Malformed> {
    let mut headers = HeaderMap::new();
    for field in fields {
        let name = HeaderName::from_bytes(field.name).map_err(|_| Malformed::FieldName)?;
        let value = HeaderValue::from_bytes(field.value).map_err(|_| Malformed::FieldValue)?;
        let appended = headers.try_append(name, value);
        appended.map_err(|_| Malformed::HeadTooLarge)?;
    }
    Ok(headers)
}

/// The trailers of a body that has been read.
pub(super) fn trailers(lines: &[u8]) -> Result<HeaderMap, Malformed> {
    let mut trailers = header_map(Fields(lines).flatten())?;
    clean_trailers(&mut trailers);
    Ok(trailers)
}
