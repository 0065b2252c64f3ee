"""Every operation of the description, called as schemathesis makes it up, and answered as the description says.

Half of the requests are as the description wants them, half are not; and half go to a stream, bucket and snapshot that are
there, so that not everything is a 404. An answer is wrong if it is 500, if its status or media type is not described for the
operation, if its body is not what the schema says, if a header is not as described, or is not there although its description
says `required`, if an error has no code that docs/api.md lists with this status, or no message, or if a header that every
answer has is not there. The same seed makes the same requests. Prints a line for each operation, and `N passed, N failed`.

Reads by events are held against the description apart, for they have no end to wait for: of a closed stream, whole; of an open
one, what is there and what is appended while it is read.
"""

import collections
import json
import os
import random
import re
import sys
import time

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.core.failures import Failure, FailureGroup
from schemathesis.specs.openapi.checks import response_headers_conformance, response_schema_conformance

URL = os.environ["URL"]
EXAMPLES = int(os.environ["EXAMPLES"])
# After so many seconds the operations that are left are only tried a few times.
BUDGET = 80
EVERYWHERE = ("date", "x-content-type-options", "cross-origin-resource-policy", "access-control-allow-origin")

described = requests.get(f"{URL}/openapi.json", timeout=10)
described.raise_for_status()
schema = schemathesis.openapi.from_dict(described.json())
schema.config.update(base_url=URL)
chance = random.Random(1)


def documented_codes():
    """(status, code) of each row of the table in docs/api.md."""
    with open("docs/api.md", encoding="utf-8") as api:
        errors = api.read().split("\n## Errors")[1]
    return {(int(status), code) for status, code in re.findall(r"^\| (\d{3}) \| `(\w+)`", errors, re.MULTILINE)}


CODES = documented_codes()


def prepare(publish):
    """The stream and bucket that are there, and a snapshot at the tail if one is to be there, too.

    Returns the parameters of a path to them.
    """
    typed, log = {"content-type": "application/json"}, f"{URL}/openapi/log"
    requests.put(f"{URL}/openapi", timeout=10)
    requests.put(log, headers=typed, timeout=10)
    requests.post(log, data=b"[1]", headers=typed, timeout=10)
    offset = requests.head(log, timeout=10).headers.get("stream-next-offset", "0" * 20)
    if publish:
        requests.put(f"{log}/snapshot/{offset}", data=b"one", timeout=10)
    return {"path": "openapi/log", "bucket": "openapi", "stream": "log", "offset": offset}


def resolved(node):
    while "$ref" in node:
        found = described.json()
        for name in node["$ref"].removeprefix("#/").split("/"):
            found = found[name]
        node = found
    return node


def unlike_the_schema(case, answer):
    """What body and headers have that their schemas do not allow, or lack, a sentence each."""
    for check in (response_schema_conformance, response_headers_conformance):
        try:
            case.validate_response(answer, checks=[check])
        except FailureGroup as several:
            failures = several.exceptions
        except Failure as one:
            failures = [one]
        else:
            failures = []
        for failure in failures:
            yield f"{answer.status_code}: {' '.join(str(failure).split())[:400]}"


def wrong_with(operation, answer):
    """What else is wrong with an answer, a sentence each."""
    status, method = answer.status_code, operation.method.lower()
    said = f"{status} {answer.content[:200]!r}"
    if status == 431 or (status == 400 and not answer.content and "date" not in answer.headers):
        return  # What is no HTTP at all is answered before anybody looks at the path.
    if status == 500:
        yield f"a mistake of the server: {said}"
    responses = operation.definition.raw["responses"]
    if str(status) not in responses:
        yield f"not described: {said}"
        return
    for name in EVERYWHERE:
        if name not in answer.headers:
            yield f"{status} without {name}"
    told = {name.lower() for name in resolved(responses[str(status)]).get("headers", {})}
    for name in map(str.lower, answer.headers):
        if status < 300 and name.startswith(("stream-", "producer-")) and name not in told:
            yield f"{status} with {name}, which is not described"
    content = resolved(responses[str(status)]).get("content", {})
    media = "".join(answer.headers.get("content-type", [])).split(";")[0].strip()
    if method != "head" and answer.content and not ({"*/*", media} & set(content)):
        yield f"a body of {media or 'no type'}, described are {sorted(content)}: {said}"
    probes = operation.path.startswith(("/readyz", "/healthz"))
    if status >= 400 and method != "head" and not (probes and status == 503):
        try:
            error = answer.json()["error"]
            code, message = error["code"], error["message"]
        except (ValueError, KeyError, TypeError):
            yield f"an error without code and message: {said}"
            return
        if (status, code) not in CODES or len(message) < 10:
            yield f"docs/api.md has no {status} {code}: {said}"


def checked(operation, examples):
    """What is wrong, and how often each status came."""
    wrong, statuses, validated = [], collections.Counter(), [0]

    def tried(mode):
        @seed(1)
        @settings(
            max_examples=examples,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate],
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def every(case):
            if operation.path.count("{") and chance.random() < 0.5:
                there = prepare(operation.method.lower() != "put" or chance.random() < 0.2)
                case.path_parameters = {name: there[name] for name in case.path_parameters}
            # A stream that is read by events has no end that a test could wait for: see `events` and `open_events`.
            query = case.query if isinstance(case.query, dict) else {}
            if query.get("live") == "sse":
                case.query = {**query, "live": "long-poll"}
            answer = case.call(base_url=URL, timeout=20, allow_redirects=False)
            statuses[answer.status_code] += 1
            wrong.extend(wrong_with(operation, answer))
            if str(answer.status_code) in operation.definition.raw["responses"] and "date" in answer.headers:
                validated[0] += 1
                wrong.extend(unlike_the_schema(case, answer))

        return every

    # Not everything can be made wrong: a route without parameters takes whatever comes.
    modes = [GenerationMode.POSITIVE]
    if operation.path_parameters or operation.query or operation.headers:
        modes.append(GenerationMode.NEGATIVE)
    for mode in modes:
        try:
            tried(mode)()
        except Unsatisfiable:
            # There is nothing that its description forbids.
            if mode == GenerationMode.POSITIVE:
                raise
    if not validated[0]:
        wrong.append("no answer was held against a schema")
    return wrong, statuses


def other_methods(path, methods):
    """A method that is not described is refused with the ones that are."""
    there = prepare(True)
    for name, value in there.items():
        path = path.replace("{" + name + "}", value)
    for method in {"put", "post", "get", "delete", "patch"} - methods:
        answer = requests.request(method, URL + path, timeout=10)
        allowed = {word.strip().lower() for word in answer.headers.get("allow", "").split(",")}
        if answer.status_code != 405 or allowed - {"options"} != methods:
            yield f"{method.upper()} {path}: {answer.status_code}, Allow: {sorted(allowed)}, described: {sorted(methods)}"
    preflight = requests.options(URL + path, timeout=10)
    if preflight.status_code != 204:
        yield f"OPTIONS {path}: {preflight.status_code}"


def heads_of_events(media, answer, described):
    """What is wrong with the head of an answer of events."""
    came = answer.headers.get("content-type")
    if came != "text/event-stream" or came not in described["content"]:
        yield f"{media} comes as {came}, described are {sorted(described['content'])}"
    told = {name.lower(): resolved(header) for name, header in described["headers"].items()}
    for name, header in told.items():
        if header.get("required") and name not in answer.headers:
            yield f"{media} without {name}"
    for name, value in answer.headers.lower_items():
        if not name.startswith("stream-"):
            continue
        pattern = told.get(name, {}).get("schema", {}).get("pattern", "")
        if name not in told or not re.search(pattern, value):
            yield f"{media} with {name}: {value}, described is {told.get(name)}"
    encoded = answer.headers.get("stream-sse-data-encoding")
    if (encoded == "base64") != (media == "application/octet-stream"):
        yield f"{media} encoded as {encoded}"


def open_events(path, operation):
    """A stream that is open, read by events while it grows."""
    described = resolved(operation["responses"]["200"])
    for media, first, then in (
        ("text/plain", b"one", b"two"),
        ("application/json", b"[1]", b"[2]"),
        ("application/octet-stream", b"\xff", b"\xfe"),
    ):
        url = URL + path.replace("{path}", "openapi/open").replace("{bucket}", "openapi").replace("{stream}", "open")
        requests.put(f"{URL}/openapi", timeout=10)
        requests.delete(url, timeout=10)
        requests.put(url, data=first, headers={"content-type": media}, timeout=10)
        answer = requests.get(url, params={"offset": "-1", "live": "sse"}, timeout=10, stream=True)
        if answer.status_code != 200:
            yield f"{media}: {answer.status_code}"
            continue
        yield from heads_of_events(media, answer, described)
        kinds, controls = [], []
        for line in answer.iter_lines(decode_unicode=True):
            if line.startswith("event:"):
                kinds.append(line)
            if line.startswith("data:{") and kinds[-1] == "event: control":
                controls.append(json.loads(line.removeprefix("data:")))
                if len(controls) == 1:
                    requests.post(url, data=then, headers={"content-type": media}, timeout=10)
                if len(controls) == 2:
                    break
        answer.close()
        if kinds != ["event: data", "event: control"] * 2:
            yield f"{media}: {kinds}"
        for control in controls:
            offset, cursor = control.get("streamNextOffset", ""), control.get("streamCursor", "")
            lawful = re.fullmatch(r"[0-9]{20}", offset) and re.fullmatch(r"[0-9]+", cursor) and control.get("upToDate") is True
            if not lawful or "streamClosed" in control:
                yield f"{media}: {control}"
        tail = requests.head(url, timeout=10).headers.get("stream-next-offset")
        if not controls or controls[-1].get("streamNextOffset") != tail:
            yield f"{media}: the last of {controls} is not the tail, {tail}"
        requests.delete(url, timeout=10)


def events(path, operation):
    """A stream that is closed, read by events: it has an end, so that all of it can be held against the description."""
    described = resolved(operation["responses"]["200"])
    for media, data in (("text/plain", b"one"), ("application/json", b"[1]"), ("application/octet-stream", b"\xff")):
        url = URL + path.replace("{path}", "openapi/events").replace("{bucket}", "openapi").replace("{stream}", "events")
        requests.put(f"{URL}/openapi", timeout=10)
        requests.delete(url, timeout=10)
        made = requests.put(url, data=data, headers={"content-type": media, "stream-closed": "true"}, timeout=10)
        answer = requests.get(url, params={"offset": "-1", "live": "sse"}, timeout=10)
        said = f"{media}: {answer.status_code} {answer.text!r}"
        if made.status_code != 201 or answer.status_code != 200:
            yield f"{media}: {made.status_code}, then {said}"
            continue
        yield from heads_of_events(media, answer, described)
        # All that is left of a closed stream is one event of data, and one that says that it is closed.
        kinds = [event.split("\n")[0] for event in answer.text.split("\n\n") if event]
        if kinds != ["event: data", "event: control"] or '"streamClosed":true' not in answer.text:
            yield said
    requests.delete(url, timeout=10)


passed = failed = 0
began = time.monotonic()


def tell(name, wrong, more=""):
    global passed, failed
    if wrong:
        failed += 1
        print("FAILED", name)
        for line in sorted(set(wrong))[:5]:
            print("      ", line)
    else:
        passed += 1
        print("ok    ", name, more)
    sys.stdout.flush()


for result in schema.get_all_operations():
    operation = result.ok()
    name = f"{operation.method.upper()} {operation.path}"
    examples = EXAMPLES if time.monotonic() - began < BUDGET else 2
    try:
        wrong, statuses = checked(operation, examples)
    except Exception as error:  # a broken connection, or a description that cannot be used
        wrong, statuses = [f"{type(error).__name__}: {error}"], {}
    tell(name, wrong, dict(sorted(statuses.items())))

for path, item in described.json()["paths"].items():
    methods = set(item) - {"parameters"}
    tell(f"other methods of {path}", list(other_methods(path, methods)))

for path, item in described.json()["paths"].items():
    if {"$ref": "#/components/parameters/live"} in item.get("get", {}).get("parameters", []):
        tell(f"GET {path} by events", list(events(path, item["get"])))
        tell(f"GET {path} by events, open", list(open_events(path, item["get"])))

alive = requests.get(f"{URL}/healthz", timeout=10)
tell("the server lives", [] if alive.ok else [alive.text])
print(f"openapi: {passed} passed, {failed} failed in {time.monotonic() - began:.0f} s")
sys.exit(1 if failed else 0)
