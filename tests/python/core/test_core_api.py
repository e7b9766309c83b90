"""Handlers that call HTTP APIs (§13.3)."""

import gc
import json
from typing import Any

import httpx
import pytest
from tasker_core import ApiHandler, ApiResponse, StepContext, StepHandler, StepHandlerResult
from tasker_core.step_handler.mixins import APIMixin
from tasker_core.step_handler.mixins import api as api_module

WORDS = {
    400: ("bad_request", "Bad Request"),
    401: ("unauthorized", "Unauthorized"),
    403: ("forbidden", "Forbidden"),
    404: ("not_found", "Not Found"),
    405: ("method_not_allowed", "Method Not Allowed"),
    408: ("request_timeout", "Request Timeout"),
    409: ("conflict", "Conflict"),
    410: ("gone", "Gone"),
    422: ("unprocessable_entity", "Unprocessable Entity"),
    429: ("rate_limited", "Too Many Requests"),
    500: ("internal_server_error", "Internal Server Error"),
    502: ("bad_gateway", "Bad Gateway"),
    503: ("service_unavailable", "Service Unavailable"),
    504: ("gateway_timeout", "Gateway Timeout"),
    418: ("client_error", "HTTP Error"),
    501: ("server_error", "HTTP Error"),
    505: ("server_error", "HTTP Error"),
    302: ("http_error", "HTTP Error"),
}
RETRYABLE = {408, 429, 500, 502, 503, 504}


class Shop(ApiHandler):
    base_url = "https://shop.example"
    default_timeout = 5.0
    default_headers = {"x-shop": "1"}

    def call(self, context: StepContext) -> StepHandlerResult:
        return self.success()


def answer(
    status: int = 200, body: Any = None, headers: dict[str, str] | None = None
) -> ApiResponse:
    return ApiResponse(httpx.Response(status, json=body, headers=headers))


def shop() -> Shop:
    """Return a handler whose server answers with what it was asked."""

    def respond(request: httpx.Request) -> httpx.Response:
        return httpx.Response(
            200,
            json={
                "method": request.method,
                "url": str(request.url),
                "body": request.content.decode(),
                "headers": dict(request.headers),
            },
        )

    handler = Shop()
    handler._client = httpx.Client(
        base_url="https://shop.example", transport=httpx.MockTransport(respond)
    )
    return handler


# The client


def test_the_defaults() -> None:
    assert (APIMixin.base_url, APIMixin.default_timeout, APIMixin.default_headers) == (
        "",
        30.0,
        {},
    )


def test_the_client_is_made_when_it_is_needed() -> None:
    handler = Shop()
    assert handler._client is None
    client = handler.client
    assert client is handler.client is handler._client
    assert str(client.base_url) == "https://shop.example"
    assert client.timeout == httpx.Timeout(5.0)
    assert client.headers["x-shop"] == "1"
    handler.close()


def test_an_instance_may_have_its_own_settings() -> None:
    handler = Shop()
    handler.base_url = "https://other.example"
    assert str(handler.client.base_url) == "https://other.example"
    handler.close()


def test_closing_forgets_the_client_and_may_be_repeated() -> None:
    handler = Shop()
    client = handler.client
    handler.close()
    handler.close()
    assert (client.is_closed, handler._client) == (True, None)


def test_a_handler_that_goes_takes_its_client_along() -> None:
    handler = Shop()
    client = handler.client
    del handler
    gc.collect()
    assert client.is_closed


def test_a_client_that_cannot_be_closed_does_not_matter_at_the_end() -> None:
    class Stuck:
        def close(self) -> None:
            raise RuntimeError("no")

    handler = Shop()
    handler._client = Stuck()  # type: ignore[assignment]
    handler.__del__()
    assert handler._client is None


# §15.2: handlers that override __init__ fail on _client.


def test_a_constructor_need_not_call_the_mixins() -> None:
    class Own(Shop):
        def __init__(self) -> None:
            self.own = 1

    assert Own()._client is None


def test_the_mixin_goes_before_the_handler() -> None:
    class Mixed(APIMixin, StepHandler):
        def call(self, context: StepContext) -> StepHandlerResult:
            return self.success()

    assert Mixed()._client is None


# Requests


def sent(response: ApiResponse) -> tuple[str, str, str]:
    return response.body["method"], response.body["url"], response.body["body"]


def test_a_get_has_parameters_and_headers() -> None:
    response = shop().get("/items", params={"q": "a"}, headers={"x-own": "2"})
    assert sent(response) == ("GET", "https://shop.example/items?q=a", "")
    assert response.body["headers"]["x-own"] == "2"


@pytest.mark.parametrize("method", ["post", "put", "patch"])
def test_bodies_are_json_or_data(method: str) -> None:
    call = getattr(shop(), method)
    assert sent(call("/items", json={"a": 1}))[0] == method.upper()
    assert json.loads(sent(call("/items", json={"a": 1}))[2]) == {"a": 1}
    assert sent(call("/items", data={"a": "1"}))[2] == "a=1"
    assert call("/items", {"a": 1}, None, {"x-own": "2"}).body["headers"]["x-own"] == "2"


def test_a_delete_and_any_other_method() -> None:
    assert sent(shop().delete("/items/1", headers={"x-own": "2"}))[0] == "DELETE"
    assert sent(shop().request("OPTIONS", "/items"))[0] == "OPTIONS"


def test_more_arguments_reach_httpx() -> None:
    response = shop().get("/items", auth=("user", "word"))
    assert response.body["headers"]["authorization"].startswith("Basic ")


def test_errors_of_the_connection_are_raised() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    handler = Shop()
    handler._client = httpx.Client(base_url="https://x", transport=httpx.MockTransport(refuse))
    with pytest.raises(httpx.ConnectError):
        handler.get("/")


# Responses


def test_a_json_answer_is_decoded() -> None:
    response = answer(201, {"a": 1})
    assert (response.status_code, response.body, response.ok) == (201, {"a": 1}, True)
    assert isinstance(response.raw_response, httpx.Response)
    assert type(response.headers) is dict
    assert response.to_dict() == {
        "status_code": 201,
        "headers": response.headers,
        "body": {"a": 1},
    }


def test_other_answers_are_text() -> None:
    assert ApiResponse(httpx.Response(200, text="plain")).body == "plain"


def test_broken_json_is_text() -> None:
    broken = httpx.Response(
        200, text="{", headers={"content-type": "application/json; charset=utf-8"}
    )
    assert ApiResponse(broken).body == "{"


def test_a_body_that_is_given_is_taken() -> None:
    assert ApiResponse(httpx.Response(200, json={"a": 1}), body=[1]).body == [1]


def test_any_object_of_the_right_shape_is_a_response() -> None:
    class Shaped:
        status_code = 200
        headers = {"content-type": "application/json"}
        text = "text"

        def json(self) -> Any:
            return {"a": 1}

    assert ApiResponse(Shaped()).body == {"a": 1}


@pytest.mark.parametrize(
    ("status", "ok", "client", "server"),
    [
        (199, False, False, False),
        (200, True, False, False),
        (299, True, False, False),
        (300, False, False, False),
        (400, False, True, False),
        (499, False, True, False),
        (500, False, False, True),
        (599, False, False, True),
    ],
)
def test_kinds_of_status(status: int, ok: bool, client: bool, server: bool) -> None:
    response = answer(status)
    assert (response.ok, response.is_client_error, response.is_server_error) == (
        ok,
        client,
        server,
    )


@pytest.mark.parametrize("status", WORDS)
def test_which_status_is_worth_a_retry(status: int) -> None:
    assert answer(status).is_retryable is (status in RETRYABLE)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [(None, None), ("30", 30), ("0", 0), ("1.5", 60), ("Wed, 21 Oct 2015 07:28:00 GMT", 60)],
)
def test_how_long_the_server_asks_to_wait(text: str | None, seconds: int | None) -> None:
    headers = {} if text is None else {"retry-after": text}
    assert answer(429, headers=headers).retry_after == seconds


def test_the_constants_of_the_module() -> None:
    assert range(400, 500) == api_module.CLIENT_ERROR_CODES
    assert range(500, 600) == api_module.SERVER_ERROR_CODES
    assert {400, 401, 403, 404, 405, 406, 410, 422} == api_module.NON_RETRYABLE_STATUS_CODES
    assert api_module.RETRYABLE_STATUS_CODES == RETRYABLE


# Results


@pytest.mark.parametrize(
    ("body", "given", "result"),
    [
        ({"a": 1}, None, {"a": 1}),
        ([1], None, {"data": [1]}),
        ({"a": 1}, {"own": 1}, {"own": 1}),
        ({"a": 1}, {}, {}),
    ],
)
def test_a_success_of_an_answer(body: Any, given: Any, result: Any) -> None:
    response = answer(200, body)
    made = Shop().api_success(response, given)
    assert (made.is_success, made.result) == (True, result)
    assert made.metadata == {"status_code": 200, "headers": response.headers}


def test_a_success_may_leave_the_answer_out() -> None:
    assert Shop().api_success(answer(200, {}), include_response=False).metadata == {}


@pytest.mark.parametrize("status", WORDS)
def test_a_failure_of_an_answer(status: int) -> None:
    word, text = WORDS[status]
    made = Shop().api_failure(answer(status))
    assert (made.is_success, made.error_type) == (False, word)
    assert made.error_message == f"HTTP {status}: {text}"
    assert made.retryable is (status in RETRYABLE)


def test_the_metadata_of_a_failure() -> None:
    response = answer(429, {"error": "slow down"}, {"retry-after": "30"})
    made = Shop().api_failure(response)
    assert made.error_message == "HTTP 429: slow down"
    assert made.metadata == {
        "status_code": 429,
        "headers": response.headers,
        "retry_after_seconds": 30,
        "response_body": {"error": "slow down"},
    }


def test_a_failure_without_a_body_keeps_none() -> None:
    empty = ApiResponse(httpx.Response(500))
    assert set(Shop().api_failure(empty).metadata) == {"status_code", "headers"}


def test_a_failure_may_have_its_own_message() -> None:
    assert Shop().api_failure(answer(500), "own words").error_message == "own words"


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({"error": "a", "message": "b"}, "a"),
        ({"error": {"message": "inner"}, "message": "b"}, "inner"),
        ({"error": {"code": 5}, "message": "b"}, "b"),
        ({"error": 5, "detail": "c"}, "c"),
        ({"error_message": "d"}, "d"),
        ({"msg": "e"}, "e"),
        ({"other": "f"}, "Bad Request"),
        (["error"], "Bad Request"),
    ],
)
def test_what_the_body_says_went_wrong(body: Any, detail: str) -> None:
    assert Shop()._format_error_message(answer(400, body)) == f"HTTP 400: {detail}"


@pytest.mark.parametrize(
    ("method", "what", "error_type"),
    [
        ("connection_error", "Connection error", "connection_error"),
        ("timeout_error", "Request timeout", "timeout"),
    ],
)
def test_failures_of_the_transport(method: str, what: str, error_type: str) -> None:
    error = httpx.ConnectError("refused")
    made = getattr(Shop(), method)(error)
    assert (made.error_message, made.error_type) == (f"{what}: refused", error_type)
    assert (made.retryable, made.metadata) == (True, {"exception_type": "ConnectError"})
    told = getattr(Shop(), method)(error, "fetching items")
    assert told.error_message == f"{what} while fetching items: refused"
