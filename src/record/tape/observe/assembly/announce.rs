//! What is known of an exchange while it is in flight.

use std::time::{Duration, Instant};

use super::{Assembly, micros, since};
use crate::anonymise::{Conversation, Disguise, Sighting};
use crate::record::tape::unheard::AGE;
use crate::shape::{Exchange, Outcome, RequestShape, ResponseShape, ShapeStatus};

impl Assembly {
    /// Which file holds it as in flight.
    pub(in crate::record::tape::observe) fn announced(&self) -> u64 {
        self.announced
    }

    /// What is known of it at `now`, while it is in flight, for the file of `generation`; `None` where that holds it already, where
    /// it may soon be over, where its prompt is still on its way and may soon be known, and where it is not to be recorded.
    pub(in crate::record::tape::observe) fn announce(
        &mut self,
        generation: u64,
        now: Instant,
        epoch: Instant,
    ) -> Option<(Sighting, Option<Conversation>)> {
        let (opening, arrived) = (self.opening?, self.arrived?);
        let age = now.saturating_duration_since(arrived);
        let comes = !self.upload_ended && age < SLOW_UPLOAD;
        if self.announced == generation || age < AGE || comes || opening.probe {
            return None;
        }
        self.announced = generation;
        let shape = match (self.trouble, &self.request) {
            (Some(trouble), _) => trouble,
            (None, Some(_)) => ShapeStatus::Known,
            (None, None) => ShapeStatus::Generic,
        };
        let conversation = self.conversation();
        let [asked_type, answered_type] = self.media_types();
        let known = self.known(self.request.clone(), None);
        let exchange = Exchange {
            in_flight: opening.in_flight,
            new_connection: Some(opening.new_connection),
            shape,
            request: RequestShape {
                media_type: asked_type,
                ..known.shape
            },
            response: ResponseShape {
                status: self.head.map_or(0, |head| head.status),
                headers_us: self.head.map(|head| head.at_us),
                first_byte_us: self.first_byte_us,
                bytes: self.response_bytes,
                media_type: answered_type,
                ..ResponseShape::default()
            },
            outcome: Outcome::InFlight { at_us: micros(age) },
            ..Exchange::bare(since(epoch, arrived), self.endpoint(), opening.method)
        };
        let sighting = Sighting {
            model: known.model.or_else(|| self.model.clone()),
            chain: known.chain,
            named: opening.conversation,
            turns: known.turns,
            prompt_tokens: known.tokens,
            disguise: self.disguise,
            ..Sighting::of(exchange)
        };
        Some((sighting, conversation))
    }

    /// What was made up for it when it was announced.
    pub(in crate::record::tape::observe) fn is_disguised(&mut self, disguise: Disguise) {
        self.disguise = disguise;
    }
}

/// A prompt that takes longer to come is not waited for.
const SLOW_UPLOAD: Duration = Duration::from_secs(1);
