//! Streamed chats as a recorder sees them, made up: for this bench, and for the tests of what an exchange costs.

use std::collections::HashMap;

use reenact::shape::{
    BlockId, Endpoint, Exchange, GapSketch, GapTrail, MessageShape, Method, ModelId, RequestParams,
    RequestShape, ResponseShape, Role, SessionId, TokenCount, TokenSource, TraceTime,
};

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

/// Streamed chats in order of completion: 50 a second, conversations of several turns over four system prompts, about 20 blocks
/// and 100 tokens each, gaps of some 20 ms with a deviation of `spread` of that.
#[allow(clippy::cast_possible_truncation)]
pub fn live(count: usize, spread: f64) -> Vec<Exchange> {
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
            let mut exchange = chat(whole(at));
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
                let gap = whole(random.spread(20_000.0, spread));
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
    let mut numbers = HashMap::new();
    let mut sessions = HashMap::new();
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
                BlockId(*numbers.entry(key).or_insert(next))
            });
            exchange.request.blocks = ids.collect();
            let next = sessions.len() as u32;
            let session = *sessions.entry(conversation).or_insert(next);
            exchange.session = Some(SessionId(session));
            exchange
        })
        .collect()
}

fn chat(at_us: u64) -> Exchange {
    Exchange {
        request: RequestShape {
            messages: vec![MessageShape {
                role: Role::User,
                bytes: 0,
                tokens: None,
            }],
            params: RequestParams {
                n: 1,
                stream: true,
                ..RequestParams::default()
            },
            ..RequestShape::default()
        },
        response: ResponseShape {
            status: 200,
            ..ResponseShape::default()
        },
        ..Exchange::bare(
            TraceTime::from_us(at_us),
            Endpoint::ChatCompletions,
            Method::Post,
        )
    }
}
