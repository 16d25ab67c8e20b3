"""Whatever the OpenAPI document allows, and what it does not, is answered without a 5xx."""

from __future__ import annotations

from typing import Any, Final

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from .conftest import Service
from .talking import answered, begin, posted

EXAMPLES: Final = 10  # for each operation
PHASES: Final = (Phase.explicit, Phase.generate)
MODES: Final = list(schemathesis.GenerationMode)


@pytest.fixture
def known(service: Service) -> dict[str, list[str]]:
    """Ids that are there, by the name of their parameter, for half of the requests."""
    with service.browser() as http:
        talk = begin(http)["id"]
        reply = answered(http, talk, "hello")
        share = posted(http, f"/api/conversations/{talk}/shares", {}, 201)
    return {
        "conversation_id": [talk],
        "message_id": [reply["id"]],
        "generation_id": [reply["generation_id"]],
        "share_id": [share["id"]],
        "token": [share["url"].rpartition("/")[2]],
        "name": ["micro-sft"],
    }


def test_v2_limits__no_request_at_all_brings_a_5xx(service: Service, known: dict[str, list[str]]) -> None:
    with service.browser() as http, service.program() as program:
        schema = schemathesis.openapi.from_dict(http.get("/openapi.json").json())
        operations: list[Any] = [found.ok() for found in schema.get_all_operations()]  # type: ignore[union-attr]
        tried = {
            operation.label: try_some(operation, program if operation.path.startswith("/v1") else http, known)
            for operation in operations
        }
    assert len(tried) == len(operations) > 35
    assert sum(tried.values()) > 5 * len(operations)
    assert min(tried.values()) >= 1


def try_some(operation: Any, client: httpx.Client, known: dict[str, list[str]]) -> int:
    """A few requests of one operation; how many were sent."""
    sent = 0

    @seed(7)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=PHASES,
        suppress_health_check=list(HealthCheck),
    )
    @given(
        case=st.one_of([operation.as_strategy(generation_mode=mode) for mode in MODES]), real=st.booleans()
    )
    def fuzz(case: Any, real: bool) -> None:
        nonlocal sent
        names = [name for name in case.path_parameters or {} if name in known]
        if real:
            case.path_parameters.update({name: known[name][0] for name in names})
        if is_sent(client, case):
            sent += 1

    fuzz()
    return sent


def is_sent(client: httpx.Client, case: Any) -> bool:
    """Whether the request could be sent; what comes back must be no 5xx, unless nothing is live."""
    request = case.as_transport_kwargs(base_url=str(client.base_url))
    body = {"json": request["json"]} if "json" in request else {"content": request.get("data")}
    try:
        answer = client.request(
            request["method"],
            request["url"],
            params=request.get("params"),
            headers=case.headers or {},
            **body,
        )
    except (httpx.InvalidURL, httpx.LocalProtocolError, UnicodeError, TypeError, ValueError):
        return False
    assert answer.status_code < 500 or answer.json()["error"]["code"] in ("no_release", "unavailable"), (
        answer.status_code,
        request,
    )
    return True
