"""PEM files: whole or not at all, secret where they must be."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from server.pki import files
from server.pki.certificates import make_authority, make_key, make_revocations
from shared_models.errors import ConfigError, StorageError
from tests.fleet_pki import now


@pytest.mark.parametrize(("is_secret", "mode"), [(True, 0o600), (False, 0o644)])
def test_modes_do_not_depend_on_the_umask_or_the_former_file(tmp_path: Path, is_secret: bool, mode: int) -> None:
    path = tmp_path / "a" / "key.pem"
    before = os.umask(0)
    try:
        files.write(path, b"1", is_secret=is_secret)
        path.chmod(0o666)
        files.write(path, b"2", is_secret=is_secret)
    finally:
        os.umask(before)
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"2", mode)
    assert [each.name for each in path.parent.iterdir()] == ["key.pem"]


def test_a_write_that_fails_leaves_the_former_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "key.pem"
    files.write(path, b"1")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(StorageError, match="No space left"):
        files.write(path, b"2")
    assert path.read_bytes() == b"1"
    assert [each.name for each in tmp_path.iterdir()] == ["key.pem"]


def test_an_encrypted_key_needs_its_passphrase(tmp_path: Path) -> None:
    key, path = make_key(), tmp_path / "key.pem"
    files.write(path, files.key_to_pem(key, b"secret"), is_secret=True)
    assert b"ENCRYPTED" in path.read_bytes()
    assert files.load_key(path, b"secret").private_numbers() == key.private_numbers()
    for wrong in (None, b"guess"):
        with pytest.raises(ConfigError, match="passphrase"):
            files.load_key(path, wrong)


def test_lists_and_certificates_one_after_the_other(tmp_path: Path) -> None:
    keys = [make_key(), make_key()]
    authorities = [make_authority(key, "CA", now(), 10) for key in keys]
    lists = [make_revocations([], 1, a, k, now()) for a, k in zip(authorities, keys, strict=True)]
    (tmp_path / "ca.pem").write_bytes(files.to_pem(authorities))
    (tmp_path / "crl.pem").write_bytes(files.to_pem(lists))
    assert files.load_certificates(tmp_path / "ca.pem") == authorities
    assert [each.issuer for each in files.load_revocations(tmp_path / "crl.pem")] == [a.subject for a in authorities]
    (tmp_path / "crl.pem").write_bytes(files.to_pem(lists)[:-30])  # cut off while being copied
    with pytest.raises(ConfigError, match="nothing else"):
        files.load_revocations(tmp_path / "crl.pem")


@pytest.mark.parametrize("load", [files.load_key, files.load_certificates, files.load_revocations])
@pytest.mark.parametrize("content", [None, b"", b"nonsense", b"-----BEGIN X509 CRL-----\nAA\n-----END X509 CRL-----\n"])
def test_what_is_not_there_or_damaged(tmp_path: Path, load: object, content: bytes | None) -> None:
    path = tmp_path / "x.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"x\.pem"):
        load(path)  # type: ignore[operator]


def test_a_warning_where_others_can_read_a_key(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "key.pem"
    files.write(path, b"", is_secret=True)
    with caplog.at_level(logging.WARNING):
        files.warn_if_open(path)
        assert not caplog.records
        path.chmod(0o640)
        files.warn_if_open(path)
    assert "chmod 600" in caplog.text
