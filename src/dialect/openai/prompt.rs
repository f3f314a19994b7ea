//! Prompts without roles, as texts or token ids: of completions and embeddings, and of those who took their form over.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::anonymise::PromptRender;
use crate::dialect::Draft;
use crate::dialect::draft::join;
use crate::dialect::json::{Ids, List, Text};
use crate::shape::Role;

use std::fmt;

use serde::de::{Deserializer, Error, SeqAccess, Visitor};

/// A string, strings, token ids, or lists of token ids.
#[derive(Default)]
pub(in crate::dialect) struct Prompt<'a> {
    texts: List<Text<'a>>,
    ids: List<Ids>,
}

impl Prompt<'_> {
    /// Each a message of its own.
    pub(in crate::dialect) fn render(&self, render: &mut PromptRender) {
        for text in self.texts.iter() {
            render.message(Role::User);
            render.text(text.bytes());
        }
        for ids in self.ids.iter() {
            render.message(Role::User);
            ids.iter().for_each(|id| render.text(&id.to_le_bytes()));
        }
    }

    /// Whether it came as token ids.
    pub(in crate::dialect) fn is_ids(&self) -> bool {
        !self.ids.is_empty()
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Prompt<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Prompt<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, a list of strings, token ids, or lists of token ids")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Prompt {
                    texts: List::of(Text(text.into()))?,
                    ids: List::default(),
                })
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Prompt {
                    texts: List::of(Text(text.to_owned().into()))?,
                    ids: List::default(),
                })
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
                let mut prompt = Prompt::default();
                let mut flat = Ids::default();
                while let Some(item) = items.next_element::<Item<'de>>()? {
                    match item {
                        Item::Id(id) => flat.push(id)?,
                        Item::Text(text) => prompt.texts.push(text)?,
                        Item::Ids(ids) => prompt.ids.push(ids)?,
                    }
                }
                if !flat.is_empty() {
                    prompt.ids.push(flat)?;
                }
                Ok(prompt)
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

enum Item<'a> {
    Text(Text<'a>),
    Id(u64),
    Ids(Ids),
}

impl<'de: 'a, 'a> Deserialize<'de> for Item<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Item<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, a token id, or a list of token ids")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Item::Text(Text(text.into())))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Item::Text(Text(text.to_owned().into())))
            }

            fn visit_u64<E>(self, id: u64) -> Result<Self::Value, E> {
                Ok(Item::Id(id))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
                let mut ids = Ids::default();
                while let Some(id) = items.next_element()? {
                    ids.push(id)?;
                }
                Ok(Item::Ids(ids))
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

#[derive(Serialize)]
#[serde(untagged)]
pub(in crate::dialect) enum Prompts<'a> {
    One(Cow<'a, str>),
    Many(Vec<&'a str>),
    Ids(&'a [u32]),
    ManyIds(&'a [Vec<u32>]),
}

impl<'a> Prompts<'a> {
    pub(in crate::dialect) fn of(draft: &Draft<'a>) -> Self {
        match (draft.ids, draft.messages) {
            (Some([ids]), _) => Self::Ids(ids),
            (Some(many), _) => Self::ManyIds(many),
            (None, many @ [_, _, ..]) if draft.batch => {
                Self::Many(many.iter().map(|(_, text)| text.as_str()).collect())
            }
            (None, messages) => Self::One(join(messages)),
        }
    }
}
