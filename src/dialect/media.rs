//! Sizes of pictures and clips as they stand in request bodies. Nothing is decoded but the first bytes of a picture.

use crate::shape::{PictureFormat, PictureHead};

/// Decoded bytes of base64 text: what its length and padding say.
pub(super) fn base64_bytes(text: &str) -> u64 {
    let digits = text
        .trim_end_matches('=')
        .bytes()
        .filter(|byte| !byte.is_ascii_whitespace())
        .count();
    digits as u64 * 3 / 4
}

/// The base64 payload of a `data:` URL; `None` for any other URL.
pub(super) fn data_url(url: &str) -> Option<&str> {
    let rest = url
        .get(..5)
        .filter(|scheme| scheme.eq_ignore_ascii_case("data:"))
        .and(url.get(5..))?;
    rest.split_once(',').map(|(_, payload)| payload)
}

/// What the header of a PNG, GIF, JPEG or WebP picture in base64 tells.
pub(super) fn picture(base64: &str) -> Option<PictureHead> {
    type Reader = fn(&[u8]) -> Option<(u32, u32)>;
    let readers: [(PictureFormat, Reader); 4] = [
        (PictureFormat::Png, png),
        (PictureFormat::Gif, gif),
        (PictureFormat::Webp, webp),
        (PictureFormat::Jpeg, jpeg),
    ];
    let head = decode(base64.as_bytes().get(..PEEK.min(base64.len()))?);
    readers.into_iter().find_map(|(format, read)| {
        let pixels = read(&head)?;
        Some(PictureHead { format, pixels })
    })
}

fn png(head: &[u8]) -> Option<(u32, u32)> {
    head.starts_with(b"\x89PNG\r\n\x1a\n").then_some(())?;
    Some((big_endian(head.get(16..20)?), big_endian(head.get(20..24)?)))
}

fn gif(head: &[u8]) -> Option<(u32, u32)> {
    (head.starts_with(b"GIF87a") || head.starts_with(b"GIF89a")).then_some(())?;
    Some((
        little_endian(head.get(6..8)?),
        little_endian(head.get(8..10)?),
    ))
}

fn webp(head: &[u8]) -> Option<(u32, u32)> {
    (head.starts_with(b"RIFF") && head.get(8..12)? == b"WEBP").then_some(())?;
    match head.get(12..16)? {
        b"VP8X" => Some((
            little_endian(head.get(24..27)?) + 1,
            little_endian(head.get(27..30)?) + 1,
        )),
        b"VP8 " => Some((
            little_endian(head.get(26..28)?) & 0x3fff,
            little_endian(head.get(28..30)?) & 0x3fff,
        )),
        b"VP8L" => {
            let bits = little_endian(head.get(21..25)?);
            Some(((bits & 0x3fff) + 1, (bits >> 14 & 0x3fff) + 1))
        }
        _ => None,
    }
}

/// Walks the segments to the frame header, which a large thumbnail may put beyond what is peeked at.
fn jpeg(head: &[u8]) -> Option<(u32, u32)> {
    head.starts_with(b"\xff\xd8").then_some(())?;
    let mut at = 2;
    loop {
        let (&marker, rest) = (head.get(at + 1)?, head.get(at + 2..)?);
        if *head.get(at)? != 0xff {
            return None;
        }
        let is_frame = matches!(marker, 0xc0..=0xcf) && !matches!(marker, 0xc4 | 0xc8 | 0xcc);
        if is_frame {
            return Some((big_endian(rest.get(5..7)?), big_endian(rest.get(3..5)?)));
        }
        let length = big_endian(rest.get(..2)?) as usize;
        at += 2 + length.max(2);
    }
}

fn big_endian(bytes: &[u8]) -> u32 {
    bytes
        .iter()
        .fold(0, |value, &byte| value << 8 | u32::from(byte))
}

fn little_endian(bytes: &[u8]) -> u32 {
    bytes
        .iter()
        .rev()
        .fold(0, |value, &byte| value << 8 | u32::from(byte))
}

/// Lenient: stops at the first byte that is no digit.
fn decode(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    let (mut word, mut bits) = (0_u32, 0);
    for &digit in text {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => break,
        };
        word = word << 6 | u32::from(value);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((word >> bits & 0xff) as u8);
        }
    }
    bytes
}

/// Base64 digits looked at: 48 KiB of picture.
const PEEK: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_come_from_headers() {
        let png = "iVBORw0KGgoAAAANSUhEUgAAABgAAAAQCAIAAACDRijCAAAAEklEQVR4nGOoJwAYRhUMTQUAWD+R4Sp6dgUAAAAASUVORK5CYII=";
        let tells = |format, pixels| Some(PictureHead { format, pixels });
        assert_eq!(picture(png), tells(PictureFormat::Png, (24, 16)));
        assert_eq!(base64_bytes(png), 74);
        let gif = "R0lGODlhAgADAIAAAP";
        assert_eq!(picture(gif), tells(PictureFormat::Gif, (2, 3)));
        let jpeg = "/9j/4AAQSkZJRgABAQAAAQABAAD/wAALCAAFAAcBAREA";
        assert_eq!(picture(jpeg), tells(PictureFormat::Jpeg, (7, 5)));
        for nonsense in ["", "====", "iVBORw0KGgo", "/9j/", "🦀🦀🦀", "UklGRg"] {
            assert_eq!(picture(nonsense), None, "{nonsense}");
        }
        assert_eq!(data_url("data:image/png;base64,AAAA"), Some("AAAA"));
        assert_eq!(data_url("https://example.org/a.png"), None);
    }
}
