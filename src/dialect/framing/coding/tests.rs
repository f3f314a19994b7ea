use super::*;
use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

const TEXT: &[u8] = b"data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\ndata: [DONE]\n\n";
/// `TEXT` as the reference encoder of Brotli writes it, in two flushes.
const BROTLI: &[u8] = include_bytes!("../../../../fixtures/http/chat_stream.br");

fn encoders() -> Vec<(Coding, Vec<u8>, usize)> {
    let (head, tail) = TEXT.split_at(20);
    macro_rules! flushed {
        ($encoder:expr) => {{
            let mut encoder = $encoder;
            encoder.write_all(head).unwrap();
            encoder.flush().unwrap();
            let first = encoder.get_ref().len();
            encoder.write_all(tail).unwrap();
            (encoder.finish().unwrap(), first)
        }};
    }
    let best = Compression::best();
    let (gzip, gzip_at) = flushed!(GzEncoder::new(Vec::new(), best));
    let (zlib, zlib_at) = flushed!(ZlibEncoder::new(Vec::new(), best));
    let (raw, raw_at) = flushed!(DeflateEncoder::new(Vec::new(), best));
    let (zstd, zstd_at) = flushed!(zstd::Encoder::new(Vec::new(), 3).unwrap());
    vec![
        (Coding::Gzip, gzip, gzip_at),
        (Coding::Deflate, zlib, zlib_at),
        (Coding::Deflate, raw, raw_at),
        (Coding::Zstd, zstd, zstd_at),
    ]
}

fn decode(coding: Coding, pieces: &[&[u8]], most: u64) -> Result<Vec<u8>, Undecodable> {
    let mut decoder = Decoder::new(coding, most).unwrap();
    let mut plain = Vec::new();
    for piece in pieces {
        decoder.feed(piece, |bytes| plain.extend_from_slice(bytes))?;
    }
    Ok(plain)
}

#[test]
fn bodies_are_decoded_wherever_they_are_cut() {
    let mut all: Vec<_> = encoders()
        .into_iter()
        .map(|(coding, body, _)| (coding, body))
        .collect();
    all.push((Coding::Brotli, BROTLI.to_vec()));
    for (coding, body) in all {
        for cut in 0..=body.len() {
            let (head, tail) = body.split_at(cut);
            let plain = decode(coding, &[head, tail], 1 << 20).unwrap();
            assert_eq!(plain, TEXT, "{coding:?} cut at {cut}");
        }
        let bytes: Vec<&[u8]> = body.chunks(1).collect();
        assert_eq!(decode(coding, &bytes, 1 << 20).unwrap(), TEXT, "{coding:?}");
    }
}

#[test]
fn what_was_flushed_is_read_before_the_rest_comes() {
    for (coding, body, first) in encoders() {
        let plain = decode(coding, &[&body[..first]], 1 << 20).unwrap();
        assert_eq!(plain, &TEXT[..20], "{coding:?}");
    }
    let mut decoder = Decoder::new(Coding::Brotli, 1 << 20).unwrap();
    let mut seen = Vec::new();
    for byte in BROTLI.chunks(1) {
        let mut now = Vec::new();
        decoder
            .feed(byte, |bytes| now.extend_from_slice(bytes))
            .unwrap();
        seen.extend((!now.is_empty()).then_some(now.len()));
    }
    assert!(seen.len() > 1, "it came at once: {seen:?}");
}

#[test]
fn bombs_are_put_out() {
    let zeros = vec![0; 32 << 20];
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(&zeros).unwrap();
    let gzip = gzip.finish().unwrap();
    let zstd = zstd::encode_all(&zeros[..], 19).unwrap();
    for (coding, body) in [(Coding::Gzip, gzip), (Coding::Zstd, zstd)] {
        assert!(body.len() < 64 << 10);
        let mut given = 0;
        let mut decoder = Decoder::new(coding, u64::MAX).unwrap();
        let refused = decoder.feed(&body, |bytes| given += bytes.len());
        assert_eq!(refused, Err(Undecodable::TooLarge), "{coding:?}");
        let bound = SLACK + MOST_GROWTH * body.len() as u64;
        assert!(given as u64 <= bound, "{given} of {}", body.len());
    }
    let (coding, body, _) = encoders().swap_remove(0);
    let bound = TEXT.len() as u64;
    assert_eq!(decode(coding, &[&body], bound).unwrap(), TEXT);
    assert_eq!(
        decode(coding, &[&body], bound - 1),
        Err(Undecodable::TooLarge)
    );
}

#[test]
fn nonsense_is_refused() {
    for coding in [Coding::Gzip, Coding::Deflate, Coding::Brotli, Coding::Zstd] {
        let nonsense = [0xff; 64];
        let refused = decode(coding, &[&nonsense], 1 << 20);
        assert_eq!(refused, Err(Undecodable::Malformed), "{coding:?}");
    }
}

#[test]
fn codings_are_known_by_their_names() {
    for (value, coded) in [
        ("", Coded::Plain),
        ("identity", Coded::Plain),
        ("GZIP", Coded::By(Coding::Gzip)),
        ("x-gzip", Coded::By(Coding::Gzip)),
        (" br ", Coded::By(Coding::Brotli)),
        ("zstd", Coded::By(Coding::Zstd)),
        ("deflate", Coded::By(Coding::Deflate)),
        ("gzip, br", Coded::Unknown),
        ("aes128gcm", Coded::Unknown),
    ] {
        assert_eq!(Coded::named(value), coded, "{value}");
    }
}

#[test]
fn a_window_weighs_what_its_first_byte_asks_for() {
    let logs = [0x00, 0x01, 0x03, 0x0f, 0x71].map(|first| brotli_window(first).ilog2());
    assert_eq!(logs, [16, 17, 18, 24, 15]);
    assert!(Decoder::new(Coding::Zstd, 1).unwrap().held_bytes() > EVERYDAY);
}
