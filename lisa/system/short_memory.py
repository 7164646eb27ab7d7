"""How an error says that memory was short: by its name and words, so that nobody imports torch to ask."""

WORDS = (
    "out of memory",  # CUDA, HIP and MPS, by torch's allocator, by the driver, through NCCL
    "alloc_failed",  # CUBLAS_STATUS_ALLOC_FAILED, CUDNN_STATUS_ALLOC_FAILED
    "can't allocate memory",  # the CPU's allocator
    "not enough memory",  # the same on other systems
)
"""Words of a RuntimeError, in small letters."""

ADVICE = (
    "--auto-batch finds the part of a batch that fits, with the same gradient; or lower --batch-size or "
    "--size"
)


def is_out_of_memory(error: Exception) -> bool:
    """Whether memory was short: torch has a class for its own allocator's errors, others only words."""
    if not isinstance(error, RuntimeError):
        return False
    text = str(error).lower()
    return type(error).__name__ == "OutOfMemoryError" or any(words in text for words in WORDS)
