"""What is wrong with a file, in words of its own: not in those of the library that stumbled over it."""

from __future__ import annotations

import json
import re
import tokenize
import zipfile
import zlib

NUMPY_HEADER = re.compile(r"magic string|malformed node|header|^Header|descr is not|^EOF: |pickle|dtype descriptor|"
                          r"fortran_order|shape is not valid", re.IGNORECASE)
DO_NOT_FIT = re.compile(r"broadcast|reshape array|not aligned|matmul|operand|size mismatch|buffer size|"
                        r"array dimensions|could not convert|not enough values|too many values")
MOST_TOLD = 300  # characters of another library's message
ARCHIVE = "it is no whole .npz archive: cut off, or bytes in it were changed"
HEADER = "its NumPy header is damaged, or it is no .npy"


def told(error: BaseException, arrays: bool = True) -> str:
    """The reason in plain words; what npunet itself has raised is passed on.

    arrays : whether NumPy may have raised it, so that a ValueError may be in its words
    """
    text = " ".join(str(error).split())[:MOST_TOLD]
    if isinstance(error, (zipfile.BadZipFile, zlib.error, NotImplementedError)):
        return ARCHIVE
    if isinstance(error, json.JSONDecodeError):
        return f"it is no JSON from line {error.lineno}, column {error.colno} on"
    if isinstance(error, UnicodeDecodeError):
        return f"it is no UTF-8 text from byte {error.start} on"
    if isinstance(error, KeyError):
        if error.args and " " in str(error.args[0]):
            return str(error.args[0])
        missing = text.strip("'\"").removesuffix(" is not a file in the archive")
        return f"it lacks {missing}"
    if isinstance(error, OSError):  # 22: a seek out of the file
        return ARCHIVE if error.errno == 22 else error.strerror or text or "it cannot be read"
    if isinstance(error, (tokenize.TokenError, SyntaxError)) or (
            arrays and isinstance(error, ValueError) and NUMPY_HEADER.search(text)):
        return HEADER
    if isinstance(error, ValueError):
        return "arrays in it do not fit together" if arrays and DO_NOT_FIT.search(text) else text
    if isinstance(error, MemoryError):
        return "it needs more memory than there is"
    if isinstance(error, ArithmeticError):
        return "numbers in it are too large"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, EOFError):
        return "it ends too early"
    return "something in it is of another kind than expected"
