//! Lists of a body, and the bound on what all of them hold: three bytes of JSON can ask for a hundred times as much memory.

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};

use crate::anonymise::MAX_PARTS;
use crate::pieced::Pieced;

/// What the lists of one body may take when read.
const MAX_BYTES: usize = 8 << 20;

/// What the lists of the body that is being read may still hold.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Room {
    items: usize,
    bytes: usize,
}

impl Room {
    const WHOLE: Self = Self {
        items: MAX_PARTS,
        bytes: MAX_BYTES,
    };
    const NONE: Self = Self { items: 0, bytes: 0 };

    /// What is left after so many more items, for which so many bytes were taken; none where that is too many.
    fn less(self, items: usize, bytes: usize) -> Self {
        match (self.items.checked_sub(items), self.bytes.checked_sub(bytes)) {
            (Some(items @ 1..), Some(bytes)) => Self { items, bytes },
            _ => Self::NONE,
        }
    }
}

thread_local! {
    /// Lists nest, and deserialising by derived code leaves no other way to hand a shared count down.
    static ROOM: Cell<Room> = const { Cell::new(Room::WHOLE) };
}

/// From here on this thread reads another body.
pub(super) fn begin() {
    ROOM.set(Room::WHOLE);
}

/// Whether the body was not read because its lists hold more than [`MAX_PARTS`] items, or take more than [`MAX_BYTES`], however nested.
pub(super) fn were_too_many() -> bool {
    ROOM.get() == Room::NONE
}

/// Takes room in the bound on the body that is being read.
///
/// # Errors
/// When there is none left.
fn take_room<E: Error>(items: usize, bytes: usize) -> Result<(), E> {
    let room = ROOM.get().less(items, bytes);
    ROOM.set(room);
    match room {
        Room::NONE => Err(E::custom("too many items")),
        _ => Ok(()),
    }
}

/// A list that takes part in the bound on a body.
pub(in crate::dialect) struct List<T>(Pieced<T>);

impl<T> Default for List<T> {
    fn default() -> Self {
        Self(Pieced::default())
    }
}

impl<T> List<T> {
    /// A lone item where a list may stand.
    ///
    /// # Errors
    /// As [`List::push`].
    pub(in crate::dialect) fn of<E: Error>(item: T) -> Result<Self, E> {
        let mut list = Self::default();
        list.push(item)?;
        Ok(list)
    }

    /// Reads the items of a list.
    pub(in crate::dialect) fn collect<'de, A: SeqAccess<'de>>(
        mut items: A,
    ) -> Result<Self, A::Error>
    where
        T: Deserialize<'de>,
    {
        let mut list = Self::default();
        while let Some(item) = items.next_element()? {
            list.push(item)?;
        }
        Ok(list)
    }

    /// One more item.
    ///
    /// # Errors
    /// When all lists of the body have too many.
    pub(in crate::dialect) fn push<E: Error>(&mut self, item: T) -> Result<(), E> {
        // What it takes, not what is in it: many lists of one item each are the dearest.
        let before = self.0.held_bytes();
        self.0.push(item);
        take_room(1, self.0.held_bytes() - before)
    }

    pub(in crate::dialect) fn iter(&self) -> impl Iterator<Item = &T> + Clone {
        self.0.iter()
    }

    pub(in crate::dialect) fn len(&self) -> usize {
        self.0.len()
    }

    pub(in crate::dialect) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<T> IntoIterator for List<T> {
    type Item = T;
    type IntoIter = <Pieced<T> as IntoIterator>::IntoIter;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Reader<T> {
            type Value = List<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<List<T>, A::Error> {
                List::collect(items)
            }
        }
        deserializer.deserialize_seq(Reader(PhantomData))
    }
}

/// Token ids, which may be as many as a prompt has: they count by what they take alone.
#[derive(Default)]
pub(in crate::dialect) struct Ids(Pieced<u32>);

impl Ids {
    /// One more, which the largest that there is stands for where it is larger.
    ///
    /// # Errors
    /// When all lists of the body take too much.
    pub(in crate::dialect) fn push<E: Error>(&mut self, id: u64) -> Result<(), E> {
        let before = self.0.held_bytes();
        self.0.push(u32::try_from(id).unwrap_or(u32::MAX));
        take_room(0, self.0.held_bytes() - before)
    }

    pub(in crate::dialect) fn iter(&self) -> impl Iterator<Item = &u32> {
        self.0.iter()
    }

    pub(in crate::dialect) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{OneOrMany, Refused, read};
    use super::*;

    #[test]
    fn lists_are_bounded_together_however_they_nest() {
        type Nested = List<List<u8>>;
        let nested = |inner: usize, outer: usize| {
            let inner = format!("[{}]", vec!["1"; inner].join(","));
            format!("[{}]", vec![inner; outer].join(","))
        };
        let body = nested(250, 250);
        let lists: Nested = read(body.as_bytes()).unwrap();
        assert_eq!(
            (lists.len(), lists.iter().next().unwrap().len()),
            (250, 250)
        );
        let refused = |body: &str| read::<Nested>(body.as_bytes()).err();
        assert_eq!(refused(&nested(300, 300)), Some(Refused::TooMany));
        assert_eq!(refused("[[1"), Some(Refused::Malformed));
        assert!(
            read::<Nested>(body.as_bytes()).is_ok(),
            "each body has its own"
        );
    }

    #[test]
    fn lists_are_bounded_by_what_they_take_too() {
        type Wide = List<[[u8; 32]; 8]>;
        let item = format!(
            "[{}]",
            vec![format!("[{}]", vec!["0"; 32].join(",")); 8].join(",")
        );
        let read = |items: usize| {
            let body = format!("[{}]", vec![&item[..]; items].join(","));
            read::<Wide>(body.as_bytes())
        };
        let most = MAX_BYTES / 256;
        assert!(most < MAX_PARTS);
        // But for the places of the pieces.
        assert_eq!(read(most - 300).unwrap().len(), most - 300);
        assert_eq!(read(most + 1).err(), Some(Refused::TooMany));
        // Lists of one item each take a list for each item, too.
        let nested = |items: usize| {
            let alone = format!("[{item}]");
            let body = format!("[{}]", vec![&alone[..]; items].join(","));
            super::super::read::<List<Wide>>(body.as_bytes())
        };
        let most = MAX_BYTES / (256 + size_of::<Wide>());
        assert!(2 * most < MAX_PARTS);
        assert_eq!(nested(most - 300).unwrap().len(), most - 300);
        assert_eq!(nested(most + 300).err(), Some(Refused::TooMany));
    }

    #[test]
    fn ids_are_bounded_by_what_they_take_alone() {
        let filled = |ids: usize| {
            begin();
            let mut filled = Ids::default();
            let pushed =
                (0..ids as u64).try_for_each(|id| filled.push::<serde::de::value::Error>(id << 20));
            (pushed.is_ok(), filled.iter().count(), were_too_many())
        };
        let most = MAX_BYTES / 4;
        // But for the places of the pieces.
        let fits = most - (16 << 10);
        assert!(fits > 10 * MAX_PARTS);
        assert_eq!(filled(fits), (true, fits, false));
        assert!(!filled(most + 1).0 && were_too_many());
    }

    #[test]
    fn a_chain_of_lone_items_counts_as_lists_do() {
        #[derive(serde::Deserialize)]
        struct Link<'a> {
            #[serde(borrow, default)]
            content: OneOrMany<'a, Link<'a>>,
        }
        let chain = format!("{}null{}", "{\"content\":".repeat(100), "}".repeat(100));
        let read = |chains: usize| {
            let body = format!("[{}]", vec![&chain[..]; chains].join(","));
            let links = read::<List<Link<'_>>>(body.as_bytes())?;
            Ok(links
                .iter()
                .filter(|link| matches!(link.content, OneOrMany::Many(_)))
                .count())
        };
        assert_eq!(read(500), Ok(500));
        assert_eq!(read(700), Err(Refused::TooMany));
    }
}
