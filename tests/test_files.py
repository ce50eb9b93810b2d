from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mnist_s5.files import atomic_write


def test_threads_can_write_the_same_file(tmp_path: Path) -> None:
    blobs = [bytes([n]) * 10_000 for n in range(40)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda blob: atomic_write(tmp_path / "file", blob), blobs))
    assert (tmp_path / "file").read_bytes() in blobs
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
