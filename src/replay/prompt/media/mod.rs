//! Pictures and sound of the recorded size, and of no meaning.

mod adler;
mod jpeg;
mod noise;
mod png;
mod wav;

use std::collections::HashMap;

use serde::Serialize;

use crate::dialect::DraftMedia;
use crate::shape::{MediaKind, MediaPart, PictureFormat};

use jpeg::Jpeg;
use png::Png;
use wav::{SAMPLES_PER_S, wav};

/// What sets the load of a picture or a clip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub struct MediaShape {
    /// A picture, or sound; nothing else is made.
    pub kind: MediaKind,
    /// How a picture is coded: as a JPEG where that is what was recorded, else as a PNG.
    pub format: PictureFormat,
    /// Bytes of its file.
    pub bytes: u64,
    /// Width and height of a picture.
    pub pixels: (u32, u32),
}

impl MediaShape {
    /// The shape of a recorded part. What was only referred to, or is of a format that tells no pixels, is taken for an everyday one.
    pub fn of(part: &MediaPart) -> Self {
        let bytes = match (part.bytes, part.kind) {
            (0, MediaKind::Audio) => EVERYDAY_SOUND,
            (0, _) => EVERYDAY_PICTURE,
            (bytes, _) => bytes.min(MOST_BYTES),
        };
        let (width, height) = part.pixels.unwrap_or(EVERYDAY_PIXELS);
        Self {
            kind: part.kind,
            format: match (part.kind, part.format) {
                (MediaKind::Image, PictureFormat::Jpeg) => PictureFormat::Jpeg,
                (MediaKind::Image, _) => PictureFormat::Png,
                _ => PictureFormat::Other,
            },
            bytes,
            pixels: (width.clamp(1, MOST_SIDE), height.clamp(1, MOST_SIDE)),
        }
    }

    /// What its tokens go by: pixels, or bytes.
    pub(super) fn size(&self) -> u64 {
        match self.kind {
            MediaKind::Image => u64::from(self.pixels.0) * u64::from(self.pixels.1),
            _ => self.bytes,
        }
    }
}

/// Sides beyond are cut: engines refuse them.
const MOST_SIDE: u32 = 8192;
/// Bytes of a file beyond are cut.
const MOST_BYTES: u64 = 24 << 20;
const EVERYDAY_PIXELS: (u32, u32) = (768, 768);
const EVERYDAY_PICTURE: u64 = 128 << 10;
/// Five seconds.
const EVERYDAY_SOUND: u64 = 44 + 5 * 2 * SAMPLES_PER_S as u64;

/// Makes pictures and clips. The bulk of a picture is made once for each size and kept; its first row is its own, so that no
/// cache of an engine takes two for one.
///
/// Holds at most [`Studio::MOST_HELD`] bytes of bulks.
#[derive(Default)]
pub(in crate::replay) struct Studio {
    bulks: HashMap<MediaShape, Bulk>,
    held: usize,
}

/// What pictures of one shape have in common.
enum Bulk {
    Png(Png),
    Jpeg(Jpeg),
}

impl Bulk {
    fn of(shape: MediaShape) -> Self {
        match shape.format {
            PictureFormat::Jpeg => Self::Jpeg(Jpeg::of(shape)),
            _ => Self::Png(Png::of(shape)),
        }
    }

    fn file(&self, shape: MediaShape, seed: u64) -> Vec<u8> {
        match self {
            Self::Png(png) => png.file(shape, seed),
            Self::Jpeg(jpeg) => jpeg.file(shape, seed),
        }
    }

    /// Bytes of the heap that it holds.
    fn held_bytes(&self) -> usize {
        match self {
            Self::Png(png) => png.held_bytes(),
            Self::Jpeg(jpeg) => jpeg.held_bytes(),
        }
    }
}

impl Studio {
    const MOST_HELD: usize = 64 << 20;

    /// A picture or a clip for `message`, the same for the same seed; `None` for what is not made (video, documents).
    pub(in crate::replay) fn make(
        &mut self,
        message: usize,
        part: &MediaPart,
        seed: u64,
    ) -> Option<DraftMedia> {
        let shape = MediaShape::of(part);
        self.make_shape(message, shape, seed)
    }

    /// The same for a shape.
    pub(in crate::replay) fn make_shape(
        &mut self,
        message: usize,
        shape: MediaShape,
        seed: u64,
    ) -> Option<DraftMedia> {
        let file = match shape.kind {
            MediaKind::Image => self.picture(shape, seed),
            MediaKind::Audio => wav(shape.bytes, seed),
            _ => return None,
        };
        Some(DraftMedia {
            message,
            kind: shape.kind,
            base64: base64(&file),
        })
    }

    /// A picture of exactly the pixels, and of the bytes where those are enough for a flat one.
    fn picture(&mut self, shape: MediaShape, seed: u64) -> Vec<u8> {
        if let Some(bulk) = self.bulks.get(&shape) {
            return bulk.file(shape, seed);
        }
        let bulk = Bulk::of(shape);
        let file = bulk.file(shape, seed);
        if self.held + bulk.held_bytes() > Self::MOST_HELD {
            self.bulks.clear();
            self.held = 0;
        }
        self.held += bulk.held_bytes();
        self.bulks.insert(shape, bulk);
        file
    }
}

/// Base64 with padding (RFC 4648, section 4).
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    let digit = |word: u32, shift: u32| {
        let place = (word >> shift & 63) as usize;
        char::from(DIGITS.get(place).copied().unwrap_or(b'A'))
    };
    for three in bytes.chunks(3) {
        let byte = |place: usize| u32::from(three.get(place).copied().unwrap_or(0));
        let word = byte(0) << 16 | byte(1) << 8 | byte(2);
        text.push(digit(word, 18));
        text.push(digit(word, 12));
        text.push(if three.len() > 1 { digit(word, 6) } else { '=' });
        text.push(if three.len() > 2 { digit(word, 0) } else { '=' });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_pictures_of_one_size_differ_and_the_same_one_comes_again() {
        let mut studio = Studio::default();
        let part = MediaPart {
            message: 0,
            kind: MediaKind::Image,
            format: PictureFormat::Png,
            bytes: 5000,
            pixels: Some((64, 64)),
        };
        let mut make = |seed| studio.make(0, &part, seed).unwrap().base64;
        assert_eq!(make(1 << 40), make(1 << 40));
        assert_ne!(make(1 << 40), make(2 << 40));
        assert_eq!(studio.bulks.len(), 1);
    }

    #[test]
    fn base64_pads() {
        assert_eq!(
            ["", "f", "fo", "foo", "foob"].map(|text| base64(text.as_bytes())),
            ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg=="]
        );
    }
}
