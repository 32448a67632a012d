"""YAML files: what PyYAML lets through or crashes on is one error that says where."""

import pytest
import yaml

from configs.reading import read_yaml


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", "found the key 'a' twice"),
        ("a:\n  b: 1\n  b: 1\n", "found the key 'b' twice"),
        ("day: 2001-13-45\n", "found '2001-13-45', which is no timestamp"),
        ("a: !!timestamp soon\n", "found 'soon', which is no timestamp"),
        ("a: !!int many\n", "found 'many', which is no int"),
        ("a: !!float many\n", "found 'many', which is no float"),
        ("a: 0x_\n", "found '0x_', which is no int"),
        (f"a: {'9' * 5000}\n", "which is no int"),
        ("a: !!python/object/apply:os.getcwd []\n", "could not determine a constructor"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_what_is_no_plain_value_is_refused(text: str, message: str) -> None:
    with pytest.raises(yaml.YAMLError) as caught:
        read_yaml(text)
    assert message in str(caught.value)


def test_plain_values_are_read() -> None:
    assert read_yaml("a: [1, 2.5, yes, ~, text]\nb: {c: 1}\n") == {
        "a": [1, 2.5, True, None, "text"],
        "b": {"c": 1},
    }
