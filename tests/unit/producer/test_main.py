"""The entry point, before anything else is imported."""

import pytest

from pointsman_producer import main


def test_missing_packages_are_named_with_the_way_to_install_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(main, "CLI_PACKAGES", ("click", "no_such_package"))
    with pytest.raises(SystemExit) as ended:
        main.main()
    assert ended.value.code == main.USAGE
    assert capsys.readouterr().err == "pointsman: no_such_package missing; pip install 'pointsman[cli]'\n"


def test_the_exit_code_is_that_of_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments, code in ((["--version"], 0), (["nonsense"], main.USAGE)):
        monkeypatch.setattr("sys.argv", ["pointsman", *arguments])
        with pytest.raises(SystemExit) as ended:
            main.main()
        assert ended.value.code == code
    assert "No such command 'nonsense'" in capsys.readouterr().err
