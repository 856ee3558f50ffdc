"""Files in Microsoft's compound format, and Outlook messages in them, made on the spot."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Union

Storage = Mapping[str, Union[bytes, "Storage"]]
FREE, END, NONE = 0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF
SECTOR, MINI = 512, 64


def compound(root: Storage) -> bytes:
    """A compound file that holds `root`; all of its streams must be shorter than 4,096 bytes, their sum than 60 kB."""
    entries: list[list] = [["Root Entry", 5, NONE, NONE, NONE, 0, 0]]
    mini, mini_fat = bytearray(), []

    def add(storage: Storage, parent: int) -> None:
        before = None
        for name, content in storage.items():
            number = len(entries)
            entries.append([name, 2 if isinstance(content, bytes) else 1, NONE, NONE, NONE, 0, 0])
            if before is None:
                entries[parent][4] = number
            else:
                entries[before][3] = number
            before = number
            if not isinstance(content, bytes):
                add(content, number)
            elif content:
                assert len(content) < 4096
                first, count = len(mini) // MINI, -(-len(content) // MINI)
                mini.extend(content.ljust(count * MINI, b"\0"))
                mini_fat.extend([*range(first + 1, first + count), END])
                entries[number][5:] = [first, len(content)]
            else:
                entries[number][5] = END

    add(root, 0)
    directory = b"".join(_entry(*entry) for entry in entries)
    chains = [
        _sectors(directory),
        _sectors(struct.pack(f"<{len(mini_fat)}I", *mini_fat), b"\xff"),
        _sectors(bytes(mini)),
    ]
    starts, fat, at = [], [0xFFFFFFFD], 1
    for chain in chains:
        starts.append(at if chain else END)
        fat += [*range(at + 1, at + len(chain)), END] if chain else []
        at += len(chain)
    assert len(fat) <= 128
    directory = directory[:116] + struct.pack("<II", starts[2], len(mini)) + directory[124:]
    header = bytes.fromhex("d0cf11e0a1b11ae1") + bytes(16) + struct.pack("<HHHHH6x", 0x3E, 3, 0xFFFE, 9, 6)
    header += struct.pack("<IIIIIIIIII", 0, 1, starts[0], 0, 4096, starts[1], len(chains[1]), END, 0, 0)
    header += struct.pack("<108I", *[FREE] * 108)
    table = struct.pack(f"<{len(fat)}I", *fat).ljust(SECTOR, b"\xff")
    return header + table + b"".join([*_sectors(directory), *chains[1], *chains[2]])


def _entry(name: str, kind: int, left: int, right: int, child: int, start: int, size: int) -> bytes:
    words = (name + "\0").encode("utf-16-le")
    return (
        words.ljust(64, b"\0")
        + struct.pack("<HBBIII", len(words), kind, 1, left, right, child)
        + bytes(36)
        + struct.pack("<III", start, size, 0)
    )


def _sectors(data: bytes, fill: bytes = b"\0") -> list[bytes]:
    return [data[at : at + SECTOR].ljust(SECTOR, fill) for at in range(0, len(data), SECTOR)]


def _properties(head: bytes, values: Mapping[tuple[int, int], bytes | int]) -> dict[str, bytes]:
    """Properties by (id, type): fixed ones stand in the table, others in streams of their own."""
    table, streams = bytearray(head), {}
    for (number, kind), value in values.items():
        fixed = isinstance(value, int)
        table += struct.pack("<HHIQ", kind, number, 6, value if fixed else len(value))
        if not fixed:
            streams[f"__substg1.0_{number:04X}{kind:04X}"] = value
    return {"__properties_version1.0": bytes(table), **streams}


def _text(words: str) -> bytes:
    return words.encode("utf-16-le")


def msg(
    subject: str = "Tea order",
    body: str = "Please order ten tins of Sencha.\r\n",
    html: bytes = b"",
    attachments: Mapping[str, bytes] | None = None,
    *,
    method: int = 1,
) -> bytes:
    """An Outlook message from Ann to Bob, sent on 3 March 2026."""
    attachments = {} if attachments is None else attachments
    ticks = int((datetime(2026, 3, 3, 9, tzinfo=UTC) - datetime(1601, 1, 1, tzinfo=UTC)).total_seconds())
    values: dict[tuple[int, int], bytes | int] = {
        (0x340D, 3): 0x40000,
        (0x001A, 0x1F): _text("IPM.Note"),
        (0x0037, 0x1F): _text(subject),
        (0x0039, 0x40): ticks * 10**7,
        (0x0C1A, 0x1F): _text("Ann"),
        (0x0C1F, 0x1F): _text("ann@example.org"),
        (0x1000, 0x1F): _text(body),
    }
    if html:
        values |= {(0x3FDE, 3): 65001, (0x1013, 0x102): html}
    root: dict[str, bytes | Storage] = dict(
        _properties(struct.pack("<8x4I8x", 1, len(attachments), 1, len(attachments)), values)
    )
    root["__recip_version1.0_#00000000"] = _properties(
        bytes(8), {(0x3001, 0x1F): _text("Bob"), (0x3003, 0x1F): _text("bob@example.org"), (0x0C15, 3): 1}
    )
    for number, (name, data) in enumerate(attachments.items()):
        root[f"__attach_version1.0_#{number:08X}"] = _properties(
            bytes(8), {(0x3705, 3): method, (0x3707, 0x1F): _text(name), (0x3701, 0x102): data}
        )
    return compound(root)
