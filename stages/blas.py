"""The threads of numpy's products."""


def use_one_thread() -> None:
    """Have the process compute each product of numpy on one thread.

    On several, sums are rounded differently, so that texts and codes would depend on the number of cores.
    """
    from threadpoolctl import threadpool_limits

    threadpool_limits(1, "blas")
