"""Writes a tiny llama with random weights: it says nonsense, but it is served like any other model.

usage: tiny_model.py FILE WORDS

WORDS is a file of words, one a line, each of which is one token after a space and where a text begins, as in the common vocabularies.
"""

import pathlib
import sys

import gguf
import numpy

LAYERS, WIDTH, HEADS, FORWARD, CONTEXT = 2, 64, 4, 128, 8192


def words_of(path):
    return pathlib.Path(path).read_text().split()


def tokens(words):
    """SentencePiece's order: the special ones, every byte, then pieces. A word is put together from its beginning on, so every beginning of one
    is a piece; those after a space go first, or another word within would be put together before.
    """
    yield "<unk>", 0.0, gguf.TokenType.UNKNOWN
    yield "<s>", 0.0, gguf.TokenType.CONTROL
    yield "</s>", 0.0, gguf.TokenType.CONTROL
    for byte in range(256):
        yield f"<0x{byte:02X}>", 0.0, gguf.TokenType.BYTE
    for letter in "▁abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789":
        yield letter, -1000.0, gguf.TokenType.NORMAL
    for space, score in [("▁", -1.0), ("", -2.0)]:
        beginnings = {space + word[:end] for word in words for end in range(2 - len(space), len(word) + 1)}
        for beginning in sorted(beginnings):
            yield beginning, score, gguf.TokenType.NORMAL


def main(path, words):
    pieces, scores, kinds = zip(*tokens(words_of(words)))
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("tiny-random")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_vocab_size(len(pieces))
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([piece.encode() for piece in pieces])
    writer.add_token_scores(list(scores))
    writer.add_token_types([int(kind) for kind in kinds])
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(True)
    random = numpy.random.default_rng(1)

    # Every embedding is large in its first place and so is every output of the last layer, where the weights of bytes and of
    # control tokens are low: the model says letters, which are whole characters, and does not end by itself.
    embeddings = random.standard_normal((len(pieces), WIDTH)) / 8
    embeddings[:, 0] = 10
    heads = random.standard_normal((len(pieces), WIDTH)) / 8
    heads[:, 0] = [0 if kind == gguf.TokenType.NORMAL else -5 for kind in kinds]

    def tensor(name, values):
        writer.add_tensor(name, values.astype(numpy.float32))

    def weights(name, *shape):
        tensor(name, random.standard_normal(shape) / 8)

    def ones(name):
        tensor(name, numpy.ones(WIDTH))

    tensor("token_embd.weight", embeddings)
    for layer in range(LAYERS):
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            weights(f"blk.{layer}.{name}.weight", WIDTH, WIDTH)
        weights(f"blk.{layer}.ffn_gate.weight", FORWARD, WIDTH)
        weights(f"blk.{layer}.ffn_up.weight", FORWARD, WIDTH)
        weights(f"blk.{layer}.ffn_down.weight", WIDTH, FORWARD)
        ones(f"blk.{layer}.attn_norm.weight")
        ones(f"blk.{layer}.ffn_norm.weight")
    ones("output_norm.weight")
    tensor("output.weight", heads)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
