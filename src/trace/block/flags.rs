//! One number for each exchange that says which optional fields are there, and holds its booleans. A block writes it as the
//! XOR with the exchange before, so that traffic of one kind costs nothing.

use crate::shape::Exchange;

macro_rules! flags {
    ($($bit:literal $name:ident,)*) => {
        $(pub(super) const $name: u64 = 1 << $bit;)*
    };
}

flags! {
    0 MODEL,
    1 SESSION,
    2 CLIENT,
    3 PROMPT_TOKENS,
    4 MAX_TOKENS,
    5 MIN_TOKENS,
    6 IGNORE_EOS,
    7 BEST_OF,
    8 STREAM,
    9 INCLUDE_USAGE,
    10 GREEDY_SAID,
    11 GREEDY,
    12 LOGPROBS,
    13 REASONING_EFFORT,
    14 TOKEN_IDS,
    15 ECHO,
    16 HEADERS,
    17 FIRST_BYTE,
    18 FIRST_TOKEN,
    19 FIRST_ANSWER,
    20 LAST_TOKEN,
    21 END,
    22 OUTPUT_TOKENS,
    23 CACHED_TOKENS,
    24 REASONING_TOKENS,
    25 FINISH,
    26 CONTINUES,
    // Most exchanges set 28 alike, and 27 not: the bit that changes costs a byte less below it.
    27 NEW_CONNECTION,
    28 NEW_CONNECTION_SAID,
    29 READER_WAIT,
    30 CONTEXT_TOKENS,
    31 DIMENSIONS,
    32 CONTINUOUS_USAGE,
    33 RETURN_TOKEN_IDS,
    34 FRAMES,
    35 FIRST_SENT,
}

pub(super) fn flags_of(exchange: &Exchange) -> u64 {
    let Exchange {
        request,
        response,
        frames,
        ..
    } = exchange;
    let params = &request.params;
    let first_sent = frames.as_ref().and_then(|frames| frames.first_sent_us);
    [
        (MODEL, exchange.model.is_some()),
        (SESSION, exchange.session.is_some()),
        (CLIENT, exchange.client.is_some()),
        (PROMPT_TOKENS, request.prompt_tokens.is_some()),
        (MAX_TOKENS, params.max_tokens.is_some()),
        (MIN_TOKENS, params.min_tokens.is_some()),
        (IGNORE_EOS, params.ignore_eos),
        (BEST_OF, params.best_of.is_some()),
        (STREAM, params.stream),
        (INCLUDE_USAGE, params.include_usage),
        (GREEDY_SAID, params.greedy.is_some()),
        (GREEDY, params.greedy == Some(true)),
        (LOGPROBS, params.logprobs.is_some()),
        (REASONING_EFFORT, params.reasoning_effort.is_some()),
        (TOKEN_IDS, params.token_ids),
        (ECHO, params.echo),
        (HEADERS, response.headers_us.is_some()),
        (FIRST_BYTE, response.first_byte_us.is_some()),
        (FIRST_TOKEN, response.first_token_us.is_some()),
        (FIRST_ANSWER, response.first_answer_us.is_some()),
        (LAST_TOKEN, response.last_token_us.is_some()),
        (END, response.end_us.is_some()),
        (OUTPUT_TOKENS, response.output_tokens.is_some()),
        (CACHED_TOKENS, response.cached_tokens.is_some()),
        (REASONING_TOKENS, response.reasoning_tokens.is_some()),
        (FINISH, response.finish.is_some()),
        (CONTINUES, params.continues),
        (NEW_CONNECTION, exchange.new_connection == Some(true)),
        (NEW_CONNECTION_SAID, exchange.new_connection.is_some()),
        (READER_WAIT, response.reader_wait_us.is_some()),
        (CONTEXT_TOKENS, params.context_tokens.is_some()),
        (DIMENSIONS, params.dimensions.is_some()),
        (CONTINUOUS_USAGE, params.continuous_usage),
        (RETURN_TOKEN_IDS, params.return_token_ids),
        (FRAMES, frames.is_some()),
        (FIRST_SENT, first_sent.is_some()),
    ]
    .into_iter()
    .fold(
        0,
        |flags, (flag, set)| if set { flags | flag } else { flags },
    )
}
