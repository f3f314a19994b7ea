//! Parts of a request that more than one of OpenAI's APIs is written with.

use serde::Serialize;
use serde_json::value::RawValue;

use crate::dialect::draft::schema;
use crate::dialect::{Draft, DraftMedia};
use crate::shape::Structured;

/// How an answer's form is asked for.
#[derive(Serialize)]
pub(in crate::dialect) struct WireFormat {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    json_schema: Option<WireSchema>,
}

#[derive(Serialize)]
struct WireSchema {
    name: &'static str,
    schema: Box<RawValue>,
}

impl WireFormat {
    /// As recorded; grammars have no common form.
    pub(in crate::dialect) fn of(
        draft: &Draft<'_>,
        altered: &mut Vec<&'static str>,
    ) -> Option<Self> {
        let params = &draft.params;
        match params.structured {
            Structured::None => None,
            Structured::JsonObject => Some(Self {
                kind: "json_object",
                json_schema: None,
            }),
            Structured::JsonSchema => {
                let around = r#"{"name":"a","schema":}"#.len();
                let schema = schema::schema(params.schema_bytes, around, altered)?;
                Some(Self {
                    kind: "json_schema",
                    json_schema: Some(WireSchema { name: "a", schema }),
                })
            }
            Structured::Grammar => {
                altered.push("response_format");
                None
            }
        }
    }
}

/// `stream_options`: asks for a last chunk with `usage`.
#[derive(Serialize)]
pub(in crate::dialect) struct IncludeUsage {
    pub(in crate::dialect) include_usage: bool,
}

/// `input_audio`
#[derive(Serialize)]
pub(in crate::dialect) struct WireSound<'a> {
    data: &'a str,
    format: &'static str,
}

impl<'a> WireSound<'a> {
    pub(in crate::dialect) fn of(medium: &'a DraftMedia) -> Self {
        Self {
            data: &medium.base64,
            format: "wav",
        }
    }
}
