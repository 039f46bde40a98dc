"""The LDPC codes of 5G NR with their rate matching: TS 38.212 sections 5.3.2 and 5.4.2.

One redundancy version, no repetition, no limited buffer. Sionna has all of 5G and takes a second to
import; the tests hold this to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

_LLR_MAX = 20.0
"""Ceiling of messages; bits that are known have it."""
_GRAPHS = Path(__file__).parent / "base_graphs.txt"
_CORE_ROWS = 4
_INFORMATION_COLUMNS = {1: 22, 2: 10}
# Table 5.3.2-1: lifting sizes are these numbers times powers of two, up to 384.
_LIFTING_SETS = (2, 3, 5, 7, 9, 11, 13, 15)
_MAX_LIFTING = 384

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class LdpcCode:
    """A code of k bits, coded as n.

    ::

        columns:  k bits, zeros  | core parity: 4 | extension parity
        sent:     all but the first 2z and the zeros, until there are n

    Every column and row of the base graph stands for z bits and z checks; the entry at a row and a
    column with shift V is the identity whose columns are rotated by V.

    Attributes:
        k: information bits, CRC included.
        n: coded bits.
        graph: 1 or 2.
        lifting: z.
        rows: row of every entry, (E,).
        columns: column of every entry, (E,).
        shifts: V mod z of every entry, (E,).
    """

    k: int
    n: int
    graph: int
    lifting: int
    rows: Integers
    columns: Integers
    shifts: Integers

    def encode(self, bits: Tensor) -> Tensor:
        """Code blocks: float32 (B, k) of 0 and 1 to (B, n)."""
        z, first = self.lifting, _INFORMATION_COLUMNS[self.graph]
        count = len(bits)
        word = np.zeros((count, int(self.columns.max()) + 1, z), np.uint8)
        message = np.zeros((count, first * z), np.uint8)
        message[:, : self.k] = bits.numpy().astype(np.uint8)
        word[:, :first] = message.reshape(count, first, z)
        core = [self._sum(word, row, first) for row in range(_CORE_ROWS)]
        # All four rows together leave the first parity column alone, rotated by the one entry of
        # its three that has no equal.
        corner = [int(v) for v in self.shifts[(self.columns == first) & (self.rows < _CORE_ROWS)]]
        alone = corner[1]
        word[:, first] = np.roll(core[0] ^ core[1] ^ core[2] ^ core[3], alone, axis=1)
        turned = np.roll(word[:, first], -corner[0], axis=1)
        word[:, first + 1] = core[0] ^ turned
        word[:, first + 3] = core[3] ^ turned
        word[:, first + 2] = (
            core[2] ^ word[:, first + 3] if self.graph == 1 else core[1] ^ word[:, first + 1]
        )
        known = first + _CORE_ROWS
        for row in range(_CORE_ROWS, int(self.rows.max()) + 1):
            word[:, first + row] = self._sum(word, row, known)
        flat = word.reshape(count, -1)
        sent = np.concatenate([flat[:, 2 * z : self.k], flat[:, first * z :]], axis=1)
        return torch.from_numpy(sent[:, : self.n].astype(np.float32))

    def decode(self, llr: Tensor, iterations: int) -> Tensor:
        """Belief propagation, flooding, with the exact check node.

        Args:
            llr: log p(0) / p(1) of the coded bits, float32 (B, n).
            iterations: at most; it ends where all checks hold.

        Returns:
            float32 (B, k) of 0 and 1.
        """
        z, first = self.lifting, _INFORMATION_COLUMNS[self.graph]
        count = len(llr)
        columns = int(self.columns.max()) + 1
        channel = torch.zeros(count, columns * z)
        channel[:, self.k : first * z] = _LLR_MAX
        given = llr.clamp(-_LLR_MAX, _LLR_MAX)
        head = self.k - 2 * z
        channel[:, 2 * z : self.k] = given[:, :head]
        channel[:, first * z : first * z + self.n - head] = given[:, head:]
        channel = channel.reshape(count, columns, z)

        to_rows, to_columns, at_rows, at_columns = self._schedule
        edges = len(self.rows)

        def turn(messages: Tensor, index: Tensor) -> Tensor:
            return messages.reshape(count, -1)[:, index].reshape(count, edges, z)

        total = channel
        back = torch.zeros(count, edges, z)
        for _ in range(iterations):
            forth = turn(total[:, self._columns] - back, at_rows).clamp(-_LLR_MAX, _LLR_MAX)
            size, negative = _phi(forth.abs()), (forth < 0).float()
            # A minus sign for every other odd number of negative messages.
            odd = ((to_rows @ negative)[:, self._rows] - negative) % 2
            size = _phi((to_rows @ size)[:, self._rows] - size)
            back = turn((size * (1 - 2 * odd)).clamp(-_LLR_MAX, _LLR_MAX), at_columns)
            total = channel + to_columns @ back
            wrong = turn((total[:, self._columns] < 0).float(), at_rows)
            if not bool(((to_rows @ wrong) % 2).any()):
                break
        return (total.reshape(count, -1)[:, : self.k] < 0).float()

    @cached_property
    def _rows(self) -> Tensor:
        return torch.from_numpy(self.rows)

    @cached_property
    def _columns(self) -> Tensor:
        return torch.from_numpy(self.columns)

    @cached_property
    def _schedule(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Sums of entries by row and by column, and the rotations between the two."""
        z, edges = self.lifting, len(self.rows)
        to_rows = torch.zeros(int(self.rows.max()) + 1, edges)
        to_rows[self._rows, torch.arange(edges)] = 1
        to_columns = torch.zeros(int(self.columns.max()) + 1, edges)
        to_columns[self._columns, torch.arange(edges)] = 1
        base = np.arange(edges)[:, None] * z
        at_rows = base + (np.arange(z) + self.shifts[:, None]) % z
        at_columns = base + (np.arange(z) - self.shifts[:, None]) % z
        turns = torch.from_numpy(at_rows.reshape(-1)), torch.from_numpy(at_columns.reshape(-1))
        return to_rows, to_columns, *turns

    def _sum(self, word: npt.NDArray[np.uint8], row: int, columns: int) -> npt.NDArray[np.uint8]:
        """What the entries of a row in the first columns add up to, (B, z)."""
        found = np.zeros((len(word), self.lifting), np.uint8)
        for entry in np.flatnonzero((self.rows == row) & (self.columns < columns)):
            found ^= np.roll(word[:, self.columns[entry]], -int(self.shifts[entry]), axis=1)
        return found


def ldpc_code(k: int, n: int) -> LdpcCode:
    """The standard's code of k bits, CRC included, coded as n."""
    rate = k / n
    graph = 2 if k <= 292 or (k <= 3824 and rate <= 0.67) or rate <= 0.25 else 1
    first = _INFORMATION_COLUMNS[graph]
    used = first if graph == 1 else 10 if k > 640 else 9 if k > 560 else 8 if k > 192 else 6
    lifting, which = min(
        (size, which)
        for which, odd in enumerate(_LIFTING_SETS)
        for size in (odd << power for power in range(9))
        if size <= _MAX_LIFTING and used * size >= k
    )
    entries = base_graphs()[graph]
    # Parity that is not sent tells nothing: its checks are left out.
    columns = max(-(-(n + 2 * lifting + first * lifting - k) // lifting), first + _CORE_ROWS)
    entries = entries[entries[:, 0] < columns - first]
    rows, at, shifts = entries[:, 0], entries[:, 1], entries[:, 2 + which] % lifting
    return LdpcCode(k, n, graph, lifting, rows, at, shifts)


@lru_cache(maxsize=1)
def base_graphs() -> dict[int, Integers]:
    """Rows, columns and the shifts of the eight sets, (E, 10), by row."""
    table = np.loadtxt(_GRAPHS, dtype=np.int64)
    return {graph: table[table[:, 0] == graph, 1:] for graph in (1, 2)}


def _phi(x: Tensor) -> Tensor:
    """-log(tanh(x / 2)), its own inverse."""
    x = x.clamp(8.5e-8, 16.635532)
    return torch.log1p(2 / torch.expm1(x))
