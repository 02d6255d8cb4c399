"""How much memory this process and its device use: for whoever watches an engine."""

import resource
import sys
from pathlib import Path

__all__ = ["device_bytes", "resident_bytes"]

_STATM = Path("/proc/self/statm")


def resident_bytes() -> int:
    """Memory of this process that is in RAM now; where the system does not tell, the most that ever was."""
    try:
        pages = int(_STATM.read_text().split()[1])
    except (OSError, IndexError, ValueError):
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024
    return pages * resource.getpagesize()


def device_bytes(device: str | None) -> tuple[int, int] | None:
    """Bytes in use on a device, by whichever process, and bytes that it has; None for a CPU.

    Args:
        device: `cpu`, `cuda` or `mps`; None before torch is there, which is not imported for this.
    """
    torch = sys.modules.get("torch")
    if torch is None or device not in ("cuda", "mps"):
        return None
    if device == "mps":
        return int(torch.mps.driver_allocated_memory()), int(torch.mps.recommended_max_memory())
    free, total = torch.cuda.mem_get_info()
    return int(total - free), int(total)
