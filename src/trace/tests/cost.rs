//! What an exchange costs in bytes (asserted) and in time (printed: `cargo test --release --lib cost -- --nocapture`).

use std::time::Instant;

use super::{chat, header, read};
use crate::anonymise::Recordable;
use crate::shape::{Exchange, GapSketch, GapTrail, ModelId, SessionId, TokenCount, TokenSource};
use crate::trace::{TraceWriter, WriterOptions};

struct Random(u64);

impl Random {
    fn uniform(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    fn exponential(&mut self, mean: f64) -> f64 {
        -self.uniform().ln() * mean
    }

    /// Log-normal around `median`.
    fn spread(&mut self, median: f64, sigma: f64) -> f64 {
        let normal = (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0;
        median * (normal * sigma).exp()
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn whole(value: f64) -> u64 {
    value as u64
}

/// Streamed chats as a recorder sees them, in order of completion: 50 a second, conversations of several turns over four
/// system prompts, about 20 blocks and 100 tokens each, gaps of some 20 ms that spread by a fifth.
#[allow(clippy::cast_possible_truncation)]
fn live(count: usize) -> Vec<Exchange> {
    let mut random = Random(7);
    let mut at = 0.0;
    // Chain by what it holds, not yet numbered: (conversation, block of it).
    let mut conversations: Vec<(u64, u64)> = Vec::new();
    let mut exchanges: Vec<(Exchange, (u64, u64))> = (0..count)
        .map(|_| {
            at += random.exponential(20_000.0);
            let place = whole(random.uniform() * 400.0) as usize;
            if conversations.len() <= place || conversations[place].1 > 29 {
                let fresh = (conversations.len() as u64 + whole(at) * 1000, 6);
                match conversations.get_mut(place) {
                    Some(old) => *old = fresh,
                    None => conversations.push(fresh),
                }
            }
            let place = place.min(conversations.len() - 1);
            conversations[place].1 += 2 + whole(random.uniform() * 8.0);
            let chain = conversations[place];
            let mut exchange = chat(whole(at), 0, []);
            exchange.model = Some(ModelId(whole(random.uniform() * 3.0) as u32));
            exchange.in_flight = 90 + whole(random.uniform() * 40.0) as u32;
            let (request, response) = (&mut exchange.request, &mut exchange.response);
            let rest = whole(random.uniform() * 64.0) as u32;
            request.messages[0].bytes = chain.1 as u32 * 64 - 1 + rest;
            request.bytes = u64::from(request.messages[0].bytes) + 180 + u64::from(rest % 9);
            request.params.max_tokens = Some(1024);
            request.prompt_tokens = Some(TokenCount {
                count: whole(random.spread(chain.1 as f64 * 15.0, 0.03)) as u32,
                source: TokenSource::Usage,
            });
            let events = 60 + whole(random.uniform() * 80.0);
            let headers = whole(random.spread(2_000.0, 0.5));
            let first = headers + whole(random.spread(150_000.0, 0.6));
            let mut last = first;
            let (mut gaps, mut trail) = (GapSketch::default(), GapTrail::default());
            for _ in 1..events {
                let gap = whole(random.spread(20_000.0, 0.2));
                gaps.record(gap);
                trail.record(gap);
                last += gap;
            }
            response.headers_us = Some(headers);
            response.first_byte_us = Some(headers + whole(random.uniform() * 50.0));
            response.first_token_us = Some(first);
            response.first_answer_us = Some(first);
            response.last_token_us = Some(last);
            response.end_us = Some(last + whole(random.spread(20_000.0, 0.2)));
            response.gaps = gaps;
            response.trail = trail;
            response.output_tokens = Some(TokenCount {
                count: events as u32,
                source: TokenSource::Usage,
            });
            response.events = events as u32 + 3;
            response.token_events = events as u32;
            response.bytes = events * 247 + whole(random.uniform() * 400.0);
            (exchange, chain)
        })
        .collect();
    exchanges.sort_by_key(|(e, _)| e.at.us() + e.response.end_us.unwrap());
    let mut numbers = std::collections::HashMap::new();
    let mut sessions = std::collections::HashMap::new();
    exchanges
        .into_iter()
        .map(|(mut exchange, (conversation, blocks))| {
            let ids = (0..blocks).map(|block| {
                let system = (u64::MAX, conversation % 4 * 100 + block);
                let key = if block < 6 {
                    system
                } else {
                    (conversation, block)
                };
                let next = numbers.len() as u32;
                crate::shape::BlockId(*numbers.entry(key).or_insert(next))
            });
            exchange.request.blocks = ids.collect();
            let next = sessions.len() as u32;
            let session = *sessions.entry(conversation).or_insert(next);
            exchange.session = Some(SessionId(session));
            exchange
        })
        .collect()
}

/// Bytes of each exchange in a file; prints the speeds.
fn bytes_each(exchanges: Vec<Exchange>) -> f64 {
    let count = exchanges.len();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.rt");
    let recordables: Vec<_> = exchanges
        .into_iter()
        .map(Recordable::content_free)
        .collect();
    let started = Instant::now();
    let mut writer = TraceWriter::create(&path, &header(1), WriterOptions::default()).unwrap();
    for recordable in recordables {
        writer.push(recordable).unwrap();
    }
    writer.finish().unwrap();
    let written = started.elapsed().as_secs_f64();
    let each = path.metadata().unwrap().len() as f64 / count as f64;
    let started = Instant::now();
    assert_eq!(read(&path).len(), count);
    let took = started.elapsed().as_secs_f64();
    println!(
        "{each:.1} bytes each; {:.0}/s written, {:.0}/s read",
        count as f64 / written,
        count as f64 / took
    );
    each
}

#[test]
fn a_live_exchange_of_20_blocks_and_100_tokens_takes_about_40_bytes() {
    const COUNT: usize = 20_000;
    let mut exchanges = live(COUNT);
    for exchange in &mut exchanges {
        exchange.response.trail = GapTrail::default();
    }
    let mean = |of: fn(&Exchange) -> usize| exchanges.iter().map(of).sum::<usize>() / COUNT;
    let blocks = mean(|e| e.request.blocks.len());
    let buckets = mean(|e| e.response.gaps.buckets().len());
    assert!((18..23).contains(&blocks), "{blocks}");
    assert!(buckets > 20, "{buckets}");
    let each = bytes_each(exchanges);
    assert!(each < 47.0, "{each:.1} bytes each");
}

#[test]
fn with_every_gap_it_takes_less_than_140_bytes() {
    let each = bytes_each(live(20_000));
    assert!((60.0..140.0).contains(&each), "{each:.1} bytes each");
}
