"""Drives the test echo service with Debian's grpcio: every kind of call, deadlines, cancellation, statuses, gzip.

Usage: /usr/bin/python3 echo_client.py ADDRESS FOLDER_OF_ECHO_PROTO FOLDER_OF_STANDARD_PROTOS
"""

import os
import queue
import sys
import uuid

import grpc

from checks import Checks, generate, status_of

address, echo_root, standard_root = sys.argv[1:4]
echo, echo_grpc = generate(echo_root, "echo.proto")
health = generate(standard_root, "grpc/health/v1/health.proto", stubs=False)
reflection = generate(standard_root, "grpc/reflection/v1/reflection.proto", stubs=False)

channel = grpc.insecure_channel(address, options=[
    ("grpc.enable_http_proxy", 0), ("grpc.max_send_message_length", 16 << 20), ("grpc.max_metadata_size", 32 << 10)])
stub = echo_grpc.EchoStub(channel)
LIMIT = 30  # seconds; a hanging call fails its check


def unary_call_with_text_and_bytes():
    answer = stub.Unary(echo.EchoRequest(payload=b"\0\xff", text="z\u00f6\U0001d11e"), timeout=LIMIT)
    assert answer.payload == b"\0\xff" and answer.text == "z\u00f6\U0001d11e", answer


def message_of_1_MiB():
    payload = os.urandom(1 << 20)
    assert stub.Unary(echo.EchoRequest(payload=payload), timeout=LIMIT).payload == payload


def message_above_the_limit():
    error = status_of(lambda: stub.Unary(echo.EchoRequest(payload=bytes(5 << 20)), timeout=LIMIT))
    assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED, error


def every_status_code_with_its_message():
    for code in grpc.StatusCode:
        number, _ = code.value
        if number == 0:
            continue
        text = "100 %% wrong\n\u00fc %d" % number
        error = status_of(lambda: stub.Unary(
            echo.EchoRequest(status_code=number, status_message=text), timeout=LIMIT))
        assert error.code() == code and error.details() == text, error


def handler_that_throws():
    error = status_of(lambda: stub.Unary(echo.EchoRequest(text="throw"), timeout=LIMIT))
    assert error.code() == grpc.StatusCode.UNKNOWN and "secret" not in error.details(), error


def unknown_method():
    error = status_of(lambda: channel.unary_unary("/keyva.test.Echo/Nothing")(b"", timeout=LIMIT))
    assert error.code() == grpc.StatusCode.UNIMPLEMENTED, error


def malformed_message():
    error = status_of(lambda: channel.unary_unary("/keyva.test.Echo/Unary")(b"\xff\xff", timeout=LIMIT))
    assert error.code() == grpc.StatusCode.INTERNAL, error


def metadata_both_ways():
    sent = [("echo-text", "x" * 5000), ("echo-raw-bin", bytes(range(256)))]
    _, call = stub.Unary.with_call(echo.EchoRequest(), metadata=sent, timeout=LIMIT)
    for got in (dict(call.initial_metadata()), dict(call.trailing_metadata())):
        assert got["echo-text"] == "x" * 5000 and got["echo-raw-bin"] == bytes(range(256)), got
    error = status_of(lambda: stub.Unary(echo.EchoRequest(status_code=9), metadata=sent, timeout=LIMIT))
    assert dict(error.trailing_metadata())["echo-raw-bin"] == bytes(range(256)), error


def server_stream():
    numbers = [a.number for a in stub.Repeat(echo.EchoRequest(count=5000, payload=bytes(100)), timeout=LIMIT)]
    assert numbers == list(range(5000))


def server_stream_that_fails_at_its_end():
    answers = stub.Repeat(echo.EchoRequest(count=3, status_code=15, status_message="lost"), timeout=LIMIT)
    seen = []
    error = status_of(lambda: (seen.append(a) for a in answers))
    assert error.code() == grpc.StatusCode.DATA_LOSS and len(seen) == 3, error


def client_stream():
    answer = stub.Collect((echo.EchoRequest(payload=bytes(1000)) for _ in range(5000)), timeout=LIMIT)
    assert answer.number == 5000000 and answer.text == "5000", answer


def empty_client_stream():
    assert stub.Collect(iter(()), timeout=LIMIT).text == "0"


def client_stream_refused_midway():
    requests = (echo.EchoRequest(payload=bytes(1000), status_code=8 if i == 10 else 0) for i in range(100000))
    error = status_of(lambda: stub.Collect(requests, timeout=LIMIT))
    assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED, error


def two_way_stream_in_lock_step():
    requests = queue.Queue()
    answers = stub.Chat(iter(requests.get, None), timeout=LIMIT)
    for i in range(100):
        requests.put(echo.EchoRequest(text=str(i)))
        answer = next(answers)
        assert answer.text == str(i) and answer.number == i, answer
    requests.put(None)
    assert list(answers) == []


def two_way_stream_of_1_MiB_messages():
    payload = os.urandom(1 << 20)
    answers = list(stub.Chat((echo.EchoRequest(payload=payload) for _ in range(10)), timeout=LIMIT))
    assert len(answers) == 10 and all(a.payload == payload for a in answers)


def deadline_reaches_the_handler():
    tag = str(uuid.uuid4())
    error = status_of(lambda: stub.Hang(echo.EchoRequest(text=tag), timeout=2))
    assert error.code() == grpc.StatusCode.DEADLINE_EXCEEDED, error
    assert stub.Ended(echo.EchoRequest(text=tag), timeout=LIMIT).text in ("deadline", "cancelled")


def cancellation_reaches_the_handler():
    tag = str(uuid.uuid4())
    call = stub.Hang.future(echo.EchoRequest(text=tag), timeout=LIMIT)
    stub.Ended(echo.EchoRequest(text="started:" + tag), timeout=LIMIT)
    call.cancel()
    assert stub.Ended(echo.EchoRequest(text=tag), timeout=LIMIT).text == "cancelled"


def cancelled_stream_stops_the_handler():
    tag = str(uuid.uuid4())
    answers = stub.Flood(echo.EchoRequest(text=tag, payload=bytes(1000)), timeout=LIMIT)
    for i in range(10):
        assert next(answers).number == i
    answers.cancel()
    assert stub.Ended(echo.EchoRequest(text=tag), timeout=LIMIT).text == "cancelled"


def gzip_both_ways():
    packed = grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)], compression=grpc.Compression.Gzip)
    with packed:
        gzip_stub = echo_grpc.EchoStub(packed)
        payload = b"abc" * 100000
        assert gzip_stub.Unary(echo.EchoRequest(payload=payload), timeout=LIMIT).payload == payload
        answers = list(gzip_stub.Repeat(echo.EchoRequest(payload=payload, count=10), timeout=LIMIT))
        assert len(answers) == 10 and all(a.payload == payload for a in answers)


def deflate_is_refused_with_unimplemented():
    packed = grpc.insecure_channel(
        address, options=[("grpc.enable_http_proxy", 0)], compression=grpc.Compression.Deflate)
    with packed:
        error = status_of(lambda: echo_grpc.EchoStub(packed).Unary(
            echo.EchoRequest(payload=bytes(10000)), timeout=LIMIT))
        assert error.code() == grpc.StatusCode.UNIMPLEMENTED, error


def many_calls_at_once():
    calls = [stub.Unary.future(echo.EchoRequest(text=str(i)), timeout=LIMIT) for i in range(500)]
    assert [c.result().text for c in calls] == [str(i) for i in range(500)]


def health_check():
    check = channel.unary_unary(
        "/grpc.health.v1.Health/Check", health.HealthCheckRequest.SerializeToString,
        health.HealthCheckResponse.FromString)
    assert check(health.HealthCheckRequest(), timeout=LIMIT).status == health.HealthCheckResponse.SERVING
    error = status_of(lambda: check(health.HealthCheckRequest(service="no.Such"), timeout=LIMIT))
    assert error.code() == grpc.StatusCode.NOT_FOUND, error


def health_watch():
    watch = channel.unary_stream(
        "/grpc.health.v1.Health/Watch", health.HealthCheckRequest.SerializeToString,
        health.HealthCheckResponse.FromString)(health.HealthCheckRequest(), timeout=LIMIT)
    assert next(watch).status == health.HealthCheckResponse.SERVING
    watch.cancel()


def reflection_in_both_versions():
    for version in ("v1", "v1alpha"):
        ask = channel.stream_stream(
            "/grpc.reflection.%s.ServerReflection/ServerReflectionInfo" % version,
            reflection.ServerReflectionRequest.SerializeToString, reflection.ServerReflectionResponse.FromString)
        listed, found, unknown = ask(iter([
            reflection.ServerReflectionRequest(list_services=""),
            reflection.ServerReflectionRequest(file_containing_symbol="keyva.test.Echo"),
            reflection.ServerReflectionRequest(file_containing_symbol="no.Such"),
        ]), timeout=LIMIT)
        assert "keyva.test.Echo" in [s.name for s in listed.list_services_response.service], listed
        assert found.file_descriptor_response.file_descriptor_proto[0] == echo.DESCRIPTOR.serialized_pb
        assert unknown.error_response.error_code == 5, unknown


checks = Checks()
for check in [
    unary_call_with_text_and_bytes, message_of_1_MiB, message_above_the_limit, every_status_code_with_its_message,
    handler_that_throws, unknown_method, malformed_message, metadata_both_ways, server_stream,
    server_stream_that_fails_at_its_end, client_stream, empty_client_stream, client_stream_refused_midway,
    two_way_stream_in_lock_step, two_way_stream_of_1_MiB_messages, deadline_reaches_the_handler,
    cancellation_reaches_the_handler, cancelled_stream_stops_the_handler, gzip_both_ways,
    deflate_is_refused_with_unimplemented, many_calls_at_once, health_check, health_watch, reflection_in_both_versions,
]:
    checks.run(check)
channel.close()
checks.finish()
