use serde::{Deserialize, Serialize};

use super::block::Terms;
use super::seal::Envelope;
use crate::anonymise::Policy;
use crate::shape::BlockSpec;

/// The format's major version: readers refuse a larger one.
pub const FORMAT_MAJOR: u16 = 1;
/// The format's minor version: readers skip what they do not know of a larger one.
pub const FORMAT_MINOR: u16 = 1;

/// The first bytes of every trace, in the manner of PNG: a byte no text starts with, the name, both line ends and the end
/// mark of old systems, so that every usual mangling shows.
pub(super) const MAGIC: [u8; 8] = *b"\x89RNT\r\n\x1a\n";

/// Bytes before the header document: magic, versions, length.
pub(super) const PREAMBLE: usize = 16;

/// The longest header document that a reader accepts.
pub(super) const MAX_DOCUMENT: u32 = 1 << 20;

/// What a trace says about itself at its start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// Version of the tool that wrote it.
    pub tool: String,
    /// Where its exchanges come from.
    pub source: Source,
    /// What one block of a prompt chain covers; absent where the trace has no chains.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block: Option<BlockSpec>,
    /// Wall-clock instant of the epoch in microseconds since 1970, only where asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch_unix_us: Option<u64>,
    /// Random number shared by the files of one recorder run, so that rotated files join up.
    pub run: u64,
    /// Share of sessions recorded, in millionths.
    #[serde(default = "everything")]
    pub sample_ppm: u32,
    /// What the anonymiser kept and dropped; absent where there was none (imported traces).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<Policy>,
    /// The key of sealed blocks, wrapped; absent where blocks are in clear. The writer makes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub envelope: Option<Envelope>,
}

fn everything() -> u32 {
    1_000_000
}

/// Where a trace's exchanges come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Source {
    /// `reenact record`.
    Recorded,
    /// Mooncake JSON lines.
    Mooncake,
    /// Azure CSV.
    Azure,
    /// Mooncake's JSON lines with AIPerf's additions.
    Aiperf,
    /// JSON lines of Qwen-Bailian.
    Bailian,
    /// BurstGPT CSV.
    Burstgpt,
    /// JSON sessions of kv-cache-tester (Weka).
    Weka,
    /// Baseten Parquet.
    Baseten,
    /// Dynamo's request trace.
    Dynamo,
    /// Datasets of `vllm bench serve`.
    Vllm,
    /// JSON lines of evalscope.
    Evalscope,
    /// Our own JSON lines, from a writer that did not say where it had them from.
    Jsonl,
    /// A source that this version does not know.
    #[serde(other)]
    Other,
}

impl Source {
    const ALL: [Self; 13] = [
        Self::Recorded,
        Self::Mooncake,
        Self::Azure,
        Self::Aiperf,
        Self::Bailian,
        Self::Burstgpt,
        Self::Weka,
        Self::Baseten,
        Self::Dynamo,
        Self::Vllm,
        Self::Evalscope,
        Self::Jsonl,
        Self::Other,
    ];

    /// The source of this name; that of none is elsewhere.
    pub fn titled(title: &str) -> Self {
        let mut all = Self::ALL.into_iter();
        all.find(|source| source.title() == title)
            .unwrap_or(Self::Other)
    }

    /// The source's name, as people write it.
    pub fn title(self) -> &'static str {
        match self {
            Self::Recorded => "reenact record",
            Self::Mooncake => "Mooncake",
            Self::Azure => "Azure",
            Self::Aiperf => "AIPerf",
            Self::Bailian => "Qwen-Bailian",
            Self::Burstgpt => "BurstGPT",
            Self::Weka => "Weka",
            Self::Baseten => "Baseten",
            Self::Dynamo => "Dynamo",
            Self::Vllm => "vLLM",
            Self::Evalscope => "evalscope",
            Self::Jsonl => "JSON lines",
            Self::Other => "elsewhere",
        }
    }
}

/// Why the start of a file is not a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotAHeader {
    Empty,
    Foreign(&'static str),
    LineEnds,
    Newer(u16),
    Torn,
    Bad(&'static str),
}

impl Header {
    /// What its file's blocks are read by.
    pub(super) fn terms(&self) -> Terms {
        Terms {
            spec: self.block,
            seal: self.envelope.as_ref().map(Envelope::id),
        }
    }

    /// The bytes that open a file: preamble, document, checksum.
    pub(super) fn encode(&self) -> Vec<u8> {
        // Plain data into a Vec: neither the types nor the writer can fail.
        let document = rmp_serde::to_vec_named(self).unwrap_or_default();
        let len = u32::try_from(document.len()).unwrap_or(u32::MAX);
        let mut out = Vec::with_capacity(PREAMBLE + document.len() + 4);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&FORMAT_MAJOR.to_le_bytes());
        out.extend_from_slice(&FORMAT_MINOR.to_le_bytes());
        out.extend_from_slice(&len.to_le_bytes());
        out.extend_from_slice(&document);
        out.extend_from_slice(&crc32c::crc32c(&out).to_le_bytes());
        out
    }

    /// Reads the bytes that open a file. Returns the header and where the blocks begin.
    pub(super) fn decode(start: &[u8]) -> Result<(Self, u64), NotAHeader> {
        let (_, major, len) = preamble(start)?;
        if major > FORMAT_MAJOR {
            return Err(NotAHeader::Newer(major));
        }
        let end = PREAMBLE + len as usize;
        let (Some(covered), Some(document), Some(sum)) = (
            start.get(..end),
            start.get(PREAMBLE..end),
            start.get(end..).and_then(|rest| rest.first_chunk::<4>()),
        ) else {
            return Err(NotAHeader::Torn);
        };
        if crc32c::crc32c(covered) != u32::from_le_bytes(*sum) {
            return Err(NotAHeader::Bad("it does not match its checksum"));
        }
        let header = rmp_serde::from_slice(document)
            .map_err(|_| NotAHeader::Bad("its document does not read"))?;
        Ok((header, end as u64 + 4))
    }

    /// How many bytes from the start of a file [`Self::decode`] needs, given its first [`PREAMBLE`].
    pub(super) fn extent(start: &[u8]) -> Result<usize, NotAHeader> {
        let (_, _, len) = preamble(start)?;
        Ok(PREAMBLE + len as usize + 4)
    }
}

fn preamble(start: &[u8]) -> Result<(u16, u16, u32), NotAHeader> {
    if start.is_empty() {
        return Err(NotAHeader::Empty);
    }
    let seen = start.get(..MAGIC.len()).unwrap_or(start);
    if !MAGIC.starts_with(seen) {
        return Err(
            if seen.starts_with(b"\x89RNT\n") || seen.starts_with(b"\x89RNT\r\r") {
                NotAHeader::LineEnds
            } else {
                NotAHeader::Foreign(looks_like(start))
            },
        );
    }
    let Some(&[a, b, c, d, e, f, g, h]) = start.get(MAGIC.len()..PREAMBLE) else {
        return Err(NotAHeader::Torn);
    };
    let len = u32::from_le_bytes([e, f, g, h]);
    if len > MAX_DOCUMENT {
        return Err(NotAHeader::Bad("its length is out of range"));
    }
    let minor = u16::from_le_bytes([c, d]);
    Ok((minor, u16::from_le_bytes([a, b]), len))
}

fn looks_like(start: &[u8]) -> &'static str {
    match start {
        [0x1f, 0x8b, ..] => "is gzip-compressed",
        [0x28, 0xb5, 0x2f, 0xfd, ..] => "is zstd-compressed",
        [b'P', b'A', b'R', b'1', ..] => "is a Parquet file",
        [b'{' | b'[', ..] => "looks like JSON",
        _ if start
            .iter()
            .all(|b| b.is_ascii_graphic() || b.is_ascii_whitespace()) =>
        {
            "looks like text"
        }
        _ => "begins with other bytes than a trace does",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::anonymise::Lengths;

    fn header() -> Header {
        Header {
            tool: "0.1.0".into(),
            source: Source::Recorded,
            block: Some(BlockSpec::LIVE),
            epoch_unix_us: None,
            run: u64::MAX,
            sample_ppm: 50_000,
            policy: None,
            envelope: None,
        }
    }

    #[test]
    fn a_header_reads_back() {
        let with_policy = Header {
            policy: Some(Policy {
                keep_models: ["llama".to_owned()].into(),
                lengths: Lengths::Steps(16),
                ..Policy::default()
            }),
            ..header()
        };
        for header in [header(), with_policy] {
            let bytes = header.encode();
            assert_eq!(Header::extent(&bytes), Ok(bytes.len()));
            assert_eq!(
                Header::decode(&bytes),
                Ok((header.clone(), bytes.len() as u64))
            );
        }
    }

    #[test]
    fn a_header_cut_or_flipped_anywhere_is_refused() {
        let bytes = header().encode();
        for len in 0..bytes.len() {
            assert!(Header::decode(&bytes[..len]).is_err(), "cut at {len}");
        }
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x10;
            assert!(Header::decode(&flipped).is_err(), "flipped at {at}");
        }
    }

    #[test]
    fn each_wrong_start_says_what_it_is() {
        let decode = |bytes: &[u8]| Header::decode(bytes).unwrap_err();
        assert_eq!(decode(b""), NotAHeader::Empty);
        assert_eq!(decode(b"\x89RNT\n\x1a\n....."), NotAHeader::LineEnds);
        assert_eq!(
            decode(b"{\"timestamp\": 0}"),
            NotAHeader::Foreign("looks like JSON")
        );
        assert_eq!(
            decode(b"TIMESTAMP,Conte"),
            NotAHeader::Foreign("looks like text")
        );
        assert_eq!(
            decode(b"\x1f\x8b\x08"),
            NotAHeader::Foreign("is gzip-compressed")
        );
        let mut newer = header().encode();
        newer[8] = 9;
        assert_eq!(decode(&newer), NotAHeader::Newer(9));
    }

    #[test]
    fn unknown_keys_and_sources_are_skipped() {
        #[derive(Serialize)]
        struct Later {
            tool: &'static str,
            source: &'static str,
            run: u64,
            novelty: Vec<u8>,
        }
        let document = rmp_serde::to_vec_named(&Later {
            tool: "2.0.0",
            source: "a_later_source",
            run: 1,
            novelty: vec![1, 2, 3],
        })
        .unwrap();
        let read: Header = rmp_serde::from_slice(&document).unwrap();
        assert_eq!(
            (read.source, read.block, read.sample_ppm),
            (Source::Other, None, 1_000_000)
        );
    }
}
