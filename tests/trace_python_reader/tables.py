"""The document's own tables: names of codes, flags by name, and the columns of one plain value or code as {name: (number, flag)}."""
import pathlib, re

DOCUMENT = (pathlib.Path(__file__).parents[2] / "docs" / "trace-format.md").read_text()
CODES = {field.replace(" ", "_"): [re.sub(r"\W", "", name) for name in re.sub(r"\(.*?\)", "", names).split(",")]
         for field, names in re.findall(r"^\| ([\w ]+) \| (.*) \|$", DOCUMENT.split("| codes from 0 |")[1], re.M)}
CODES |= {f"{of}_{field}": CODES[codes] for codes, field, all in (("token_source", "tokens_source", ("prompt", "output")), ("media_type", "media_type", ("request", "response"))) for of in all}
FLAGS = {name: int(bit) for bit, name in re.findall(r"(\d+) (\w+)", DOCUMENT.split("**Flags**")[1].split("\n\n")[0])}
PLAIN = {name: (int(number), FLAGS.get(flag, FLAGS.get(name.upper()) if "name" in flag else None))
         for names, flag in re.findall(r"^\| (\d[^|(;]*) \| (?:value|code)(?:, if ([^|;]*))? \| [^|]*\|$", DOCUMENT, re.M)
         for number, name in re.findall(r"(\d+) (\w+)", names) if name not in "at flags messages media tensors gap_buckets outcome".split()}
