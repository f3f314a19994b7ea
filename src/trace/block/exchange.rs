//! The columns of an exchange, but for its chain. Arrivals and ids are written as steps from the exchange before.

use super::budget::Budget;
use super::codes::Coded;
use super::coding::Coding;
use super::columns::{ColumnNumbers, Columns};
use super::flags::{self, flags_of};
use super::ratio::Ratio;
use super::{frames, request, response};
use crate::shape::{
    BlockSpec, ClientId, Endpoint, Exchange, Method, ModelId, SessionId, ShapeStatus, TraceTime,
};
use crate::trace::frame::IdLimits;
use crate::trace::varint::{Malformed, Numbers, put, put_residual};

/// What of an exchange is predicted from the one before it in the block.
pub(super) struct Before {
    at_us: u64,
    flags: u64,
    in_flight: u64,
    /// One more than the highest ids so far.
    pub(super) ids: IdLimits,
    tokens_per_byte: Ratio,
    response: response::Before,
}

impl Before {
    pub(super) fn new(first_at_us: u64, ids: IdLimits, coding: Coding) -> Self {
        Self {
            at_us: first_at_us,
            flags: 0,
            in_flight: 0,
            ids,
            tokens_per_byte: Ratio::default(),
            response: response::Before::of(coding),
        }
    }
}

/// Writes an exchange, but for its chain.
pub(super) fn write(
    out: &mut Columns,
    exchange: &Exchange,
    spec: Option<BlockSpec>,
    before: &mut Before,
) {
    let at_us = exchange.at.us();
    put(&mut out.at, at_us.saturating_sub(before.at_us));
    before.at_us = at_us;
    let present = flags_of(exchange);
    put(&mut out.flags, present ^ before.flags);
    before.flags = present;
    put(&mut out.endpoint, exchange.endpoint.code());
    put(&mut out.method, exchange.method.code());
    put(&mut out.shape, exchange.shape.code());
    put_residual(
        &mut out.in_flight,
        exchange.in_flight.into(),
        before.in_flight,
    );
    before.in_flight = exchange.in_flight.into();
    if let Some(ModelId(id)) = exchange.model {
        put(&mut out.model, id.into());
        before.ids.models = before.ids.models.max(id.saturating_add(1));
    }
    if let Some(SessionId(id)) = exchange.session {
        put_id(&mut out.session, id, &mut before.ids.sessions);
    }
    if let Some(ClientId(id)) = exchange.client {
        put_id(&mut out.client, id, &mut before.ids.clients);
    }
    request::write(out, &exchange.request, spec, &mut before.tokens_per_byte);
    response::write(out, exchange, &mut before.response);
    if let Some(frames) = &exchange.frames {
        frames::write(out, frames);
    }
}

/// Reads an exchange to the end of a list, but for its chain: returns the chain's length.
///
/// It is filled where it stands: it takes some hundreds of bytes, and moving them from hand to hand costs as much as reading does.
pub(super) fn read(
    columns: &mut ColumnNumbers<'_>,
    (spec, coding): (Option<BlockSpec>, Coding),
    budget: &mut Budget,
    before: &mut Before,
    exchanges: &mut Vec<Exchange>,
) -> Result<usize, Malformed> {
    before.at_us = before
        .at_us
        .checked_add(columns.at.next()?)
        .ok_or(Malformed("an arrival is out of range"))?;
    before.flags ^= columns.flags.next()?;
    let present = before.flags;
    let endpoint = Endpoint::from_code(columns.endpoint.next()?);
    let method = Method::from_code(columns.method.next()?);
    let shape = ShapeStatus::from_code(columns.shape.next()?);
    let in_flight: u32 = columns.in_flight.residual_as(before.in_flight)?;
    before.in_flight = in_flight.into();
    let has = |flag| present & flag != 0;
    let model = has(flags::MODEL)
        .then(|| columns.model.next_as())
        .transpose()?;
    let session = has(flags::SESSION)
        .then(|| next_id(&mut columns.session, &mut before.ids.sessions))
        .transpose()?;
    let client = has(flags::CLIENT)
        .then(|| next_id(&mut columns.client, &mut before.ids.clients))
        .transpose()?;
    let tokens_per_byte = match coding {
        Coding::Plain => None,
        Coding::Predicted => Some(&mut before.tokens_per_byte),
    };
    exchanges.push(Exchange {
        model: model.map(ModelId),
        session: session.map(SessionId),
        client: client.map(ClientId),
        in_flight,
        new_connection: has(flags::NEW_CONNECTION_SAID).then(|| has(flags::NEW_CONNECTION)),
        shape,
        ..Exchange::bare(TraceTime::from_us(before.at_us), endpoint, method)
    });
    let Some(exchange) = exchanges.last_mut() else {
        return Ok(0);
    };
    let request = &mut exchange.request;
    let chain_len = request::read(columns, present, spec, budget, tokens_per_byte, request)?;
    let response = &mut exchange.response;
    exchange.outcome = response::read(columns, present, budget, &mut before.response, response)?;
    if has(flags::FRAMES) {
        exchange.frames = Some(Box::new(frames::read(columns, present, budget)?));
    }
    Ok(chain_len)
}

/// An id counted back from the next new one, which is 0.
fn put_id(out: &mut Vec<u8>, id: u32, next_new: &mut u32) {
    put_residual(out, (*next_new).into(), id.into());
    *next_new = (*next_new).max(id.saturating_add(1));
}

fn next_id(column: &mut Numbers<'_>, next_new: &mut u32) -> Result<u32, Malformed> {
    let back = column.residual(0)?;
    let id = u32::try_from(u64::from(*next_new).wrapping_sub(back))
        .map_err(|_| Malformed("an id is out of range"))?;
    *next_new = (*next_new).max(id.saturating_add(1));
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::super::layout::{ColumnBytes, LaidOut};
    use super::*;

    #[test]
    fn flags_of_a_later_version_are_passed_over() {
        let (none, first) = (IdLimits::default(), 7);
        let told = |at_us, new_connection| Exchange {
            new_connection,
            ..Exchange::bare(TraceTime::from_us(at_us), Endpoint::Other, Method::Get)
        };
        let told = [told(7, Some(true)), told(9, None), told(9, Some(false))];
        let mut columns = Columns::default();
        let mut before = Before::new(first, none, Coding::Predicted);
        for exchange in &told {
            write(&mut columns, exchange, None, &mut before);
        }
        columns.flags.clear();
        let mut last = 0;
        for (exchange, later) in told.iter().zip([1 << 40, 1 << 40 | 1 << 63, 0]) {
            let flags = flags_of(exchange) | later;
            put(&mut columns.flags, flags ^ last);
            last = flags;
        }
        let document = rmp_serde::to_vec(&LaidOut::of(&columns)).unwrap();
        let bytes: ColumnBytes<'_> = rmp_serde::from_slice(&document).unwrap();
        let mut numbers = bytes.numbers();
        let mut before = Before::new(first, none, Coding::Predicted);
        let mut seen = Vec::new();
        for _ in &told {
            let terms = (None, Coding::Predicted);
            read(
                &mut numbers,
                terms,
                &mut Budget::full(),
                &mut before,
                &mut seen,
            )
            .unwrap();
        }
        assert_eq!(seen, told);
    }
}
