//! KServe's open inference protocol, version 2, over REST: `POST /v2/models/MODEL/infer`. Of the answer, tensors too, only sizes
//! and times are known.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::datatype;
use crate::anonymise::{ChainKey, PromptRender};
use crate::dialect::json::{Count, List, Said, null_is_empty};
use crate::dialect::{RequestSight, Unparsable, json};
use crate::shape::{Dialect, RequestParams};

/// Reads a request's body. Every input tensor is a message of as many bytes as its data. With the binary extension the data of some
/// follow the JSON, one after another; where the JSON ends is told by itself.
pub(in crate::dialect) fn observe(body: &[u8], key: &ChainKey) -> Result<RequestSight, Unparsable> {
    let wrong = |refused| Unparsable::new(Dialect::Kserve, refused);
    let (request, end) = json::read_front::<Request<'_>>(body).map_err(wrong)?;
    let mut binary = body.get(end..).unwrap_or_default();
    let mut render = PromptRender::new(key);
    for input in request.inputs.iter() {
        let word = input.datatype.plainly.unwrap_or_default();
        let sizes = input.shape.map(RawValue::get).unwrap_or_default();
        // What is no list of sizes, or too long a one, is as good as unsaid: whether it is wrong is the server's business.
        render.tensor(datatype(word.as_bytes()), serde_json::from_str(sizes).ok());
        if let Some(data) = input.data {
            render.text(data.get().as_bytes());
        }
        if let Some(bytes) = input.parameters.binary_data_size.0 {
            let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
            let (data, rest) = binary
                .split_at_checked(bytes)
                .ok_or(wrong(json::Refused::Malformed))?;
            render.text(data);
            binary = rest;
        }
    }
    Ok(RequestSight {
        model: None,
        prompt: render.finish(),
        params: RequestParams {
            n: 1,
            ..RequestParams::default()
        },
    })
}

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow)]
    inputs: List<Tensor<'a>>,
}

#[derive(Deserialize)]
struct Tensor<'a> {
    #[serde(borrow, default)]
    datatype: Said<'a>,
    #[serde(borrow, default)]
    shape: Option<&'a RawValue>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
    #[serde(default, deserialize_with = "null_is_empty")]
    parameters: Parameters,
}

#[derive(Default, Deserialize)]
struct Parameters {
    #[serde(default)]
    binary_data_size: Count,
}
