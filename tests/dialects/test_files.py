"""What is wrong with a file as a whole, and what is only wrong with one of its rows."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path

import pytest

from parley.dialects import BrokenFile, Record, Reject, read, records
from parley.errors import ConfigError, DataError
from tests.dialects.files import TALK, gzipped, jsonl, talk

GOOD = {"messages": TALK, "trainer": "ann"}


def test_good_rows_around_bad_ones_are_kept_and_the_bad_ones_named(tmp_path: Path) -> None:
    rows: list[object] = [GOOD, b"{oops", b"", b"  \r", [1], {"trainer": "ann"}, GOOD | {"trainer": 7}, GOOD]
    reading = read("demonstrations", jsonl(tmp_path / "a.jsonl", rows))
    assert reading.read == 6  # blank lines are no rows
    assert len(reading.demonstrations) == 2
    assert [(reject.record, reject.field) for reject in reading.rejects] == [
        (2, ""),
        (5, ""),
        (6, "messages"),
        (7, "trainer"),
    ]
    assert reading.rejects[0].reason.startswith("is not JSON: Expecting property name")
    assert reading.rejects[1].reason == "must be an object, not a list"
    assert reading.rejects[2].reason == "is missing"
    assert reading.rejects[3].reason == "must be text, not 7"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"messages": [{"role": "user", "content": "caf\xe9"}]}', "is not UTF-8 at byte 47"),
        (b'{"trainer": "' + b"\xff" * 3 + b'"}', "is not UTF-8 at byte 14"),
        (b"[" * 100_000, "is nested too deeply"),
        (b'{"trainer": NaN}', "is not JSON: NaN is no JSON number"),
        (b'{"trainer": "a", "trainer": "b"}', "is not JSON: the key 'trainer' stands twice"),
        (b'{"trainer": ' + b"9" * 5000 + b"}", "is not JSON: Exceeds the limit"),
        (b'{"trainer": "a"', "is not JSON: Expecting ',' delimiter at character 16"),
    ],
)
def test_a_line_that_is_no_json_is_a_reject(tmp_path: Path, line: bytes, reason: str) -> None:
    reading = read("demonstrations", jsonl(tmp_path / "a.jsonl", [GOOD, line, GOOD]))
    assert len(reading.demonstrations) == 2
    assert [(reject.record, reject.field) for reject in reading.rejects] == [(2, "")]
    assert reading.rejects[0].reason.startswith(reason)


def test_half_a_surrogate_pair_is_a_reject_and_a_whole_one_is_not(tmp_path: Path) -> None:
    half = b'{"messages": [{"role": "user", "content": "x\\ud83d"}, {"role": "assistant", "content": "y"}]}'
    reading = read("demonstrations", jsonl(tmp_path / "a.jsonl", [half, talk("\U0001f600", "y")]))
    assert [(reject.record, reject.field) for reject in reading.rejects] == [(1, "messages[0].content")]
    assert "surrogate" in reading.rejects[0].reason
    assert reading.demonstrations[0].conversation.messages[0].text == "\U0001f600"


def test_odd_line_ends_and_marks_are_survived(tmp_path: Path) -> None:
    line = json.dumps(talk("one\u2028two\x85three", "four\nfive"), ensure_ascii=False).encode()
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + line + b"\r\n\r\n" + line)
    reading = read("demonstrations", path)
    assert (reading.read, len(reading.demonstrations), reading.rejects) == (2, 2, ())
    assert reading.demonstrations[0].conversation.messages[0].text == "one\u2028two\x85three"


def test_a_row_of_five_megabytes(tmp_path: Path) -> None:
    reading = read("demonstrations", jsonl(tmp_path / "a.jsonl", [talk("x" * 5_000_000, "y")]))
    assert len(reading.demonstrations[0].conversation.messages[0].text) == 5_000_000


def test_a_json_array_is_numbered_by_element(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps([GOOD, {"messages": 3}, GOOD], indent=1))
    reading = read("demonstrations", path)
    assert (reading.read, len(reading.demonstrations)) == (3, 2)
    assert reading.rejects == (Reject(2, "messages", "must be a list, not 3"),)


def test_a_wrong_byte_in_an_array_is_the_fault_of_its_row(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(json.dumps([talk("caf@", "y"), GOOD]).encode().replace(b"@", b"\xe9"))
    reading = read("demonstrations", path)
    assert [reject.record for reject in reading.rejects] == [1]
    assert len(reading.demonstrations) == 1


@pytest.mark.parametrize(
    ("tail", "reason"),
    [(", {", "is not JSON"), ("", "no end"), ("] []", "goes on after the end"), (", 1 2", "no end")],
)
def test_a_broken_array_keeps_the_rows_before(tmp_path: Path, tail: str, reason: str) -> None:
    path = tmp_path / "a.json"
    path.write_text("[" + json.dumps(GOOD) + tail)
    with pytest.raises(BrokenFile, match=reason) as caught:
        read("demonstrations", path)
    assert len(caught.value.reading.demonstrations) == 1
    assert caught.value.file == str(path)


def test_json_lines_whose_first_row_is_a_list_are_no_array(tmp_path: Path) -> None:
    reading = read("demonstrations", jsonl(tmp_path / "a.jsonl", [[], GOOD]))
    assert (reading.read, [reject.record for reject in reading.rejects]) == (2, [1])


def test_gzip_is_known_by_its_bytes(tmp_path: Path) -> None:
    data = json.dumps(GOOD).encode()
    assert read("demonstrations", gzipped(tmp_path / "a.jsonl", data)).read == 1
    assert read("demonstrations", gzipped(tmp_path / "a.jsonl.gz", data + b"\n" + data)).read == 2


def many_rows() -> bytes:
    chance = random.Random(1)
    words = [f"{chance.random():.17f}" * 4 for _ in range(2000)]  # does not compress: a cut loses rows
    return b"".join(json.dumps(talk(word, "y")).encode() + b"\n" for word in words)


def test_a_gzip_file_cut_short_keeps_the_rows_before_the_cut(tmp_path: Path) -> None:
    packed = gzip.compress(many_rows())
    path = tmp_path / "cut.jsonl.gz"
    path.write_bytes(packed[: len(packed) // 2])
    streamed: list[Record | Reject] = []
    with pytest.raises(DataError, match="cut short") as caught:
        streamed.extend(records("demonstrations", path))
    assert 900 < len(streamed) < 1100
    assert caught.value.record == len(streamed) + 1
    with pytest.raises(BrokenFile) as broken:
        read("demonstrations", path)
    assert list(broken.value.reading.demonstrations) == streamed
    assert broken.value.reading.read == len(streamed)
    assert str(broken.value).startswith(f"{path}, record {len(streamed) + 1}: ")


def test_a_gzip_file_with_wrong_bytes(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(many_rows()))
    packed[len(packed) // 2 : len(packed) // 2 + 64] = b"\xff" * 64
    path = tmp_path / "bad.jsonl.gz"
    path.write_bytes(packed)
    with pytest.raises(BrokenFile, match="corrupt") as caught:
        read("demonstrations", path)
    assert caught.value.reading.read > 500


def test_a_wrong_checksum_is_told_after_the_last_row(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(json.dumps(GOOD).encode()))
    packed[-8] ^= 1
    path = tmp_path / "bad.jsonl.gz"
    path.write_bytes(packed)
    with pytest.raises(BrokenFile, match="corrupt"):
        read("demonstrations", path)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "is empty"),
        (b"\n\n  \n", "holds no rows"),
        ("{}".encode("utf-16"), "is UTF-16 text: save it as UTF-8"),
        ("{}".encode("utf-16-le"), "binary"),
        (b"\x7fELF\x00\x00\x00", "binary"),
        (b"PK\x03\x04\x00\x00", "binary"),
        (b'{"question": "q"}\n{"a": 1}\n', "no other row can be read as demonstrations"),
        ("Ein ganz gewöhnlicher Satz.\n".encode("latin-1") * 3, "is not UTF-8 at byte"),
        (b"[]", "holds no rows"),
    ],
)
def test_files_that_are_no_such_file(tmp_path: Path, data: bytes, reason: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(data)
    with pytest.raises(DataError, match=reason) as caught:
        read("demonstrations", path)
    assert caught.value.file == str(path)


def test_a_file_of_another_format_names_its_first_row_and_field(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", [b"", {"question": "q"}, {"x": 1}])
    with pytest.raises(BrokenFile) as caught:
        read("demonstrations", path)
    assert (caught.value.record, caught.value.field) == (2, "messages")
    assert (len(caught.value.reading.rejects), caught.value.reading.read) == (2, 2)


def test_missing_files_directories_and_impossible_names(tmp_path: Path) -> None:
    for path in (tmp_path / "none.jsonl", tmp_path, tmp_path / "a\0b"):
        with pytest.raises(DataError, match="cannot be read"):
            read("hh", path)


def test_a_name_in_gz_that_is_not_gzip(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not gzip"):
        read("demonstrations", jsonl(tmp_path / "a.jsonl.gz", [GOOD]))


def test_an_unknown_format_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'sharegtp': did you mean 'sharegpt'"):
        read("sharegtp", tmp_path / "a")
    with pytest.raises(ConfigError, match="known are demonstrations, rankings"):
        records("?!", tmp_path / "a")  # at the call, not at the first record


def test_records_are_streamed(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", [GOOD, b"{oops", GOOD])
    stream = records("demonstrations", path)
    assert not isinstance(next(stream), Reject)
    assert isinstance(next(stream), Reject)


def test_plain_text_is_one_document_to_the_letter(tmp_path: Path) -> None:
    for name in ("a.txt", "a", "a.md"):
        path = tmp_path / name
        path.write_bytes("\ufeffOne.\r\n\r\nTwo \u2028 [three]\n".encode())
        assert [document.text for document in read("text", path).documents] == [
            "One.\r\n\r\nTwo \u2028 [three]\n"
        ]
    packed = gzipped(tmp_path / "b.txt.gz", b'{"text": "taken as it stands"}')
    assert read("text", packed).documents[0].text == '{"text": "taken as it stands"}'


def test_text_of_json_lines(tmp_path: Path) -> None:
    for name in ("a.jsonl", "a.data"):
        reading = read(
            "text", jsonl(tmp_path / name, [{"text": "One.", "id": 3}, {"text": " "}, {"title": "x"}])
        )
        assert [document.text for document in reading.documents] == ["One."]
        assert [(reject.record, reject.field, reject.reason) for reject in reading.rejects] == [
            (2, "text", "is empty"),
            (3, "text", "is missing"),
        ]


def test_plain_text_that_is_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"one\ntwo\nthr\xe9e\n")
    with pytest.raises(DataError, match="is not UTF-8 at byte 12") as caught:
        read("text", path)
    assert caught.value.record == 3
