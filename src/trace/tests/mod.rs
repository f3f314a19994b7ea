pub(crate) mod any;
mod cost;
mod damage;
mod golden;
mod many;
mod openings;
mod round_trip;
mod sealed;
mod tools;

use std::path::Path;

use crate::anonymise::Recordable;
use crate::shape::{
    BlockId, BlockSpec, Endpoint, Exchange, MessageShape, Method, RequestParams, RequestShape,
    ResponseShape, Role, TokenCount, TokenSource, TraceTime,
};
use crate::trace::{Header, Source, Trace, TraceWriter, WriterOptions};

fn header(run: u64) -> Header {
    Header {
        tool: "0.1.0".into(),
        source: Source::Recorded,
        block: Some(BlockSpec::LIVE),
        epoch_unix_us: None,
        run,
        sample_ppm: 1_000_000,
        policy: None,
        envelope: None,
    }
}

fn blocks_of(block_exchanges: u32) -> WriterOptions {
    WriterOptions {
        block_exchanges,
        ..WriterOptions::default()
    }
}

/// A chat exchange that arrived at `at_us` and took `end_us`.
fn chat(at_us: u64, end_us: u64, ids: impl IntoIterator<Item = u32>) -> Exchange {
    Exchange {
        request: RequestShape {
            bytes: 500,
            messages: vec![MessageShape {
                role: Role::User,
                bytes: 300,
                tokens: None,
            }],
            prompt_tokens: Some(TokenCount {
                count: 75,
                source: TokenSource::Usage,
            }),
            blocks: ids.into_iter().map(BlockId).collect(),
            params: RequestParams {
                n: 1,
                stream: true,
                ..RequestParams::default()
            },
            ..RequestShape::default()
        },
        response: ResponseShape {
            status: 200,
            end_us: Some(end_us),
            ..ResponseShape::default()
        },
        ..Exchange::bare(
            TraceTime::from_us(at_us),
            Endpoint::ChatCompletions,
            Method::Post,
        )
    }
}

fn write(path: &Path, header: &Header, options: WriterOptions, exchanges: &[Exchange]) {
    let mut writer = TraceWriter::create(path, header, options).unwrap();
    for exchange in exchanges {
        writer
            .push(Recordable::content_free(exchange.clone()))
            .unwrap();
    }
    writer.finish().unwrap();
}

fn read(path: &Path) -> Vec<Exchange> {
    let mut trace = Trace::open(&[path.to_owned()]).unwrap();
    let exchanges = trace.exchanges().collect::<Result<_, _>>().unwrap();
    assert_eq!(trace.damage().bad_blocks, 0);
    exchanges
}
