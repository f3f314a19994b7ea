"""A small Google Cloud Storage, as far as its XML API goes that traces need: put on condition of a generation, get by range, list, delete, and
uploads in parts. Written from Google's reference (cloud.google.com/storage/docs/xml-api). Objects live in memory. Prints the port it listens on.

Usage: gcs_server.py
"""

import hashlib, http.server, itertools, urllib.parse
from xml.etree import ElementTree
from xml.sax.saxutils import escape

objects, uploads, numbers = {}, {}, itertools.count(1)


class Gcs(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", **headers):
        body = body.encode() if isinstance(body, str) else body
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        if status != 204:
            self.send_header("Content-Length", headers.pop("length", len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def refuse(self, status, code):
        self.answer(status, f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{code}</Message></Error>", Content_Type="application/xml")

    def asked(self):
        url = urllib.parse.urlsplit(self.path)
        bucket, _, key = urllib.parse.unquote(url.path).lstrip("/").partition("/")
        return key, dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))

    def body(self):
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def store(self, key, data):
        """Where the request's condition allows it; a generation of 0 means that there must be none."""
        wanted = self.headers.get("x-goog-if-generation-match")
        if wanted is not None and int(wanted) != objects.get(key, (0, b""))[0]:
            return None
        objects[key] = (next(numbers), data)
        return objects[key][0]

    def do_PUT(self):
        (key, query), data = self.asked(), self.body()
        etag = '"' + hashlib.md5(data).hexdigest() + '"'
        if "uploadId" in query:
            uploads[query["uploadId"]][int(query["partNumber"])] = (etag, data)
            return self.answer(200, ETag=etag)
        generation = self.store(key, data)
        if generation is None:
            return self.refuse(412, "PreconditionFailed")
        self.answer(200, ETag=etag, x_goog_generation=generation)

    def do_POST(self):
        (key, query), data = self.asked(), self.body()
        if "uploads" in query:
            upload = f"upload-{next(numbers)}"
            uploads[upload] = {}
            return self.answer(200, f"<InitiateMultipartUploadResult><Bucket>bucket</Bucket><Key>{escape(key)}</Key><UploadId>{upload}</UploadId></InitiateMultipartUploadResult>")
        parts = uploads.get(query.get("uploadId"))
        named = [(int(part.findtext("{*}PartNumber")), part.findtext("{*}ETag")) for part in ElementTree.fromstring(data).iter() if part.tag.endswith("Part")]
        if parts is None or not named or any(parts.get(number, ("",))[0] != etag for number, etag in named):
            return self.refuse(400, "InvalidPart")
        # All but the last have five MiB at least, as Google has it.
        if any(len(parts[number][1]) < 5 << 20 for number, _ in named[:-1]):
            return self.refuse(400, "EntityTooSmall")
        generation = self.store(key, b"".join(parts[number][1] for number, _ in named))
        if generation is None:
            return self.refuse(412, "PreconditionFailed")
        del uploads[query["uploadId"]]
        self.answer(200, f'<CompleteMultipartUploadResult><Key>{escape(key)}</Key><ETag>"{generation}"</ETag></CompleteMultipartUploadResult>', x_goog_generation=generation)

    def do_DELETE(self):
        key, query = self.asked()
        if "uploadId" in query:
            uploads.pop(query["uploadId"], None)
        elif objects.pop(key, None) is None:
            return self.refuse(404, "NoSuchKey")
        self.answer(204)

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        key, query = self.asked()
        if not key:
            return self.listed(query)
        if key not in objects:
            return self.refuse(404, "NoSuchKey")
        generation, data = objects[key]
        told = dict(ETag=f'"{generation}"', x_goog_generation=generation, Last_Modified="Sat, 28 Nov 2026 12:00:00 GMT", Content_Type="application/octet-stream")
        span = self.headers.get("Range")
        if not span:
            return self.answer(200, data, **told)
        begin, _, end = span.removeprefix("bytes=").partition("-")
        first = int(begin) if begin else max(0, len(data) - int(end))
        last = min(int(end), len(data) - 1) if begin and end else len(data) - 1
        if first > last:
            return self.refuse(416, "InvalidRange")
        self.answer(206, data[first : last + 1], Content_Range=f"bytes {first}-{last}/{len(data)}", **told)

    def listed(self, query):
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter")
        keys, common = [], set()
        for key in sorted(key for key in objects if key.startswith(prefix)):
            head, cut, _ = key[len(prefix) :].partition(delimiter) if delimiter else (key, "", "")
            common.add(prefix + head + cut) if cut else keys.append(key)
        # Pages of two: what lists must go on.
        after = query.get("continuation-token", query.get("start-after", ""))
        rest = [key for key in keys if key > after]
        page = rest[:2]
        entries = "".join(
            f"<Contents><Key>{escape(key)}</Key><Generation>{objects[key][0]}</Generation><LastModified>2026-11-28T12:00:00.000Z</LastModified>"
            f'<ETag>"{objects[key][0]}"</ETag><Size>{len(objects[key][1])}</Size></Contents>'
            for key in page
        ) + "".join(f"<CommonPrefixes><Prefix>{escape(each)}</Prefix></CommonPrefixes>" for each in sorted(common) if not after)
        more = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if len(rest) > len(page) else ""
        self.answer(200, f"<ListBucketResult><IsTruncated>{str(bool(more)).lower()}</IsTruncated>{more}{entries}</ListBucketResult>", Content_Type="application/xml")


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Gcs)
print(server.server_port, flush=True)
server.serve_forever()
