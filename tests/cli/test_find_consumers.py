"""Finding the consumers that the command line names, and saying what is wrong when there are none."""

import importlib
import sys

import pytest

from snowbus.bus.errors import ConfigurationError
from snowbus.cli.find_consumers import find_consumers

STOCK = '''
from snowbus.consumers import consumer

@consumer("snowbus.events", group_id="stock")
async def reserve(record):
    """Reserve."""

@consumer("snowbus.events", group_id="prices")
def price(record):
    """Price."""

def plain(record):
    """Do nothing."""

number = 7
'''


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A working directory with modules of its own, which are forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / "stock.py").write_text(STOCK)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def found(*targets):
    importlib.invalidate_caches()  # the files have just been written
    return [consumer.group_id for consumer in find_consumers(targets)]


def refusal(*targets):
    importlib.invalidate_caches()
    with pytest.raises(ConfigurationError) as refused:
        find_consumers(targets)
    return str(refused.value)


def test_a_name_is_one_consumer_and_a_module_is_all_in_it(folder):
    assert found("stock:price") == ["prices"]
    assert found("stock") == ["stock", "prices"]
    assert found("stock:price", "stock:reserve") == ["prices", "stock"]


def test_a_module_may_stand_in_a_package_and_gather_those_of_others(folder):
    (folder / "shop").mkdir()
    (folder / "shop" / "all.py").write_text("from stock import price, reserve\nalias = price\n")
    assert found("shop.all") == ["prices", "stock"]


def test_the_working_directory_comes_first(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "stock.py").write_text("")
    sys.path.insert(0, str(elsewhere))
    assert found("stock:price") == ["prices"]


def test_a_module_that_is_not_there_is_named_with_the_nearest_one(folder):
    assert refusal("stok:reserve").startswith("there is no module stok; did you mean stock? ")
    (folder / "shop").mkdir()
    (folder / "shop" / "prices.py").write_text("")
    assert refusal("shop.price").startswith("there is no module shop.price; did you mean shop.prices? ")
    assert refusal("shops.prices").startswith("there is no module shops (of shops.prices); did you mean shop? ")


def test_a_module_that_imports_what_is_not_there_is_no_missing_module(folder):
    (folder / "broken.py").write_text("import os\nimport nowhere\n")
    assert refusal("broken:x") == (
        "module broken cannot be imported: ModuleNotFoundError: No module named 'nowhere'\n"
        "  broken.py, line 2, in <module>: import nowhere"
    )


def test_an_error_in_a_module_is_shown_where_the_users_code_was(folder):
    (folder / "helper.py").write_text("import json\n\ndef read():\n    return json.loads('{')\n")
    (folder / "broken.py").write_text("import helper\nhelper.read()\n")
    reason = refusal("broken:x")
    assert reason.startswith("module broken cannot be imported: JSONDecodeError: ")
    assert reason.endswith("\n  helper.py, line 4, in read: return json.loads('{')")


def test_a_syntax_error_is_shown_with_its_place(folder):
    (folder / "broken.py").write_text("\ndef (:\n")
    assert refusal("broken:x") == "broken.py, line 2: invalid syntax"


def test_a_module_that_exits_is_refused(folder):
    (folder / "script.py").write_text("import sys\nsys.exit('no')\n")
    assert refusal("script:x").startswith("module script cannot be imported: SystemExit: no\n  script.py, line 2")


def test_a_declaration_that_cannot_work_is_shown_with_its_place(folder):
    (folder / "wrong.py").write_text(STOCK.replace('group_id="stock"', 'group_id="stock", retires=2'))
    first, second = refusal("wrong").splitlines()
    assert "retires" in first
    assert "retries" in first
    assert second.startswith("  wrong.py, line 4, in <module>: ")


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        (
            "stock:reserv",
            "there is no reserv in module stock (stock.py); did you mean reserve? Consumers in it: reserve,",
        ),
        ("stock:xyz", "there is no xyz in module stock (stock.py). Consumers in it: reserve, price"),
        ("stock:plain", 'plain in module stock (stock.py) is no consumer; decorate it with @consumer("snowbus.events"'),
        ("stock:number", "number in module stock (stock.py) is no consumer but int. Consumers in it: reserve, price"),
        ("stock:", "'stock:' is not MODULE:NAME, for example shop.stock:reserve"),
        ("stock:a:b", "'stock:a:b' is not MODULE:NAME, for example shop.stock:reserve"),
        ("my-stock:a", "'my-stock' is not the name of a module, for example shop.stock:reserve"),
        ("./shop/stock.py:a", "'./shop/stock.py' is not the name of a module; did you mean shop.stock?"),
        ("json", "there is no consumer in module json ("),
        ("", "'' is not the name of a module"),
    ],
)
def test_what_is_no_consumer_is_told_with_a_hint(target, reason):
    assert refusal(target).startswith(reason)


@pytest.mark.parametrize("targets", [("stock:price", "stock:price"), ("stock:price", "stock"), ("stock", "stock")])
def test_a_consumer_that_is_named_twice_is_refused(targets):
    assert refusal(*targets).endswith(" is named twice")


def test_two_consumers_in_one_group_are_refused(folder):
    (folder / "other.py").write_text(STOCK)
    assert refusal("stock:price", "other:price") == (
        "stock:price and other:price both read in group 'prices', so that each would get only a part of the records; "
        "give each a group_id of its own"
    )
