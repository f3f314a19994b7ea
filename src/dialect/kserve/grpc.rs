//! KServe's open inference protocol, version 2, over gRPC: `ModelInfer` and `ModelStreamInfer`. Of answers, messages are counted.

use prost::bytes::Buf;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use super::datatype;
use crate::anonymise::{ChainKey, Private, PromptRender};
use crate::dialect::framing::grpc;
use crate::dialect::{RequestSight, Unparsable};
use crate::shape::{Dialect, Dimensions, RequestParams, Role, TensorType};

/// Reads a request's messages. Every input tensor of every message is a message of as many bytes as its data. Compressed ones
/// are passed over. Fields are read one by one, and nothing is stored but a shape for each tensor, of which there is a bound.
pub(in crate::dialect) fn observe(body: &[u8], key: &ChainKey) -> Result<RequestSight, Unparsable> {
    let malformed = Unparsable::Body(Dialect::KserveGrpc);
    let messages = grpc::messages(body).ok_or(malformed)?;
    let mut model = None;
    let mut render = PromptRender::new(key);
    for message in messages {
        let named = infer_request(message, &mut render).map_err(|Malformed| malformed)?;
        model = model.or(named);
    }
    let model = model.and_then(|name| std::str::from_utf8(name).ok());
    Ok(RequestSight {
        model: model.map(Private::new),
        prompt: render.finish(),
        params: RequestParams {
            n: 1,
            ..RequestParams::default()
        },
    })
}

/// `ModelInferRequest`: gives the model's name.
fn infer_request<'a>(
    message: &'a [u8],
    render: &mut PromptRender,
) -> Result<Option<&'a [u8]>, Malformed> {
    let mut model = None;
    let mut raw = Fields(message).filter_map(|field| match field {
        Ok((RAW_INPUT_CONTENTS, Field::Bytes(data))) => Some(Ok(data)),
        Ok(_) => None,
        Err(malformed) => Some(Err(malformed)),
    });
    for field in Fields(message) {
        match field? {
            (MODEL_NAME, Field::Bytes(name)) => model = Some(name),
            (INPUTS, Field::Bytes(input)) => {
                let tensor = input_tensor(input)?;
                render.tensor(tensor.datatype, tensor.dimensions);
                // One without data has the next of the raw contents, or its data are not in the request at all.
                let data = match tensor.contents {
                    [] if tensor.is_shared => None,
                    [] => raw.next().transpose()?,
                    contents => Some(contents),
                };
                render.text(data.unwrap_or_default());
            }
            _ => {}
        }
    }
    for data in raw {
        render.message(Role::Other);
        render.text(data?);
    }
    Ok(model)
}

/// What is read of an `InferInputTensor`.
struct InputTensor<'a> {
    datatype: TensorType,
    dimensions: Option<Dimensions>,
    /// Its data are in memory that the server shares with its client.
    is_shared: bool,
    contents: &'a [u8],
}

/// A tensor without dimensions is one of a single element: protobuf has no other way to say so.
fn input_tensor(input: &[u8]) -> Result<InputTensor<'_>, Malformed> {
    let mut tensor = InputTensor {
        datatype: TensorType::Other,
        dimensions: Some(Dimensions::default()),
        is_shared: false,
        contents: &[],
    };
    let next = |dimensions: &mut Option<Dimensions>, size: u64| {
        *dimensions = dimensions.and_then(|mut known| {
            known.push(u32::try_from(size).ok()?)?;
            Some(known)
        });
    };
    for field in Fields(input) {
        match field? {
            (DATATYPE, Field::Bytes(word)) => tensor.datatype = datatype(word),
            (SHAPE, Field::Number(size)) => next(&mut tensor.dimensions, size),
            (SHAPE, Field::Bytes(mut packed)) => {
                while packed.has_remaining() {
                    let size = decode_varint(&mut packed).map_err(|_| Malformed)?;
                    next(&mut tensor.dimensions, size);
                }
            }
            (PARAMETERS, Field::Bytes(entry)) => {
                for field in Fields(entry) {
                    tensor.is_shared |= matches!(field?, (KEY, Field::Bytes(SHARED)));
                }
            }
            (CONTENTS, Field::Bytes(data)) => tensor.contents = data,
            _ => {}
        }
    }
    Ok(tensor)
}

/// `ModelInferRequest.model_name`, `.inputs`, `.raw_input_contents`.
const MODEL_NAME: u32 = 1;
const INPUTS: u32 = 5;
const RAW_INPUT_CONTENTS: u32 = 7;
/// `InferInputTensor.datatype`, `.shape`, `.parameters`, `.contents`.
const DATATYPE: u32 = 2;
const SHAPE: u32 = 3;
const PARAMETERS: u32 = 4;
const CONTENTS: u32 = 5;
/// A parameter's name, and that of Triton's which says where data are that do not come along.
const KEY: u32 = 1;
const SHARED: &[u8] = b"shared_memory_region";

/// A message that is no protobuf.
struct Malformed;

/// The fields of a message, up to the first that is none.
struct Fields<'a>(&'a [u8]);

/// What a field holds.
enum Field<'a> {
    /// A string, bytes, a message or packed numbers.
    Bytes(&'a [u8]),
    /// A number of variable length; negative ones are large.
    Number(u64),
    /// Anything else, passed over.
    Skipped,
}

impl<'a> Fields<'a> {
    fn field(&mut self) -> Result<(u32, Field<'a>), Malformed> {
        let message = &mut self.0;
        let (tag, kind) = decode_key(message).map_err(|_| Malformed)?;
        let field = match kind {
            WireType::Varint => Field::Number(decode_varint(message).map_err(|_| Malformed)?),
            WireType::LengthDelimited => {
                let length = decode_varint(message).map_err(|_| Malformed)?;
                let length = usize::try_from(length).map_err(|_| Malformed)?;
                let (field, rest) = message.split_at_checked(length).ok_or(Malformed)?;
                *message = rest;
                Field::Bytes(field)
            }
            _ => {
                let context = DecodeContext::default();
                skip_field(kind, tag, message, context).map_err(|_| Malformed)?;
                Field::Skipped
            }
        };
        Ok((tag, field))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Field<'a>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}
