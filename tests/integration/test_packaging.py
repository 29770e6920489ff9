"""The wheel and the editable install: both bring the commands and find shell/ and examples/."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]

LOOK = """\
from mtr.scripts import find_shipped, load_script
load_script('remote/gate.sh')
print(find_shipped('shell'), find_shipped('examples'))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from this checkout."""
    out = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out)]
    subprocess.run(build, cwd=CHECKOUT, check=True, capture_output=True)
    (made,) = out.glob("mtremote-*.whl")
    return made


def test_the_wheel_carries_what_it_needs_and_no_more(wheel: Path) -> None:
    """The package, the shell files, the examples; no tests."""
    names = zipfile.ZipFile(wheel).namelist()
    assert "mtr/_shell/remote/gate.sh" in names
    assert {f"mtr/_shell/init/{name}" for name in ("bash.bash", "zsh.zsh", "fish.fish")} <= {*names}
    assert any(name.startswith("mtr/_examples/") for name in names)
    assert not any(name.startswith(("tests/", "shell/", ".mtr")) for name in names)


def test_an_installed_wheel_finds_its_files(wheel: Path, tmp_path: Path) -> None:
    """Far from the checkout, both commands are there and shell/ is found inside the package."""
    place = tmp_path / "venv"
    venv.create(place, with_pip=False, symlinks=True)
    python = place / "bin" / "python"
    (site,) = place.glob("lib/python*/site-packages")
    # The dependencies are those of this environment: no network is needed to see what the wheel brings.
    (site / "dependencies.pth").write_text("\n".join(p for p in sys.path if p.endswith("site-packages")))
    install = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(python),
        "install",
        "-q",
        "--no-deps",
        "--no-index",
        str(wheel),
    ]
    subprocess.run(install, check=True, capture_output=True)
    found = subprocess.run([python, "-I", "-c", LOOK], cwd=tmp_path, capture_output=True, check=True, text=True)
    assert found.stdout.split() == [f"{site}/mtr/_shell", f"{site}/mtr/_examples"]
    for command in ("mtr", "mtremote"):
        done = subprocess.run([place / "bin" / command, "--version"], capture_output=True, check=True, text=True)
        assert done.stdout.startswith("mtr 0.")
        # A shell starts it by its name where $PATH leads to it, and never the other program of that name.
        for folders, start in ((f"{place}/bin:/usr/bin:/bin", command), ("/usr/bin:/bin", f"{place}/bin/{command}")):
            words = [place / "bin" / command, "shell-init", "bash"]
            environ = {**os.environ, "PATH": folders}
            done = subprocess.run(words, env=environ, capture_output=True, check=True, text=True)
            assert done.stdout.startswith(f"_mtr_program=('{start}')\n")


def test_the_checkout_finds_its_files() -> None:
    """An editable install reads them beside the package."""
    done = subprocess.run([sys.executable, "-c", LOOK], cwd=CHECKOUT, capture_output=True, check=True, text=True)
    assert done.stdout.split() == [f"{CHECKOUT}/shell", f"{CHECKOUT}/examples"]
