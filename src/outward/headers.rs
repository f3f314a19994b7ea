//! Lists as OpenTelemetry's environment variables have them: `key=value,key=value`, values percent-encoded (W3C Baggage, without its
//! properties).

use http::{HeaderMap, HeaderName, HeaderValue};

/// Reads `OTEL_EXPORTER_OTLP_HEADERS`. The values are shown nowhere.
///
/// # Errors
/// When it is no such list: in words that name the item by its place, since what is malformed may be the secret.
pub fn read_headers(variable: &str, text: &str) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (place, (name, value)) in read_pairs(variable, text)?.into_iter().enumerate() {
        let place = place + 1;
        let name: HeaderName = name
            .parse()
            .map_err(|_| format!("{variable}: item {place} has a name that no header can have"))?;
        let mut value = HeaderValue::from_str(&value).map_err(|_| {
            format!("{variable}: the value of `{name}` holds what no header can hold")
        })?;
        value.set_sensitive(true);
        headers.append(name, value);
    }
    Ok(headers)
}

/// Reads `OTEL_RESOURCE_ATTRIBUTES`, and any other such list.
///
/// # Errors
/// When it is none: in words.
pub fn read_pairs(variable: &str, text: &str) -> Result<Vec<(String, String)>, String> {
    let items = text.split(',').enumerate();
    items
        .filter(|(_, item)| !item.trim().is_empty())
        .map(|(place, item)| {
            let place = place + 1;
            let (name, value) = item
                .split_once('=')
                .ok_or_else(|| format!("{variable}: item {place} has no `=`"))?;
            let value = decoded(value.trim())
                .ok_or_else(|| format!("{variable}: item {place} is not percent-encoded text"))?;
            Ok((name.trim().to_owned(), value))
        })
        .collect()
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let (hex, after) = rest.split_first_chunk::<2>()?;
        rest = after;
        let [high, low] = hex.map(|digit| char::from(digit).to_digit(16));
        bytes.push(u8::try_from(high? * 16 + low?).ok()?);
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "OTEL_EXPORTER_OTLP_HEADERS";

    #[test]
    fn headers_are_read_as_opentelemetry_writes_them() {
        let headers = read_headers(
            NAME,
            "x-api-key=a%3Db, Authorization=Basic cGs6c2s=,Langsmith-Project=gate",
        )
        .unwrap();
        assert_eq!(headers["x-api-key"], "a=b");
        assert_eq!(headers["authorization"], "Basic cGs6c2s=");
        assert_eq!(headers["langsmith-project"], "gate");
        assert!(headers["authorization"].is_sensitive());
        assert!(read_headers(NAME, "").unwrap().is_empty());
    }

    #[test]
    fn what_is_malformed_is_named_by_its_place_and_never_shown() {
        for text in [
            "hunter2",
            "a=b,hunter2",
            "hunter2 x=1",
            "x=hunter2%0a",
            "x=hunter2%f",
        ] {
            let error = read_headers(NAME, text).unwrap_err();
            assert!(error.starts_with(NAME), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
