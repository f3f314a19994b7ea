//! Trace files after they are written: what the recorder keeps of them, what the `trace` commands make of them, what a kill and
//! a broken disk leave of them, and the stores that they are carried to.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss
)]

mod commands;
mod crash;
mod damage;
mod google;
mod large;
mod retention;
mod store_tools;
mod stores;
#[path = "../support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};

use reenact::anonymise::Recordable;
use reenact::shape::{BlockId, BlockSpec, Endpoint, Exchange, Method, ShapeStatus, TraceTime};
use reenact::trace::{Header, Source, TraceWriter, WriterOptions};
use support::{python, serve, upstream, venv};

/// The names in a directory, sorted.
fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

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

fn exchange(at_us: u64, blocks: impl IntoIterator<Item = u32>) -> Exchange {
    let mut exchange = Exchange {
        shape: ShapeStatus::Generic,
        ..Exchange::bare(
            TraceTime::from_us(at_us),
            Endpoint::ChatCompletions,
            Method::Post,
        )
    };
    exchange.request.blocks = blocks.into_iter().map(BlockId).collect();
    exchange.response.status = 200;
    exchange
}

/// A whole file of these exchanges.
fn write(path: &Path, header: &Header, exchanges: impl IntoIterator<Item = Exchange>) -> PathBuf {
    let mut writer = TraceWriter::create(path, header, WriterOptions::default()).unwrap();
    for exchange in exchanges {
        writer.push(Recordable::content_free(exchange)).unwrap();
    }
    writer.finish().unwrap();
    path.to_owned()
}

/// Numbers without any order that are the same every time.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 16) % bound
    }
}
