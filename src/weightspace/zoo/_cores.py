"""Work in pieces on the cores of a machine."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TypeVar

import torch

__all__ = ["on_cores"]

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def on_cores(
    function: Callable[[_Item, threading.Event], _Result],
    items: Sequence[_Item],
    *,
    workers: int | None = None,
    on_done: Callable[[_Item], object] = lambda item: None,
) -> list[_Result]:
    """Calls a function on each item, one core for each call, and returns the results in the order of the items.

    Args:
        function: takes an item and an event, which is set when it should give up: something else has failed, or the
            user has pressed Ctrl-C.
        items: at least one.
        workers: calls at once; by default `torch.get_num_threads`, each with one thread of torch.
        on_done: called with each item that is done, in the order in which they are.
    """
    threads, stopped = torch.get_num_threads(), threading.Event()
    with ThreadPoolExecutor(min(workers or threads, len(items))) as pool:
        try:
            if workers is None:
                torch.set_num_threads(1)
            futures = {pool.submit(function, item, stopped): item for item in items}
            for future in as_completed(futures):
                future.result()
                on_done(futures[future])
        except BaseException:
            stopped.set()
            pool.shutdown(cancel_futures=True)
            raise
        finally:
            torch.set_num_threads(threads)
    return [future.result() for future in futures]
