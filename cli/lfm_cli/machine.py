"""What machine this is, in words."""

import platform
import re
import subprocess
from pathlib import Path

__all__ = ["chip_and_system"]


def chip_and_system() -> tuple[str, str]:
    """The chip, and the system with its version, in words."""
    if platform.system() == "Darwin":
        command = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
        result = subprocess.run(command, capture_output=True, text=True, errors="replace")
        return result.stdout.strip() or platform.machine(), f"macOS {platform.mac_ver()[0]}"
    cpu = Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*: (.+)$", cpu.read_text() if cpu.exists() else "", re.M)
    chip = found[1] if found else platform.machine()
    return chip, f"{platform.system()} {platform.release()}"
