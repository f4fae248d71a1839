"""Brings a body into the shape in which the recordings keep it: tables, items, XML as lines or lists, pages by their message."""

import csv
import html
import io
import json
import re
import tarfile
import xml.etree.ElementTree as ET
import zipfile


def media_of(answer) -> str:
    return (answer.headers.get("Content-Type") or "").partition(";")[0].strip()


def narrow_shape(answer) -> dict:
    """status, media, disposition, range, cookies, body: as in ``narrow/recorded-*``."""
    media = media_of(answer)
    cookies = {one.partition("=")[0] for one in answer.headers.get_all("Set-Cookie") or []}
    return {
        "status": answer.status,
        "media": media if answer.body else "",
        "disposition": answer.headers.get("Content-Disposition") or "",
        "range": answer.headers.get("Content-Range") or "",
        "cookies": sorted(cookies - {"JSESSIONID"}),
        "body": _narrow_body(media, answer.body),
    }


def _narrow_body(media: str, data: bytes) -> dict:
    if not data:
        return {"empty": True}
    if data[:2] == b"PK":
        return {"zip": _zip(data)}
    text = data.decode("utf-8", "replace")
    if re.match(r"\s*<(!doctype )?html", text, re.IGNORECASE):
        heading = re.search(r"<h3>(.*?)</h3>", text, re.DOTALL)
        if heading and not heading[1].startswith("Apache Tomcat"):
            return {"error page": heading[1]}
        return {"html table": True} if "<table" in text.lower() and "ID" in text else {"container page": True}
    if "json" in media or text.lstrip()[:1] in {"{", "["}:
        found = json.loads(text)
        if "ResultSet" not in found:
            return {"json": found}
        return {"table": _narrow_table(found["ResultSet"]["Result"], found["ResultSet"])}
    if "xml" in media:
        root = ET.fromstring(text)
        return {"table": _narrow_table(*_xml_table(root))} if root.tag == "ResultSet" else {"xml": _nested(root)}
    if "csv" in media:
        lines = [line for line in csv.reader(io.StringIO(text)) if line]
        return {"csv": {"columns": sorted(lines[0]), "rows": len(lines) - 1}}
    return {"text": text}


def _narrow_table(rows: list, result: dict) -> dict:
    return {
        "columns": sorted({key for row in rows for key in row}),
        "rows": rows,
        "has": sorted(key for key in result if key != "Result"),
        "totalRecords": str(result.get("totalRecords", "")).strip(),
    }


def _nested(element: ET.Element) -> list:
    attributes = {key: value for key, value in element.attrib.items() if not key.endswith("schemaLocation")}
    return [element.tag, attributes, (element.text or "").strip(), [_nested(child) for child in element]]


def wide_shape(answer) -> dict:
    """status, headers, body: as in ``wide/recorded-*``."""
    headers = {}
    if answer.headers.get("Content-Type") and answer.body:
        headers["Content-Type"] = media_of(answer)
    for name in ("Content-Disposition", "Content-Range"):
        if answer.headers.get(name):
            headers[name] = answer.headers[name]
    if cookies := sorted({one.partition("=")[0].strip() for one in answer.headers.get_all("Set-Cookie") or []}):
        headers["Set-Cookie"] = cookies
    headers |= {name: True for name in ("Location", "Last-Modified", "WWW-Authenticate") if answer.headers.get(name)}
    if answer.cut_short:
        headers["X-Cut-Short"] = True
    return {"status": answer.status, "headers": headers, "body": _wide_body(media_of(answer), answer.body)}


def reduced(shape: dict, step, data: bytes, projects: list[str]) -> dict:
    """Keep of a listing of the whole site what does not depend on what else is there, as the recorder does.

    ``own_rows``: the rows that name one of *projects*; ``shape``: names and types only.
    """
    body = shape["body"]
    if isinstance(body, dict) and step.own_rows and "table" in body:
        rows = [row for row in body["table"]["rows"] if any(one in json.dumps(row) for one in projects)]
        table = {key: value for key, value in body["table"].items() if key != "totalRecords"}
        body = {**body, "table": {**table, "rows": rows}}
    if isinstance(body, dict) and step.shape:
        body = {key: _types(json.loads(data) if key == "json" else value) for key, value in body.items()}
    return {**shape, "body": body}


def _types(value: object) -> object:
    if isinstance(value, dict):
        return {key: _types(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_types(value[0]), "..."] if value else []
    return {str: "string", bool: "boolean", int: "number", float: "number", type(None): "null"}[type(value)]


def _wide_body(media: str, data: bytes) -> object:
    if not data:
        return None
    if data[:4] in {b"PK\x03\x04", b"PK\x05\x06"}:
        return {"zip": _zip(data)}
    try:
        if data[:2] == b"\x1f\x8b":
            with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
                return {"tar.gz": sorted([one.name, one.size] for one in archive.getmembers())}
        text = data.decode()
    except (tarfile.TarError, UnicodeDecodeError):
        return {"bytes": len(data), "start": data[:16].hex()}
    if "html" in media and "<" in text and not text.lstrip().startswith("{"):
        return _page(text)
    if "json" in media or text.startswith("{"):
        try:
            return _wide_json(json.loads(text))
        except ValueError:
            return {"text": text}
    if "xml" in media:
        try:
            root = ET.fromstring(data)
        except ET.ParseError:
            return {"text": text}
        if root.tag != "ResultSet":
            return {"xml": _lines(data)}
        rows, attributes = _xml_table(root)
        return {"xml table": {"columns": [one.text or "" for one in root.iter("column")], "rows": rows, **attributes}}
    if "csv" in media:
        lines = [line for line in csv.reader(io.StringIO(text)) if line]
        rows = [dict(zip(lines[0], line, strict=True)) for line in lines[1:]]
        return {"csv": {"columns": lines[0], "rows": rows}} if lines else {"csv": None}
    return {"text": text if len(text) <= 2000 else f"{text[:200]}... {len(text)} characters"}


def _wide_json(found: object) -> dict:
    if not isinstance(found, dict) or "ResultSet" not in found:
        return {"json": found}
    result = found["ResultSet"]
    rows = result.get("Result", [])
    table = {"columns": sorted({key for row in rows for key in row}), "rows": rows}
    for key, value in result.items():
        if key != "Result":
            table[key] = value.strip() if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return {"table": table, "all values strings": all(isinstance(one, str) for row in rows for one in row.values())}


def _page(text: str) -> dict:
    heading = re.search(r"<h3>(.*?)</h3>", text, re.DOTALL)
    if "<title>Status page</title>" in text and heading:
        return {"error page": html.unescape(heading[1]).strip()}
    if re.search(r"<title>[^<]*(Error report|HTTP Status|Error \d)", text, re.IGNORECASE):
        return {"container error page": True}
    if re.match(r"\s*(<html[^>]*>\s*<body[^>]*>\s*)?<table", text, re.IGNORECASE):
        heads = re.findall(r"<th[^>]*>(.*?)</th>", text, re.IGNORECASE | re.DOTALL)
        return {
            "html table": {
                "columns": [re.sub("<[^>]+>", "", one).strip() for one in heads],
                "rows": len(re.findall("<tr", text)) - 1,
            }
        }
    return {"html page": "site page"}


def _lines(data: bytes) -> list[str]:
    """An element a line: its name with prefix, its attributes sorted, its text."""
    prefixes = {"http://www.w3.org/XML/1998/namespace": "xml"}
    for _, (prefix, uri) in ET.iterparse(io.BytesIO(data), events=["start-ns"]):
        prefixes.setdefault(uri, prefix)

    def name(tag: str) -> str:
        uri, _, local = tag.rpartition("}")
        return f"{prefixes[uri[1:]]}:{local}".lstrip(":") if uri else local

    def walk(element: ET.Element, depth: int) -> list[str]:
        kept = {key: value for key, value in element.attrib.items() if not key.endswith("}schemaLocation")}
        attributes = sorted(f"{name(key)}={json.dumps(value, ensure_ascii=False)}" for key, value in kept.items())
        text = (element.text or "").strip()
        if element.get("name") == "AUDIT":
            text = "|".join(sorted(text.split("|"), key=lambda event: event.partition("=")[2]))
        line = "  " * depth + " ".join([name(element.tag), *attributes]) + (f" | {text}" if text else "")
        return [line, *(one for child in element for one in walk(child, depth + 1))]

    return walk(ET.fromstring(data), 0)


def _xml_table(root: ET.Element) -> tuple[list, dict]:
    columns = [one.text or "" for one in root.iter("column")]
    rows = [dict(zip(columns, [one.text or "" for one in row.iter("cell")], strict=True)) for row in root.iter("row")]
    return rows, dict(root.attrib)


def _zip(data: bytes) -> list:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return sorted([one.filename, one.file_size] for one in archive.infolist())
