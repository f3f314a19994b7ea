"""Sums up an exported Parquet file with DuckDB, as one JSON document."""

import json
import sys

import duckdb

FILE = sys.argv[1]
db = duckdb.connect()
db.execute("CREATE VIEW t AS SELECT * FROM read_parquet($f)".replace("$f", "'" + FILE.replace("'", "''") + "'"))


def one(query):
    return db.execute(query).fetchone()[0]


def counts(column):
    return dict(db.execute(f"SELECT {column}, count(*) FROM t GROUP BY 1").fetchall())


SUMS = {
    "at_us": "sum(at_us)",
    "prompt_tokens": "sum(prompt_tokens)",
    "output_tokens": "sum(output_tokens)",
    "end_us": "sum(end_us)",
    "reader_wait_us": "sum(reader_wait_us)",
    "without_reader_wait": "count(*) FILTER (reader_wait_us IS NULL)",
    "streamed": "count(*) FILTER (stream)",
    "messages": "sum(len(message_roles))",
    "message_bytes": "sum(list_sum(message_bytes))",
    "blocks": "sum(len(blocks))",
    "block_ids": "sum(list_sum(blocks))",
    "gaps": "sum(list_sum(gap_count))",
    "media_bytes": "sum(list_sum(media_bytes))",
    "tensor_dimensions": "sum(list_sum(flatten(tensor_dimensions)))",
    "tensors": "sum(len(tensor_datatypes) + len(tensor_message) - len(tensor_dimensions))",
    "cache_marks": "sum(len(cache_mark_on) + coalesce(list_sum(cache_mark_index), 0) + coalesce(list_sum(cache_mark_bytes), 0))",
    "marked_for_an_hour": "count(*) FILTER (list_contains(cache_mark_life, 'one_hour'))",
    "context_tokens": "sum(context_tokens)",
    "dimensions": "sum(dimensions)",
    "base64": "count(*) FILTER (encoding_format = 'base64')",
    "extras": "sum(continuous_usage::int + 2 * return_token_ids::int)",
    "media_types": "count(*) FILTER (request_media_type <> 'unsaid' AND response_media_type <> 'unsaid')",
    "multipart": "count(*) FILTER (request_media_type = 'multipart' OR response_media_type = 'multipart')",
    "frames": "count(frames_first_sent_us) + coalesce(sum(frames_first_sent_us), 0) + coalesce(sum(frames_sent_longest_gap_us), 0)",
    "frame_gaps": "sum(coalesce(list_sum(frames_sent_gap_count), 0) + coalesce(list_sum(frames_sent_gap_us), 0) + coalesce(list_sum(frames_sent_gaps_in_order_us), 0))",
    "frame_sizes": "sum(coalesce(list_sum(frames_came_count), 0) + coalesce(list_sum(frames_came_bytes), 0))",
    "without_end": "count(*) FILTER (end_us IS NULL)",
}
about = db.execute(f"SELECT key, value FROM parquet_kv_metadata('{FILE}')").fetchall()
json.dump(
    {
        "rows": one("SELECT count(*) FROM t"),
        "columns": [row[0] for row in db.execute("DESCRIBE t").fetchall()],
        "outcomes": counts("outcome"),
        "endpoints": counts("endpoint"),
        "sums": {name: int(one(f"SELECT {sql} FROM t") or 0) for name, sql in SUMS.items()},
        "values": db.execute("SELECT media_formats, new_connection, gaps_in_order_us FROM t").fetchall(),
        "first_blocks": one("SELECT blocks FROM t WHERE len(blocks) > 1 LIMIT 1") if one("SELECT max(len(blocks)) FROM t") > 1 else [],
        "about": {key.decode(): value.decode() for key, value in about if key.startswith(b"reenact.")},
        "largest_row_group": one(f"SELECT max(row_group_num_rows) FROM parquet_metadata('{FILE}')"),
    },
    sys.stdout,
)
