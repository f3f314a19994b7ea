//! Whatever a file holds, an import ends: in a trace that reads back, or in an error.

use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::{ImportFormat, ImportOptions, import};
use crate::trace::Trace;

/// A good row or two of each format.
fn seed(format: ImportFormat) -> &'static str {
    match format {
        ImportFormat::Mooncake | ImportFormat::VllmTimedTrace => {
            r#"{"timestamp": 3, "input_length": 600, "output_length": 5, "hash_ids": [77, 9]}"#
        }
        ImportFormat::Aiperf => concat!(
            r#"{"session_id": "a", "delay": 1.5, "text_input": "x", "output_length": 4}"#,
            "\n",
            r#"{"session_id": "a", "message_mode": "delta", "messages": [{"role": "user", "content": "x"}]}"#,
            "\n",
            r#"{"payload": {"prompt": "x"}}"#,
        ),
        ImportFormat::Bailian => {
            r#"{"chat_id": 2, "parent_chat_id": -1, "timestamp": 61.114, "input_length": 33, "output_length": 2, "hash_ids": [5, 6]}"#
        }
        ImportFormat::Azure => {
            "TIMESTAMP,ContextTokens,GeneratedTokens\n2024-05-10 00:00:00.009930+00:00,1,2\n"
        }
        ImportFormat::Burstgpt => {
            "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens\n5,17,1.25,\"GPT,4\",472,18\n"
        }
        ImportFormat::Weka => {
            "{\"block_size\": 64, \"requests\": [\n{\"t\": 4.5, \"type\": \"subagent\", \"requests\": [{\"t\": 1, \"type\": \"n\", \"in\": 4, \"out\": 1, \"hash_ids\": [3]}]}]}"
        }
        ImportFormat::Baseten | ImportFormat::Parquet => "PAR1",
        ImportFormat::Dynamo => {
            r#"{"event_type":"request_end","event_time_unix_ms":5,"agent_context":{"trajectory_id":"t"},"request":{"output_tokens":8,"total_time_ms":1.5,"replay":{"trace_block_size":64,"input_length":128,"input_sequence_hashes":[1,2]}}}"#
        }
        ImportFormat::VllmCustom => r#"{"prompt": "x", "output_tokens": 9}"#,
        ImportFormat::Evalscope => {
            r#"{"body": {"messages": [{"role": "user", "content": "x"}]}, "timestamp": "2024-05-10T00:00:00Z"}"#
        }
        ImportFormat::Jsonl => {
            r#"{"at_us":1,"endpoint":"other","method":"GET","in_flight":0,"shape":"generic","request":{"bytes":0,"params":{"ignore_eos":false,"n":0,"stream":false,"include_usage":false,"structured":"none","schema_bytes":0,"stop_count":0,"token_ids":false,"echo":false}},"response":{"status":200,"tool_calls":0,"bytes":0,"events":0,"token_events":0},"outcome":{"kind":"completed"}}"#
        }
    }
}

fn ends(format: ImportFormat, file: &[u8], skip_bad: bool) -> Option<u64> {
    let directory = tempfile::tempdir().unwrap();
    let (from, to) = (
        directory.path().join("from"),
        directory.path().join("to.rt"),
    );
    std::fs::write(&from, file).unwrap();
    let options = ImportOptions {
        skip_bad,
        ..ImportOptions::default()
    };
    match import(format, &from, &to, &options) {
        Ok(done) => {
            let mut trace = Trace::open(&[to]).unwrap();
            assert_eq!(
                trace.exchanges().filter(Result::is_ok).count() as u64,
                done.rows
            );
            assert!(!trace.damage().is_loss());
            Some(done.rows)
        }
        Err(_) => {
            assert!(!to.exists());
            None
        }
    }
}

#[test]
fn the_seeds_are_good() {
    for &format in ImportFormat::all() {
        let good = ends(format, seed(format).as_bytes(), false).is_some();
        // Parquet is no text.
        let text = !matches!(format, ImportFormat::Baseten | ImportFormat::Parquet);
        assert_eq!(good, text, "{format:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn any_bytes_are_imported_or_refused(
        format in select(ImportFormat::all()),
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        changes in prop::collection::vec((any::<Index>(), prop::sample::select(b"\"{}[],:0-9.e\n\xff".to_vec())), 1..4),
        skip_bad in any::<bool>(),
    ) {
        ends(format, &bytes, skip_bad);
        let mut changed = seed(format).as_bytes().to_vec();
        for (at, byte) in changes {
            let at = at.index(changed.len());
            changed[at] = byte;
        }
        ends(format, &changed, skip_bad);
    }
}
