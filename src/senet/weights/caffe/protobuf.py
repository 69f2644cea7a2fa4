"""The wire format of protocol buffers: messages as fields, nothing in them believed.

A message is a row of fields; each begins with a key (its number and its wire type), and a message inside a message is a field of bytes.
"""

from collections.abc import Iterator

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
LENGTHS = {FIXED64: 8, FIXED32: 4}
LONGEST_VARINT = 10
FIRST_STEP = 64

FieldValue = int | memoryview | None
"""A field's integer, its bytes, or None where it is a number of fixed length, which `read_unpacked` reads."""


class MalformedError(ValueError):
    """Bytes that the message in question never has."""


def fields(message: memoryview) -> Iterator[tuple[int, FieldValue]]:
    """Yield the number and the value of each field.

    Raises:
        MalformedError: if a field does not end inside the message, or is none.
    """
    position = 0
    while position < len(message):
        number, value, position = field(message, position)
        yield number, value


def field(message: memoryview, position: int) -> tuple[int, FieldValue, int]:
    """Return the number and the value of the field at `position`, and where it ends.

    Raises:
        MalformedError: as `fields`.
    """
    key, position = varint(message, position)
    number, wire = key >> 3, key & 7
    if not number:
        raise MalformedError("a field has the number 0")
    if wire == VARINT:
        value, position = varint(message, position)
        return number, value, position
    if wire == BYTES:
        length, position = varint(message, position)
    elif wire in LENGTHS:
        length = LENGTHS[wire]
    else:
        raise MalformedError(f"field {number} has the unknown wire type {wire}")
    end = position + length
    if end > len(message):
        raise MalformedError(f"field {number} should have {length} bytes, and {len(message) - position} are left")
    return number, message[position:end] if wire == BYTES else None, end


def varint(message: memoryview, position: int) -> tuple[int, int]:
    """Return the unsigned 64-bit integer at `position`, and where it ends.

    Raises:
        MalformedError: if it does not end.
    """
    value = 0
    for index, byte in enumerate(message[position : position + LONGEST_VARINT]):
        value |= (byte & 127) << 7 * index
        if byte < 128:
            return value & (1 << 64) - 1, position + index + 1
    raise MalformedError("an integer does not end")


def to_signed(value: int) -> int:
    """Read an unsigned 64-bit integer as a signed one."""
    return value - (1 << 64) if value >> 63 else value


def integers(value: FieldValue) -> Iterator[int]:
    """Yield the signed integers of a repeated field, packed (bytes) or one by one."""
    if isinstance(value, int):
        yield to_signed(value)
    elif value is not None:
        position = 0
        while position < len(value):
            integer, position = varint(value, position)
            yield to_signed(integer)


def read_unpacked(message: memoryview, position: int, size: int, numbers: bytearray) -> int:
    """Append the numbers of `size` bytes that follow one another under the key byte at `position`; return where they end.

    The search for the end looks at twice as many numbers each time, so it costs in proportion to the run, whatever comes after it.

    Raises:
        MalformedError: if the first is cut short.
    """
    key, stride = bytes(message[position : position + 1]), size + 1
    room = (len(message) - position) // stride
    if not room:
        raise MalformedError("a number is cut short")
    count, step = 0, FIRST_STEP
    while count < room:
        step = min(2 * step, room - count)
        keys = message[position + stride * count : position + stride * (count + step) : stride].tobytes()
        same = len(keys) - len(keys.lstrip(key))
        count += same
        if same < step:
            break
    end = position + stride * count
    first = len(numbers)
    numbers += message[position:end]
    del numbers[first::stride]  # the keys
    return end
