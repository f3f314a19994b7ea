/// Guesses the next id of a chain. Its memory is fixed (896 KiB) and so are its collisions: both are part of the format.
pub(super) struct Predictor {
    slots: Vec<Slot>,
    /// What followed an id in one conversation, where several things do: after a system prompt that many share comes what was
    /// said in this one.
    turns: Vec<Turn>,
    /// The conversation of this chain.
    session: Option<u32>,
    /// Slots of an earlier generation are empty.
    generation: u32,
    /// The first id of the last chain.
    head: u32,
    /// The id before, in this chain.
    previous: Option<u32>,
    /// One more than the highest id so far.
    next_new: u32,
}

#[derive(Clone, Copy, Default)]
struct Slot {
    generation: u32,
    id: u32,
    successor: u32,
}

#[derive(Clone, Copy, Default)]
struct Turn {
    session: u32,
    slot: Slot,
}

const SLOT_BITS: u32 = 16;
const TURN_BITS: u32 = 13;

impl Predictor {
    pub(super) fn new() -> Self {
        Self {
            slots: vec![Slot::default(); 1 << SLOT_BITS],
            turns: vec![Turn::default(); 1 << TURN_BITS],
            session: None,
            generation: 0,
            head: 0,
            previous: None,
            next_new: 0,
        }
    }

    /// Forgets everything.
    pub(super) fn restart(&mut self, next_new: u32) {
        match self.generation.checked_add(1) {
            Some(generation) => self.generation = generation,
            None => {
                *self = Self {
                    generation: 1,
                    ..Self::new()
                }
            }
        }
        self.head = next_new;
        self.previous = None;
        self.next_new = next_new;
    }

    pub(super) fn next_new(&self) -> u32 {
        self.next_new
    }

    pub(super) fn begin_chain(&mut self, session: Option<u32>) {
        self.previous = None;
        self.session = session;
    }

    #[inline]
    pub(super) fn guess(&self) -> u32 {
        match self.previous {
            None => self.head,
            Some(id) => match self.slots.get(slot_of(id)) {
                Some(slot) if slot.generation == self.generation && slot.id == id => {
                    self.in_session(id).unwrap_or(slot.successor)
                }
                _ => id.wrapping_add(1),
            },
        }
    }

    /// What followed an id in this conversation.
    fn in_session(&self, id: u32) -> Option<u32> {
        let session = self.session?;
        let turn = self.turns.get(turn_of(id, session))?;
        let slot = turn.slot;
        let known = slot.generation == self.generation && slot.id == id && turn.session == session;
        known.then_some(slot.successor)
    }

    /// Learns what the next id was, after it was guessed right.
    #[inline]
    pub(super) fn right(&mut self, id: u32) {
        self.previous = Some(id);
        self.next_new = self.next_new.max(id.saturating_add(1));
    }

    /// Learns what the next id of this conversation was, where it had to be told once.
    fn learn_in_session(&mut self, previous: u32, id: u32) {
        let Some(session) = self.session else { return };
        if let Some(turn) = self.turns.get_mut(turn_of(previous, session)) {
            *turn = Turn {
                session,
                slot: Slot {
                    generation: self.generation,
                    id: previous,
                    successor: id,
                },
            };
        }
    }

    /// Learns what the next id was, after the guess was wrong.
    pub(super) fn wrong(&mut self, id: u32) {
        match self.previous {
            None => self.head = id,
            Some(previous) => {
                self.learn_in_session(previous, id);
                if let Some(slot) = self.slots.get_mut(slot_of(previous)) {
                    *slot = Slot {
                        generation: self.generation,
                        id: previous,
                        successor: id,
                    };
                }
            }
        }
        self.right(id);
    }
}

#[inline]
fn slot_of(id: u32) -> usize {
    (id.wrapping_mul(0x9e37_79b1) >> (32 - SLOT_BITS)) as usize
}

#[inline]
fn turn_of(id: u32, session: u32) -> usize {
    let mixed = id.wrapping_mul(0x9e37_79b1) ^ session.wrapping_mul(0x85eb_ca6b);
    (mixed >> (32 - TURN_BITS)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_generations_of_a_predictor_do_not_mix() {
        let mut predictor = Predictor::new();
        predictor.generation = u32::MAX - 1;
        for _ in 0..4 {
            predictor.restart(10);
            predictor.right(3);
            assert_eq!(predictor.guess(), 4);
            predictor.wrong(9);
            predictor.right(3);
            assert_eq!(predictor.guess(), 9);
        }
    }
}
