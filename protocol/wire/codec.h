// Structs to MessagePack and back. A struct says what it consists of in one function,
//
//   template <class V> void visit(V& v) { v.field(1, "name", name); v.field(2, "parts", parts, 64); }
//
// with a number for each field that is never used again, ascending, and an optional limit: bytes of a string,
// items of a list. On the wire it is a map {number: value} with ascending numbers. Members may be bool,
// integers, float, double, std::string, enums with an `is_known(E)` beside them, structs with `visit`, and
// vectors of all those (but not of bool).
//
// Decoding takes untrusted bytes: a field that is unknown is skipped, one that is missing keeps its default,
// and anything else that is off (wrong type, a number out of its type's range, an enum's unknown value, a
// length above its limit or above the bytes there, numbers out of order or twice, bytes left over) is
// kCorrupt with the field's path. Doubles may be any, not-a-number too: losses and norms of a diverged job
// are, and must be reported.
#pragma once

#include "protocol/wire/decode.h"
#include "protocol/wire/encode.h"
