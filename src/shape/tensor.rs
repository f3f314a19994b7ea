use std::fmt;

use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One input tensor: what it is made of and how large it is, and not its name, which is free text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TensorShape {
    /// Index of the message that its data are.
    pub message: u16,
    /// What it is made of.
    pub datatype: TensorType,
    /// How many elements it has each way; `None` where that was not told, or is more than [`Dimensions`] hold.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub dimensions: Option<Dimensions>,
}

impl TensorShape {
    /// How many items it counts as where lists are bounded: it takes more room than any other item.
    pub const ITEMS: usize = 2;
}

/// What a tensor is made of, in KServe v2's words and Triton's `BF16`.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TensorType {
    /// Any other word, or none.
    #[default]
    Other,
    /// `BOOL`
    Bool,
    /// `UINT8`
    Uint8,
    /// `UINT16`
    Uint16,
    /// `UINT32`
    Uint32,
    /// `UINT64`
    Uint64,
    /// `INT8`
    Int8,
    /// `INT16`
    Int16,
    /// `INT32`
    Int32,
    /// `INT64`
    Int64,
    /// `FP16`
    Fp16,
    /// `BF16`
    Bf16,
    /// `FP32`
    Fp32,
    /// `FP64`
    Fp64,
    /// `BYTES`: texts, or anything else with a length of its own.
    Bytes,
}

impl TensorType {
    /// Every type, in the order of their codes in the trace file.
    pub const ALL: [Self; 15] = [
        Self::Other,
        Self::Bool,
        Self::Uint8,
        Self::Uint16,
        Self::Uint32,
        Self::Uint64,
        Self::Int8,
        Self::Int16,
        Self::Int32,
        Self::Int64,
        Self::Fp16,
        Self::Bf16,
        Self::Fp32,
        Self::Fp64,
        Self::Bytes,
    ];
}

/// The dimensions of a tensor, outermost first; none for a single element. They take the same room however many they are, so that
/// nothing but the number of tensors has to be bounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Dimensions {
    rank: u8,
    /// Zeros from `rank` on.
    sizes: [u32; Self::MOST],
}

impl Dimensions {
    /// How many there can be: as many as TensorRT takes (`nvinfer1::Dims::MAX_DIMS`).
    pub const MOST: usize = 8;

    /// These; `None` where they are too many.
    pub fn of(sizes: impl IntoIterator<Item = u32>) -> Option<Self> {
        let mut dimensions = Self::default();
        sizes
            .into_iter()
            .try_for_each(|size| dimensions.push(size))?;
        Some(dimensions)
    }

    /// Adds the next one inwards; `None` where it is one too many.
    pub fn push(&mut self, size: u32) -> Option<()> {
        *self.sizes.get_mut(usize::from(self.rank))? = size;
        self.rank += 1;
        Some(())
    }

    /// Elements along each.
    pub fn sizes(&self) -> &[u32] {
        self.sizes.get(..usize::from(self.rank)).unwrap_or_default()
    }

    /// The same, to change.
    pub fn sizes_mut(&mut self) -> &mut [u32] {
        self.sizes
            .get_mut(..usize::from(self.rank))
            .unwrap_or_default()
    }
}

impl Serialize for Dimensions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.sizes().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Dimensions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Sizes;
        impl<'de> Visitor<'de> for Sizes {
            type Value = Dimensions;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "at most {} dimensions", Dimensions::MOST)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut sizes: A) -> Result<Dimensions, A::Error> {
                let mut dimensions = Dimensions::default();
                while let Some(size) = sizes.next_element()? {
                    dimensions
                        .push(size)
                        .ok_or_else(|| A::Error::invalid_length(Dimensions::MOST + 1, &self))?;
                }
                Ok(dimensions)
            }
        }
        deserializer.deserialize_seq(Sizes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dimensions_are_a_list_of_so_many_at_most() {
        for (json, sizes) in [
            ("[]", Some([].as_slice())),
            ("[1,0,4294967295]", Some(&[1, 0, u32::MAX])),
            ("[1,2,3,4,5,6,7,8]", Some(&[1, 2, 3, 4, 5, 6, 7, 8])),
            ("[1,2,3,4,5,6,7,8,9]", None),
            ("[4294967296]", None),
            ("[-1]", None),
            ("[1.5]", None),
            ("7", None),
        ] {
            let read = serde_json::from_str::<Dimensions>(json).ok();
            assert_eq!(read.as_ref().map(Dimensions::sizes), sizes, "{json}");
            if let Some(read) = read {
                assert_eq!(serde_json::to_string(&read).unwrap(), json);
                assert_eq!(Dimensions::of(read.sizes().iter().copied()), Some(read));
            }
        }
    }
}
