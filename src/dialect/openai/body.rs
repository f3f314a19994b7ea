//! The body of a request to either OpenAI endpoint, read in one pass: fields of the endpoint's own as they come, the parameters
//! that both have from what is left. (Prompts are long, so a second pass over them to find the parameters would cost a third
//! as much again.)

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapDeserializer;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::parameters::Parameters;
use crate::dialect::json::{self, List, Refused, Text};

/// The fields that an endpoint has for itself.
pub(in crate::dialect) trait OwnFields<'a>: Default {
    /// Takes the value of `key`, if it is one of these.
    fn take<A: MapAccess<'a>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error>;
}

/// Reads a body.
pub(in crate::dialect) fn read<'a, F: OwnFields<'a>>(
    body: &'a [u8],
) -> Result<(F, Parameters<'a>), Refused> {
    let Body { own, rest } = json::read(body)?;
    let rest = rest.into_iter().map(|(key, value)| (key.0, value));
    let parameters = Parameters::deserialize(MapDeserializer::<_, serde_json::Error>::new(rest))
        .map_err(|_| Refused::Malformed)?;
    Ok((own, parameters))
}

/// A field's value, which must not have come before.
pub(in crate::dialect) fn once<'a, T, A>(
    slot: &mut Option<T>,
    map: &mut A,
) -> Result<bool, A::Error>
where
    T: Deserialize<'a>,
    A: MapAccess<'a>,
{
    if slot.is_some() {
        return Err(A::Error::custom("a field came twice"));
    }
    *slot = Some(map.next_value()?);
    Ok(true)
}

struct Body<'a, F> {
    own: F,
    rest: List<(Text<'a>, &'a RawValue)>,
}

impl<'de, F: OwnFields<'de>> Deserialize<'de> for Body<'de, F> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader<F>(PhantomData<F>);
        impl<'de, F: OwnFields<'de>> Visitor<'de> for Reader<F> {
            type Value = Body<'de, F>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut own = F::default();
                let mut rest = List::default();
                while let Some(key) = map.next_key::<Text<'de>>()? {
                    if !own.take(&key.0, &mut map)? {
                        rest.push((key, map.next_value()?))?;
                    }
                }
                Ok(Body { own, rest })
            }
        }
        deserializer.deserialize_map(Reader(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use crate::anonymise::ChainKey;
    use crate::dialect::observe_request;
    use crate::shape::Endpoint;

    #[test]
    fn fields_must_come_once_and_may_come_in_any_order() {
        let reads = |endpoint, body: &str| {
            observe_request(endpoint, body.as_bytes(), &ChainKey::from_bytes([1; 16])).is_ok()
        };
        let (chat, completions) = (Endpoint::ChatCompletions, Endpoint::Completions);
        assert!(reads(
            chat,
            r#"{"n":2,"messages":[],"x":{"n":[{}]},"logprobs":true}"#
        ));
        assert!(reads(
            chat,
            r#"{"messages":[],"tools":null,"model":null,"response_format":null}"#
        ));
        assert!(reads(
            completions,
            r#"{"prompt":"a","suffix":null,"tools":5}"#
        ));
        for (endpoint, wrong) in [
            (chat, r#"{"messages":[],"messages":[]}"#),
            (chat, r#"{"messages":[],"n":1,"n":1}"#),
            (chat, r#"{"messages":[],"model":"a","model":"b"}"#),
            (chat, r#"{"messages":[],"max_tokens":"9"}"#),
            (chat, r#"{"messages":[],"tools":5}"#),
            (chat, r#"{"model":"a"}"#),
            (chat, r#"{"messages":[]"#),
            (chat, r#"{"messages":[]} x"#),
            (chat, r#"[]"#),
            (completions, r#"{"suffix":"a"}"#),
        ] {
            assert!(!reads(endpoint, wrong), "{wrong}");
        }
    }
}
