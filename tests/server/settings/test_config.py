"""Settings: where they come from, which counts, and what is refused."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path

import platformdirs
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from textgrad_mcp.engine.answerers.client import OPENAI_URL
from textgrad_mcp.schemas.errors import BadInput
from textgrad_mcp.schemas.settings import RoleSettings, Settings
from textgrad_mcp.server.cli.config_table import as_text, facts, shown
from textgrad_mcp.server.settings.load import OPENAI_HOST, Origins, config_path, load, resolve
from textgrad_mcp.server.terminal import Styles


@pytest.fixture(autouse=True)
def _no_configuration_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))


def loaded(
    toml: str = "",
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, str] | None = None,
    *,
    folder: Path,
) -> tuple[Settings, Origins]:
    """What `load` makes of a file with this text, this environment and these flags."""
    path = folder / "config.toml"
    path.write_text(toml)
    return load(flags or {}, environ or {}, path)


def key_of(role: RoleSettings) -> str | None:
    """The key in clear."""
    return role.api_key.get_secret_value() if role.api_key else None


def test_with_nothing_configured_the_assistant_answers_and_the_database_has_a_place() -> None:
    settings, origins = load({}, {})
    assert resolve(settings.forward) == resolve(settings.backward) == "assistant"
    place = platformdirs.user_data_path("textgrad-mcp", appauthor=False)
    assert settings.database == place / "textgrad.db"
    assert set(origins.values()) == {"default"}


def test_flags_count_more_than_the_environment_and_that_more_than_the_file(tmp_path: Path) -> None:
    toml = '[both]\nmodel = "file"\nreply_format = "text"\ntimeout = 7'
    environ = {"TEXTGRAD_MCP_MODEL": "environment", "TEXTGRAD_MCP_REPLY_FORMAT": "object"}
    settings, origins = loaded(toml, environ, {"both.model": "flag"}, folder=tmp_path)
    for role, name in ((settings.forward, "forward"), (settings.backward, "backward")):
        assert (role.model, role.reply_format, role.timeout) == ("flag", "object", 7.0)
        assert origins[f"{name}.model"] == "command line"
        assert origins[f"{name}.reply_format"] == "environment TEXTGRAD_MCP_REPLY_FORMAT"
        assert origins[f"{name}.timeout"] == f"file {tmp_path / 'config.toml'}"
        assert origins[f"{name}.retries"] == "default"


def test_what_is_said_for_one_role_counts_more_than_for_both_within_a_source(
    tmp_path: Path,
) -> None:
    toml = '[forward]\nmodel = "small"\n[both]\nmodel = "large"'
    settings, _ = loaded(toml, folder=tmp_path)
    assert (settings.forward.model, settings.backward.model) == ("small", "large")
    environ = {"TEXTGRAD_MCP_BACKWARD_MODEL": "b", "TEXTGRAD_MCP_MODEL": "a"}
    settings, _ = loaded(toml, environ, folder=tmp_path)
    assert (settings.forward.model, settings.backward.model) == ("a", "b")


def test_every_setting_can_be_given_in_the_file_and_lands_where_it_belongs(tmp_path: Path) -> None:
    toml = """
        database = "here.db"
        workspace = "~/project"
        minibatch = 4
        [forward]
        answerer = "openai"
        base_url = "http://127.0.0.1:1/v1"
        params = { temperature = 0.5, stop = ["\\n"] }
        price_prompt = 0.15
        [evaluators.unit_tests]
        command = ["python", "check.py"]
        env = ["PATH"]
    """
    settings, origins = loaded(toml, folder=tmp_path)
    assert settings.database == tmp_path / "here.db"
    assert settings.workspace == Path("~/project").expanduser()
    assert settings.minibatch == 4
    assert settings.forward.params == {"temperature": 0.5, "stop": ["\n"]}
    assert settings.forward.price_prompt == 0.15
    assert settings.evaluators["unit_tests"].command == ["python", "check.py"]
    assert origins["evaluators.unit_tests.timeout"] == "default"
    assert origins["evaluators.unit_tests.env"].startswith("file ")


@pytest.mark.parametrize(
    ("role", "answerer"),
    [
        (RoleSettings(), "assistant"),
        (RoleSettings(model="m"), "openai"),
        (RoleSettings(base_url="http://h/v1"), "openai"),
        (RoleSettings(answerer="assistant", model="m"), "assistant"),
        (RoleSettings(answerer="sampling"), "sampling"),
        (RoleSettings(answerer="openai"), "openai"),
    ],
)
def test_auto_is_an_endpoint_where_one_is_configured(role: RoleSettings, answerer: str) -> None:
    assert resolve(role) == answerer


@pytest.mark.requirement("keys-kept-home")
def test_a_key_that_lies_in_the_environment_does_not_make_the_server_spend_money() -> None:
    environ = {"OPENAI_API_KEY": "sk-x", "OPENAI_BASE_URL": "http://proxy/v1"}
    settings, _ = load({}, environ)
    for role in (settings.forward, settings.backward):
        assert resolve(role) == "assistant"
        assert (role.api_key, role.base_url) == (None, None)


def test_openais_variables_are_used_by_a_role_that_has_a_model() -> None:
    environ = {"OPENAI_API_KEY": "sk-x", "TEXTGRAD_MCP_FORWARD_MODEL": "m"}
    settings, origins = load({}, environ)
    assert key_of(settings.forward) == "sk-x"
    assert origins["forward.api_key"] == "environment OPENAI_API_KEY"
    assert settings.backward.api_key is None
    settings, _ = load({}, environ | {"OPENAI_BASE_URL": "http://proxy/v1"})
    assert (settings.forward.base_url, key_of(settings.forward)) == ("http://proxy/v1", "sk-x")


@pytest.mark.requirement("keys-kept-home")
def test_openais_key_goes_to_no_other_address_and_the_origin_says_so() -> None:
    environ = {"OPENAI_API_KEY": "sk-x", "TEXTGRAD_MCP_BASE_URL": "http://elsewhere/v1"}
    settings, origins = load({}, environ)
    assert settings.forward.api_key is None
    assert "not sent" in origins["forward.api_key"]
    settings, _ = load({}, environ | {"TEXTGRAD_MCP_API_KEY_ENV": "OPENAI_API_KEY"})
    assert key_of(settings.forward) == "sk-x"
    settings, _ = load(
        {}, {**environ, "TEXTGRAD_MCP_BASE_URL": OPENAI_URL, "TEXTGRAD_MCP_MODEL": "m"}
    )
    assert key_of(settings.forward) == "sk-x"
    assert OPENAI_HOST in OPENAI_URL


def test_a_key_of_our_own_counts_more_than_openais() -> None:
    environ = {
        "OPENAI_API_KEY": "sk-x",
        "TEXTGRAD_MCP_MODEL": "m",
        "TEXTGRAD_MCP_API_KEY": "ours",
    }
    settings, _ = load({}, environ)
    assert key_of(settings.forward) == key_of(settings.backward) == "ours"


def test_a_key_can_be_named_by_its_variable(tmp_path: Path) -> None:
    toml = '[both]\nmodel = "m"\napi_key_env = "MINE"'
    settings, origins = loaded(toml, {"MINE": "secret"}, folder=tmp_path)
    assert key_of(settings.forward) == "secret"
    assert origins["forward.api_key"].endswith("variable MINE")
    with pytest.raises(BadInput, match="MINE, which is not set"):
        loaded(toml, {}, folder=tmp_path)
    with pytest.raises(BadInput, match="exclude each other"):
        loaded(toml + '\napi_key = "x"', {"MINE": "secret"}, folder=tmp_path)


@pytest.mark.parametrize(
    ("toml", "words"),
    [
        ("databse = 'x'", "'databse'.*Did you mean 'database'"),
        ("[forward]\nmodle = 'x'", "'forward.modle'.*'forward.model'"),
        ("[forwards]\nmodel = 'x'", "'forwards'.*'forward'"),
        ("[evaluators.a]\ncomand = ['x']", "Did you mean 'evaluators.a.command'"),
        ("[evaluators.a]\ncommand = ['x']\nentry_point = 'a:b'", "either command or entry_point"),
        ("[evaluators.a]", "either command or entry_point"),
        ("[evaluators.'a.b']\ncommand = ['x']", "without dots"),
        ("evaluators = 1", "must be a table"),
        ("forward = 'x'", "must be a table"),
        ("evaluators.x = 1", "must be a table"),
        ("[forward", "not valid TOML"),
        ("[both]\nconcurrency = 0", r"forward.concurrency \(file .*greater than or equal to 1"),
        ("[both]\nconcurrency = 'many'", "valid integer"),
        ("[both]\nanswerer = 'gpt'", "Use one of auto, openai, assistant, sampling"),
        ("[both]\nparams = { stream = true }", "stream"),
        ("[both]\nbase_url = 'localhost:8080'", "http or https"),
        ("[both]\nmodel = 'm'\napi_key = 'schlüssel'", "forward.api_key holds characters"),
        ("[both]\nanswerer = 'openai'", "TEXTGRAD_MCP_MODEL"),
        ("database = 7", "database"),
    ],
)
def test_a_file_with_a_mistake_is_refused_with_what_is_wrong(
    toml: str, words: str, tmp_path: Path
) -> None:
    with pytest.raises(BadInput, match=words) as refused:
        loaded(toml, folder=tmp_path)
    assert "schlüssel" not in str(refused.value)


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"TEXTGRAD_MCP_MODLE": "x"}, "Did you mean 'TEXTGRAD_MCP_MODEL'"),
        ({"TEXTGRAD_MCP_FORWRD_MODEL": "x"}, "Did you mean 'TEXTGRAD_MCP_FORWARD_MODEL'"),
        ({"TEXTGRAD_MCP_PARAMS": "temperature=0"}, "TEXTGRAD_MCP_PARAMS is not valid JSON"),
        ({"TEXTGRAD_MCP_RETRIES": "many"}, "environment TEXTGRAD_MCP_RETRIES"),
        ({"TEXTGRAD_MCP_CONFIG": "/no/such/file"}, "no configuration file /no/such/file"),
    ],
)
def test_a_mistake_in_the_environment_is_refused_by_name(
    environ: dict[str, str], words: str
) -> None:
    with pytest.raises(BadInput, match=words):
        load({}, environ)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"both.modle": "x"}, "Did you mean 'both.model'"),
        ({"forward.api_key": "sk-secret"}, "can be seen by everyone"),
        ({"evaluators.a.command": "x"}, "Unknown setting"),
    ],
)
def test_a_mistake_in_a_flag_is_refused_by_name(flags: dict[str, str], words: str) -> None:
    with pytest.raises(BadInput, match=words) as refused:
        load(flags, {})
    assert "sk-secret" not in str(refused.value)


def test_values_in_the_environment_become_what_they_mean() -> None:
    environ = {
        "TEXTGRAD_MCP_PARAMS": '{"temperature": 0}',
        "TEXTGRAD_MCP_TIMEOUT": "2.5",
        "TEXTGRAD_MCP_BACKWARD_CONCURRENCY": "3",
        "TEXTGRAD_MCP_DATABASE": "~/a.db",
        "TEXTGRAD_MCP_MODEL": "",
        "TEXTGRAD_MCP_CACHE": "/somewhere",
    }
    settings, _ = load({}, environ)
    assert settings.forward.params == {"temperature": 0}
    assert (settings.forward.timeout, settings.backward.concurrency) == (2.5, 3)
    assert settings.database == Path("~/a.db").expanduser()
    assert settings.forward.model is None  # an empty variable is one that is not set


def test_the_usual_file_is_read_when_it_is_there() -> None:
    assert load({}, {})[0].minibatch == 8
    path = config_path({})
    path.parent.mkdir(parents=True)
    path.write_text("minibatch = 3")
    assert load({}, {})[0].minibatch == 3


def test_a_file_that_was_named_must_exist_and_be_a_file(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no configuration file"):
        load({}, {}, tmp_path / "missing.toml")
    with pytest.raises(BadInput, match="cannot be read"):
        load({}, {}, tmp_path)
    (tmp_path / "latin").write_bytes(b"model = '\xe4'")
    with pytest.raises(BadInput, match="not valid TOML"):
        load({}, {}, tmp_path / "latin")


_flags = st.dictionaries(
    st.sampled_from(["both.model", "forward.timeout", "backward.params", "database", "minibatch"])
    | st.text(max_size=12),
    st.text(max_size=12),
    max_size=3,
)


@hypothesis_settings(deadline=None)
@given(flags=_flags, environ=_flags.map(lambda d: {f"TEXTGRAD_MCP_{k}": v for k, v in d.items()}))
def test_any_flags_and_environment_are_settings_or_bad_input(
    flags: dict[str, str], environ: dict[str, str]
) -> None:
    try:
        settings, origins = load(flags, environ)
    except BadInput:
        return
    assert resolve(settings.forward) in ("openai", "assistant", "sampling")
    assert "database" in origins


def test_paths_of_an_evaluator_mean_the_folder_of_the_file_wherever_the_server_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toml = """
        [evaluators.here]
        command = ["python", "check.py"]
        slots = 2
        [evaluators.below]
        command = ["./run"]
        folder = "tools"
    """
    monkeypatch.chdir(tmp_path)
    tmp_path.joinpath("config.toml").write_text(toml)
    settings, origins = load({}, {}, Path("config.toml"))
    here, below = settings.evaluators["here"], settings.evaluators["below"]
    assert (here.folder, below.folder) == (tmp_path, tmp_path / "tools")
    assert (here.slots, below.slots) == (2, None)
    assert (here.memory_mb, here.disk_mb) == (4096, 1024)
    assert origins["evaluators.here.folder"] == "file config.toml"
    for wrong in ("slots = 0", "disk_mb = 0", "memory_mb = 1"):
        with pytest.raises(BadInput, match=wrong.partition(" ")[0]):
            loaded(f'[evaluators.a]\ncommand = ["x"]\n{wrong}', folder=tmp_path)


@pytest.mark.parametrize("around", [" ", "\n", "\r\n", "\t "])
def test_white_space_around_a_setting_is_taken_off_wherever_it_comes_from(
    tmp_path: Path, around: str
) -> None:
    url = "http://127.0.0.1:1/v1"
    environ = {
        "TEXTGRAD_MCP_BASE_URL": f"{url}{around}",
        "TEXTGRAD_MCP_MODEL": f"{around}m{around}",
        "TEXTGRAD_MCP_ANSWERER": f"openai{around}",
        "TEXTGRAD_MCP_FORWARD_REPLY_FORMAT": f" text{around}",
        "TEXTGRAD_MCP_RETRIES": f"2{around}",
        "TEXTGRAD_MCP_WORKSPACE": f"/tmp/w{around}",
        "TEXTGRAD_MCP_API_KEY_ENV": f"MINE{around}",
        "TEXTGRAD_MCP_TIMEOUT": around,
        "MINE": f"key{around}",
    }
    settings, _ = load({"backward.model": f"b{around}"}, environ)
    role = settings.forward
    assert (role.base_url, role.model, role.answerer) == (url, "m", "openai")
    assert (role.reply_format, role.retries, role.timeout) == ("text", 2, 120.0)
    assert (settings.workspace, settings.backward.model) == (Path("/tmp/w"), "b")
    toml = f"[both]\nbase_url = {json.dumps(url + around)}\nmodel = {json.dumps('m' + around)}"
    filed, _ = loaded(toml, folder=tmp_path)
    assert (filed.forward.base_url, filed.forward.model) == (url, "m")


def test_openais_own_variables_may_end_in_a_line_break() -> None:
    environ = {"OPENAI_BASE_URL": "http://127.0.0.1:1/v1\n", "OPENAI_API_KEY": "key\n"}
    settings, _ = load({}, environ | {"TEXTGRAD_MCP_MODEL": "m"})
    assert settings.forward.base_url == "http://127.0.0.1:1/v1"
    assert key_of(settings.forward) == "key"


@pytest.mark.requirement("keys-hidden")
def test_headers_may_be_set_everywhere_and_only_their_names_are_shown(tmp_path: Path) -> None:
    toml = '[both]\nheaders = { x-one = "secret-1" }\n[backward]\nheaders = { x-two = "secret-2" }'
    settings, origins = loaded(toml, folder=tmp_path)
    assert shown(settings, "forward.headers") == {"x-one": "set"}
    assert shown(settings, "backward.headers") == {"x-two": "set"}
    listed = as_text(settings, origins, tmp_path, Styles()) + str(
        facts(settings, origins, tmp_path)
    )
    assert "secret" not in listed + repr(settings)
    three = '{"x-three": "secret-3"}'
    for found, _ in (
        load({}, {"TEXTGRAD_MCP_FORWARD_HEADERS": three}),
        load({"forward.headers": three}, {}),
    ):
        assert found.forward.headers["x-three"].get_secret_value() == "secret-3"


@pytest.mark.requirement("keys-hidden")
@pytest.mark.parametrize(
    ("headers", "says"),
    [
        ('{"Content-Length": "secret-4"}', "may not hold"),
        ('{"two words": "secret-4"}', "may not hold"),
        ('{"x": "secret-4\\nx-injected: 1"}', "The header x"),
        ('{"x": 4}', "headers.x"),
        ("x: secret-4", "not valid JSON"),
    ],
)
def test_a_header_that_cannot_be_sent_is_refused_without_its_value(headers: str, says: str) -> None:
    with pytest.raises(BadInput) as caught:
        load({"both.headers": headers}, {})
    assert says in str(caught.value)
    assert "secret-4" not in str(caught.value)


def test_a_further_model_is_as_forward_but_for_what_it_says_itself(tmp_path: Path) -> None:
    toml = """
        [both]
        base_url = "http://here/v1"
        model = "large"
        api_key = "sk-here"
        headers = { x-one = "1" }
        timeout = 7
        price_prompt = 2.0
        [forward]
        params = { temperature = 0 }
        [models.small]
        model = "small"
        [models.away]
        base_url = "http://away/v1"
    """
    environ = {"TEXTGRAD_MCP_MODELS_SMALL_UPDATE_PARAMS": '{"seed": 1}'}
    flags = {"models.away.retries": "1"}
    settings, origins = loaded(toml, environ, flags, folder=tmp_path)
    small, away = settings.models["small"], settings.models["away"]
    assert (small.base_url, small.model, key_of(small)) == ("http://here/v1", "small", "sk-here")
    assert (small.params, small.timeout) == ({"temperature": 0}, 7)
    assert small.update_params == {"seed": 1}
    assert (small.price_prompt, settings.forward.price_prompt) == (None, 2.0)
    assert (away.base_url, away.model, away.retries) == ("http://away/v1", "large", 1)
    assert (key_of(away), away.headers, away.price_prompt) == (None, {}, None)
    assert origins["models.small.timeout"] == f"as forward: file {tmp_path / 'config.toml'}"
    assert origins["models.small.retries"] == "default"
    table = as_text(settings, origins, tmp_path, Styles(io.StringIO()))
    assert "small: answered by small at http://here/v1" in table
    assert facts(settings, origins, tmp_path)["answerers"]["away"] == "openai"


def test_a_further_model_with_an_address_is_asked_there_whoever_answers_for_forward() -> None:
    environ = {
        "TEXTGRAD_MCP_FORWARD_ANSWERER": "assistant",
        "TEXTGRAD_MCP_MODELS_LOCAL_BASE_URL": "http://127.0.0.1:1/v1",
        "TEXTGRAD_MCP_MODELS_OTHER_PARAMS": '{"temperature": 1}',
    }
    settings, _ = load({}, environ)
    found = {name: resolve(one) for name, one in settings.answering.items()}
    expected = {"forward": "assistant", "local": "openai", "other": "assistant"}
    assert {name: found[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("toml", "words"),
    [
        ("[models.small]", "models.small needs what differs from forward"),
        ("models = 3", "models in .* must be a table"),
        ('[models.Small]\nmodel = "a"', "no model can be named 'Small'"),
        ('[models.forward]\nmodel = "a"', "no model can be named 'forward'"),
        ('[models.a]\nmodle = "a"', "Did you mean 'models.a.model'"),
        ("[models.a]\ntimeout = 0", "models.a.timeout"),
        ('[models.a]\nanswerer = "opnai"', "models.a.answerer .*Did you mean 'openai'"),
    ],
)
def test_a_mistake_in_a_further_model_is_refused_by_name(
    tmp_path: Path, toml: str, words: str
) -> None:
    with pytest.raises(BadInput, match=words):
        loaded(toml, folder=tmp_path)


def test_variables_that_name_no_option_of_a_further_model_are_unknown() -> None:
    for name in ("MODELS_SMALL", "MODELS_SMALL_COLOUR", "MODELS_MODEL", "MODELS__MODEL"):
        with pytest.raises(BadInput, match="Unknown environment variable"):
            load({}, {f"TEXTGRAD_MCP_{name}": "x"})
