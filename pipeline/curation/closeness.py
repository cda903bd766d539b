"""Pairs of rows in an order that keeps those which share rows together, so that a batch needs few rows."""

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import reverse_cuthill_mckee

Rows = npt.NDArray[np.intp]


def order_pairs(pairs: Rows, count: int) -> Rows:
    """The order of pairs [m, 2] of `count` rows in which most rows are needed by one or two batches alone.

    Among 10⁶ images half may hang together through pairs yet unproven, so no batch can be a whole cluster:
    rows are placed by the reverse Cuthill–McKee ordering (1969), which keeps the two ends of a pair close.
    """
    ends = np.ones(len(pairs), dtype=np.int8), (pairs[:, 0], pairs[:, 1])
    graph = coo_array(ends, shape=(count, count)).tocsr()
    places = np.empty(count, dtype=np.intp)
    places[reverse_cuthill_mckee((graph + graph.T).tocsr(), symmetric_mode=True)] = np.arange(count)
    near, far = places[pairs[:, 0]], places[pairs[:, 1]]
    order: Rows = np.lexsort((np.maximum(near, far), np.minimum(near, far)))
    return order
