"""win_get_url and win_package; the one package that is played is the MSI of WSL."""

from __future__ import annotations

import os
import re

from . import defaults, drive, tree, web
from .ansible_arguments import ALGORITHMS, Module, Option, Spec
from .ansible_files import checksum

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MSI = bytes.fromhex("d0cf11e0a1b11ae1")
WSL_PATH = "C:\\Program Files\\WSL\\wsl.exe"
_MSI_UNKNOWN_PRODUCT = 1605
_WEB = {
    "url_timeout": Option("int", 30),
    "use_proxy": Option("bool", True),
    "proxy_url": Option(),
}


def _fetched(module: Module, url: str, doing: str) -> str:
    """Return the local path of what an address gives."""
    proxy = module.params["proxy_url"] if module.params["use_proxy"] else None
    try:
        path = web.fetch(module.machine, url, proxy)
    except web.Unreachable as error:
        module.result["status_code"] = error.status
        module.fail(f"{doing}: {error}")
    module.result.update(status_code=200, msg="OK")
    return path


def _get_url(module: Module) -> None:
    url, dest = module.params["url"], module.params["dest"]
    real = module.real(dest)
    no_folder = (
        ", or is not visible to the current user. Ensure download destination folder exists "
        "(perhaps using win_file state=directory) before win_get_url runs."
    )
    if real is not None and os.path.isdir(real):
        name = re.sub("[?#].*", "", url.partition("://")[2]).rpartition("/")[2]
        dest = dest.rstrip("\\/") + "\\" + (name or url.partition("://")[2].partition("/")[0])
    elif dest.endswith(("\\", "/")):
        module.fail(f"The destination path '{dest}' does not exist{no_folder}")
    module.result.update(elapsed=0, url=url, dest=dest)
    algorithm, wanted = module.params["checksum_algorithm"], module.params["checksum"]
    if module.params["checksum_url"]:
        wanted = _listed(module, url)
    wanted = wanted.strip().lower() if wanted else None
    real = module.real(dest)
    there = None if real is None else checksum(real, algorithm)
    force = module.params["force"] or (wanted is not None and there is not None and wanted != there)
    if force or there is None:
        above = drive.full(module.machine, dest).rpartition("\\")[0]
        if module.real(above + "\\") is None:
            module.fail(f"The path '{above}' does not exist for destination '{dest}'{no_folder}")
        _download(module, url, dest, there, wanted)
    elif wanted is None or wanted != there:
        source = _fetched(module, url, f"Error when requesting 'Last-Modified' date from '{url}'.")
        if os.path.getmtime(source) > os.path.getmtime(tree.place(module.machine, dest)):
            _download(module, url, dest, there, wanted)
    real = module.real(dest)
    if real is not None:
        module.result.update(checksum_dest=checksum(real, algorithm), size=os.path.getsize(real))


def _listed(module: Module, url: str) -> str:
    """Return the checksum that a list of the web has for a file."""
    listing = module.params["checksum_url"]
    source = _fetched(module, listing, f"Error when getting the remote checksum from '{listing}'.")
    name = url.rpartition("/")[2]
    with open(source, encoding="utf-8") as file:
        found = [line for line in file if re.search(rf"\s+[./\\]*{re.escape(name)}\s*$", line)]
    if not found:
        module.fail(f"Checksum record not found for file name '{name}' in file from url: '{listing}'")
    return re.sub(r"\W", "", found[0].split()[0])


def _download(module: Module, url: str, dest: str, there: str | None, wanted: str | None) -> None:
    source = _fetched(module, url, f"Error downloading '{url}' to '{dest}'")
    found = checksum(source, module.params["checksum_algorithm"])
    module.result["checksum_src"] = found
    if wanted is not None and wanted != found:
        module.fail(f"The checksum for {url} did not match '{wanted}', it was '{found}'")
    if there != found and module.changed():
        with open(source, "rb") as file:
            tree.write(module.machine, dest, file.read())


def _package(module: Module) -> None:
    params, state = module.params, module.machine.state
    module.result.update(reboot_required=False, rc=0)
    present = params["state"] == "present"
    if present and not params["path"]:
        module.fail("state is present but all of the following are missing: path")
    if not present and not params["path"] and not params["product_id"]:
        module.fail("state is absent but any of the following are missing: path, product_id")
    remote = bool(params["path"]) and params["path"].lower().startswith("http")
    source = None
    if remote and not (present and _installed(module, params["product_id"])):
        source = _fetched(module, params["path"], f"Failed to download {params['path']}")
    elif params["path"] and not remote:
        source = module.real(params["path"])
        if source is None and not module.check:
            module.fail(f"the file at the path '{params['path']}' cannot be reached")
    product = params["product_id"]
    if source is not None:
        _opened(module, source)
        product = state["wsl_msi_product"]
    installed = _installed(module, product)
    if installed is present or not module.changed():
        module.result["changed"] = installed is not present
        return
    if present:
        assert source is not None
        found = checksum(source, params["checksum_algorithm"])
        module.result["checksum"] = found.upper()
        if params["checksum"] and params["checksum"].lower() != found:
            module.result["changed"] = False
            wrong = f"did not match '{params['checksum']}', it was '{found.upper()}'"
            module.fail(f"The checksum for {params['path']} {wrong}")
    code = state["wsl_msi_exit_code"] if product == state["wsl_msi_product"] else _MSI_UNKNOWN_PRODUCT
    module.result.update(rc=code, reboot_required=code == 3010)
    if code not in params["expected_return_code"]:
        module.fail(
            f"unexpected rc from '{_line(module, product)}': see rc, stdout, and stderr for more details"
        )
    (_install if present else _uninstall)(module)


def _opened(module: Module, path: str) -> None:
    """Refuse a file that is no MSI, or whose name is not that of WSL's."""
    with open(path, "rb") as file:
        head = file.read(len(MSI))
    if head != MSI:
        if module.params["provider"] == "auto":
            module.unplayed("a package that is no MSI")
        module.fail(
            "Unhandled exception while executing module: This installation package could not be opened."
        )
    name = module.params["path"].replace("/", "\\").rpartition("\\")[2].lower()
    if not name.startswith("wsl") or not name.endswith(".msi"):
        module.unplayed(f"the MSI {name}, for it knows that of WSL only,")


def _line(module: Module, product: str) -> str:
    what = f"/i {module.params['path']}" if module.params["state"] == "present" else f"/x {product}"
    return f"C:\\Windows\\System32\\msiexec.exe {what} /qn /norestart"


def _installed(module: Module, product: str | None) -> bool:
    state, params = module.machine.state, module.params
    found = product is not None and any(product.lower() == known.lower() for known in state["packages"])
    path, version = params["creates_path"], params["creates_version"]
    if path:
        real = module.real(path)
        found = real is not None
        if version and real is not None:
            if os.path.isdir(real):
                module.fail("creates_path must be a file not a directory when creates_version is set")
            found = state["file_versions"].get(drive.key(module.machine, path), "0.0.0.0") == version
    if params["creates_service"]:
        found = any(params["creates_service"].lower() == known.lower() for known in state["services"])
    return bool(found)


def _install(module: Module) -> None:
    machine = module.machine
    tree.make(machine, WSL_PATH.rpartition("\\")[0])
    tree.write(machine, WSL_PATH, b"MZ")

    def change(state: dict[str, Any]) -> None:
        version = state["wsl_msi_version"]
        state.update(wsl="ok", wsl_version=version)
        state["packages"][state["wsl_msi_product"]] = "Windows Subsystem for Linux"
        state["file_versions"][drive.key(machine, WSL_PATH)] = version
        state["services"][defaults.WSL_SERVICE] = dict(defaults.WSL_SERVICE_STATE)
        state["reboot_pending"] = state["reboot_pending"] or state["wsl_msi_exit_code"] == 3010

    machine.change(change)


def _uninstall(module: Module) -> None:
    machine = module.machine
    if module.real(WSL_PATH) is not None:
        tree.remove(machine, WSL_PATH)
    from . import wsl_management

    for name in machine.state["distros"]:
        wsl_management.end(machine, name)

    def change(state: dict[str, Any]) -> None:
        state.update(wsl="missing")
        state["packages"].pop(state["wsl_msi_product"], None)
        state["file_versions"].pop(drive.key(machine, WSL_PATH), None)
        state["services"].pop(defaults.WSL_SERVICE, None)

    machine.change(change)


SPECS = {
    "win_get_url": Spec(
        _get_url,
        {
            "url": Option(required=True),
            "dest": Option("path", required=True),
            "force": Option("bool", True),
            "checksum": Option(),
            "checksum_algorithm": Option(default="sha1", choices=ALGORITHMS),
            "checksum_url": Option(),
            **_WEB,
            "url_timeout": Option("int", 30, aliases=("timeout",)),
        },
        exclusive=(("checksum", "checksum_url"),),
    ),
    "win_package": Spec(
        _package,
        {
            "path": Option(),
            "product_id": Option(),
            "arguments": Option("raw"),
            "checksum": Option(),
            "checksum_algorithm": Option(default="sha1", choices=ALGORITHMS),
            "creates_path": Option("path"),
            "creates_version": Option(),
            "creates_service": Option(),
            "expected_return_code": Option("list", [0, 3010], elements="int"),
            "log_path": Option("path"),
            "provider": Option(
                default="auto", choices=("auto", "msi", "msix", "msp", "registry"), played=("auto", "msi")
            ),
            "state": Option(default="present", choices=("present", "absent")),
            **_WEB,
        },
    ),
}
