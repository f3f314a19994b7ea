//! What grows long, in pieces.

/// A vector that grows to the double up to [`PIECE`], and then by pieces of that size. As one piece it would be there twice at a time while
/// it grows, and what it leaves behind is of a size that nothing else has use for; the allocator gives it back to the system a second later.
pub(crate) struct Pieced<T> {
    /// The pieces before the last.
    full: Vec<Vec<T>>,
    last: Vec<T>,
}

/// Bytes of a piece.
const PIECE: usize = 64 << 10;

impl<T> Default for Pieced<T> {
    fn default() -> Self {
        Self {
            full: Vec::new(),
            last: Vec::new(),
        }
    }
}

impl<T> Pieced<T> {
    /// Items of a piece.
    const MOST: usize = match PIECE / size_of::<T>() {
        0 => 1,
        most => most,
    };

    pub(crate) fn push(&mut self, item: T) {
        self.make_room(1);
        self.last.push(item);
    }

    /// Room for some of so many more in the last piece; says for how many.
    fn make_room(&mut self, more: usize) -> usize {
        if self.last.len() >= Self::MOST {
            let next = Vec::with_capacity(Self::MOST);
            self.full.push(std::mem::replace(&mut self.last, next));
        }
        let (len, room) = (self.last.len(), self.last.capacity());
        let more = more.min(Self::MOST - len);
        if len + more > room {
            let wanted = (len + more).max(2 * room).min(Self::MOST);
            self.last.reserve_exact(wanted - len);
        }
        more
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> + Clone {
        self.full.iter().flatten().chain(&self.last)
    }

    pub(crate) fn len(&self) -> usize {
        self.full.len() * Self::MOST + self.last.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.last.is_empty()
    }

    /// Bytes that it holds.
    pub(crate) fn held_bytes(&self) -> usize {
        let items = self.full.len() * Self::MOST + self.last.capacity();
        items * size_of::<T>() + self.full.capacity() * size_of::<Vec<T>>()
    }
}

impl<T: Copy> Pieced<T> {
    pub(crate) fn extend_from_slice(&mut self, mut items: &[T]) {
        while !items.is_empty() {
            let (now, later) = items.split_at(self.make_room(items.len()));
            self.last.extend_from_slice(now);
            items = later;
        }
    }

    /// Whether it lies side by side.
    fn is_one_piece(&self) -> bool {
        self.full.is_empty()
    }

    /// All of it side by side: where it is not so already, in what is taken from `room`. Each piece is let go when it has been copied.
    pub(crate) fn into_whole(self, room: &mut Vec<T>) -> Vec<T> {
        if self.is_one_piece() {
            return self.last;
        }
        let mut whole = std::mem::take(room);
        whole.clear();
        if whole.capacity() < self.len() {
            whole = Vec::with_capacity(self.len());
        }
        for piece in self.full.into_iter().chain([self.last]) {
            whole.extend_from_slice(&piece);
        }
        whole
    }
}

impl<T> IntoIterator for Pieced<T> {
    type Item = T;
    type IntoIter =
        std::iter::Chain<std::iter::Flatten<std::vec::IntoIter<Vec<T>>>, std::vec::IntoIter<T>>;

    fn into_iter(self) -> Self::IntoIter {
        self.full.into_iter().flatten().chain(self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_came_in_whatever_parts_is_there_in_its_order(
            parts in proptest::collection::vec(0_usize..150_000, 0..6),
            singly in any::<bool>(),
        ) {
            let all: usize = parts.iter().sum();
            let items: Vec<u32> = (0..u32::try_from(all).unwrap()).collect();
            let (mut pieced, mut rest) = (Pieced::default(), &items[..]);
            for part in parts {
                let (now, later) = rest.split_at(part);
                match singly {
                    true => now.iter().for_each(|&item| pieced.push(item)),
                    false => pieced.extend_from_slice(now),
                }
                rest = later;
            }
            prop_assert_eq!(pieced.len(), items.len());
            prop_assert_eq!(pieced.is_empty(), items.is_empty());
            prop_assert!(pieced.iter().eq(&items));
            let pieces = pieced.full.iter().chain([&pieced.last]);
            prop_assert!(pieces.clone().all(|piece| piece.capacity() <= Pieced::<u32>::MOST));
            let held: usize = pieces.map(|piece| piece.capacity() * 4).sum();
            let places = pieced.full.capacity() * size_of::<Vec<u32>>();
            prop_assert_eq!(pieced.held_bytes(), held + places);
            let (side_by_side, mut room) = (pieced.is_one_piece(), vec![7; 3]);
            prop_assert_eq!(pieced.into_whole(&mut room), items);
            prop_assert_eq!(room.is_empty(), !side_by_side);
        }
    }

    #[test]
    fn what_is_larger_than_a_piece_has_one_of_its_own() {
        let mut pieced = Pieced::default();
        pieced.push([1_u8; PIECE + 1]);
        pieced.push([2; PIECE + 1]);
        assert_eq!((pieced.full.len(), pieced.len()), (1, 2));
        assert!(pieced.into_iter().map(|item| item[0]).eq([1, 2]));
    }
}
