//! KServe's open inference protocol, version 2, over gRPC: `ModelInfer` and `ModelStreamInfer`. Of answers, messages are counted.

use prost::bytes::Buf;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use crate::anonymise::{ChainKey, Private, PromptRender};
use crate::dialect::framing::grpc;
use crate::dialect::{RequestSight, Unparsable};
use crate::shape::{Dialect, RequestParams, Role};

/// Reads a request's messages. Every input tensor of every message is a message of as many bytes as its data. Compressed ones
/// are passed over. Fields are read one by one and none is stored, so that no body asks for more memory than it has bytes.
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
    for_each_field(message, |tag, data| {
        match tag {
            MODEL_NAME => model = Some(data),
            INPUTS => {
                let mut contents: &[u8] = &[];
                for_each_field(data, |tag, data| {
                    if tag == CONTENTS {
                        contents = data;
                    }
                    Ok(())
                })?;
                // Where it is empty, its data are among the raw contents.
                if !contents.is_empty() {
                    render.message(Role::Other);
                    render.text(contents);
                }
            }
            RAW_INPUT_CONTENTS => {
                render.message(Role::Other);
                render.text(data);
            }
            _ => {}
        }
        Ok(())
    })?;
    Ok(model)
}

/// `ModelInferRequest.model_name`, `.inputs`, `.raw_input_contents`; `InferInputTensor.contents`.
const MODEL_NAME: u32 = 1;
const INPUTS: u32 = 5;
const RAW_INPUT_CONTENTS: u32 = 7;
const CONTENTS: u32 = 5;

/// A message that is no protobuf.
struct Malformed;

/// Calls with every field that has a length: strings, bytes and messages.
fn for_each_field<'a>(
    mut message: &'a [u8],
    mut on_field: impl FnMut(u32, &'a [u8]) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    while message.has_remaining() {
        let (tag, kind) = decode_key(&mut message).map_err(|_| Malformed)?;
        if kind != WireType::LengthDelimited {
            let context = DecodeContext::default();
            skip_field(kind, tag, &mut message, context).map_err(|_| Malformed)?;
            continue;
        }
        let length = decode_varint(&mut message).map_err(|_| Malformed)?;
        let length = usize::try_from(length).map_err(|_| Malformed)?;
        let (field, rest) = message.split_at_checked(length).ok_or(Malformed)?;
        message = rest;
        on_field(tag, field)?;
    }
    Ok(())
}
