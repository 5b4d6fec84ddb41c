"""Every test runs on the CPU with eight simulated devices."""

import os

# A test runs each program a few times: compiling fast matters more than running fast.
FLAGS = ("--xla_force_host_platform_device_count=8", "--xla_backend_optimization_level=0")

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
for flag in FLAGS:
    if flag.split("=")[0] not in os.environ.get("XLA_FLAGS", ""):
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flag}".strip()
