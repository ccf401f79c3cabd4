"""Paths that another user could change are refused, with the path and what to do."""

import os
import stat
from pathlib import Path

import pytest

from worker.evidence.private_files import NotOursError, check_directory, check_file, make_private, open_file

ANOTHER = os.geteuid() + 4711


@pytest.fixture
def place(tmp_path: Path) -> Path:
    made = tmp_path / "home" / "spool"
    make_private(made, tighten=True)
    return made


def by_another(path: Path, *, mode: int = stat.S_IFREG | 0o600, links: int = 1) -> os.stat_result:
    found = list(path.lstat())
    found[stat.ST_MODE], found[stat.ST_NLINK], found[stat.ST_UID] = mode, links, ANOTHER
    return os.stat_result(found)


def test_a_place_is_made_for_us_alone_and_is_ours_however_often_it_is_asked_for(place: Path) -> None:
    for path in (place, place.parent):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    make_private(place, tighten=True)
    place.chmod(0o755)
    make_private(place, tighten=False)
    assert stat.S_IMODE(place.stat().st_mode) == 0o755
    make_private(place, tighten=True)
    assert stat.S_IMODE(place.stat().st_mode) == 0o700


@pytest.mark.parametrize("mode", [0o777, 0o702, 0o1777])
def test_a_place_that_others_can_write_is_refused_by_name(mode: int, place: Path) -> None:
    place.chmod(mode)
    for tighten in (True, False):
        with pytest.raises(NotOursError, match=f"{place} can be written by other users: chmod go-w"):
            make_private(place, tighten=tighten)


def test_a_directory_above_that_others_can_write_is_refused_unless_it_is_sticky(place: Path) -> None:
    place.parent.chmod(0o777)
    with pytest.raises(NotOursError, match=rf"{place.parent} can be written"):
        check_directory(place)
    with pytest.raises(NotOursError, match=rf"{place.parent} can be written"):
        open_file(place / "any")
    place.parent.chmod(0o1777)
    check_directory(place)


def test_a_link_of_ours_is_followed_and_what_it_leads_to_is_checked(place: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(place)
    check_directory(link)
    make_private(link, tighten=True)
    place.parent.chmod(0o777)
    with pytest.raises(NotOursError, match=str(place.parent)):
        check_directory(link)
    around = tmp_path / "around"
    around.symlink_to(around)
    with pytest.raises((NotOursError, OSError)):
        check_directory(around)


@pytest.mark.parametrize("what", ["directory", "link"])
def test_a_step_that_belongs_to_another_user_is_refused(what: str, place: Path, tmp_path: Path) -> None:
    """As root it is really given away; others meet a directory that is not theirs: none of theirs is above /proc."""
    if os.geteuid() != 0:
        with pytest.raises((NotOursError, OSError)):
            make_private(Path("/proc/1/fd"), tighten=False)
        return
    step = place.parent if what == "directory" else tmp_path / "link"
    if what == "link":
        step.symlink_to(place)
    os.chown(step, ANOTHER, ANOTHER, follow_symlinks=False)
    with pytest.raises(NotOursError, match=rf"the (directory|symbolic link) {step} belongs to user {ANOTHER}"):
        make_private(place if what == "directory" else step, tighten=True)


def test_only_a_regular_file_of_ours_under_one_name_is_opened(place: Path) -> None:
    fine = place / "fine"
    fine.write_bytes(b"kept")
    with open_file(fine) as file:
        assert file.read() == b"kept"
    (place / "link").symlink_to(fine)
    os.mkfifo(place / "pipe")
    for name in ("link", "pipe"):
        with pytest.raises(NotOursError, match=str(place / name)):
            open_file(place / name)
    fine.chmod(0o666)
    with pytest.raises(NotOursError, match="written by other users"):
        open_file(fine)
    fine.chmod(0o600)
    (place / "second").hardlink_to(fine)
    with pytest.raises(NotOursError, match="hard link"):
        open_file(fine)
    with pytest.raises(NotOursError, match=f"belongs to user {ANOTHER}"):
        check_file(fine, by_another(fine))
    with pytest.raises(FileNotFoundError):
        open_file(place / "nowhere")
