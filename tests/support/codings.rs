//! The content codings that a recorder undoes to read what is under them (RFC 9110, 8.4.1).

use std::io::Write;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};

/// A coding.
#[derive(Debug, Clone, Copy)]
pub enum Coding {
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

impl Coding {
    pub const ALL: [Self; 4] = [Self::Gzip, Self::Deflate, Self::Brotli, Self::Zstd];

    pub fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|coding| coding.name() == name)
    }

    /// The header that says so.
    pub fn header(self) -> String {
        format!("Content-Encoding: {}\r\n", self.name())
    }

    pub fn encode(self, plain: &[u8]) -> Vec<u8> {
        match self {
            Self::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
                encoder.write_all(plain).unwrap();
                encoder.finish().unwrap()
            }
            Self::Deflate => {
                let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
                encoder.write_all(plain).unwrap();
                encoder.finish().unwrap()
            }
            Self::Brotli => stored_in_brotli(plain),
            Self::Zstd => zstd::encode_all(plain, 3).unwrap(),
        }
    }
}

/// Nothing here compresses to Brotli, which need not compress: meta-blocks may hold bytes as they are (RFC 7932, 9.2).
fn stored_in_brotli(plain: &[u8]) -> Vec<u8> {
    let mut stream = Vec::new();
    for (number, block) in plain.chunks(1 << 16).enumerate() {
        // From the lowest bit: a window of 64 KiB, told once; not the last; 4 nibbles of length less 1; not compressed.
        let length = u32::try_from(block.len() - 1).unwrap();
        let bits = match number {
            0 => length << 4 | 1 << 20,
            _ => length << 3 | 1 << 19,
        };
        stream.extend_from_slice(&bits.to_le_bytes()[..3]);
        stream.extend_from_slice(block);
    }
    // The last, and empty.
    stream.push(3);
    stream
}
