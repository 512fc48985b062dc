"""Drives keyva.v1 with Debian's grpcio: every method of both planes, refusals, deadlines, cancellation, reflection.

Usage: /usr/bin/python3 keyva_client.py DATA_ADDRESS CONTROL_ADDRESS FOLDER_OF_PROTOS SNAPSHOT_FOLDER
"""

import os
import sys
import time

import grpc

from checks import Checks, generate, status_of

data_address, control_address, protos, snapshot = sys.argv[1:5]
data, data_grpc = generate(protos, "keyva/v1/data.proto")
control, control_grpc = generate(protos, "keyva/v1/control.proto")
health = generate(protos, "grpc/health/v1/health.proto", stubs=False)
reflection = generate(protos, "grpc/reflection/v1/reflection.proto", stubs=False)

options = [("grpc.enable_http_proxy", 0), ("grpc.max_send_message_length", 16 << 20)]
data_channel = grpc.insecure_channel(data_address, options=options)
control_channel = grpc.insecure_channel(control_address, options=options)
store = data_grpc.DataPlaneStub(data_channel)
admin = control_grpc.ControlPlaneStub(control_channel)
LIMIT = 30  # seconds; a hanging call fails its check


def put(key, value=b"", **more):
    return data.Put(key=key, value=value, **more)


def get(*keys):
    return store.Get(data.GetRequest(keys=keys), timeout=LIMIT).records


def trailer(error, name):
    return dict(error.trailing_metadata()).get(name)


def upsert_get_and_remove():
    version = store.Upsert(data.UpsertRequest(puts=[put(b"py\0\xff", b"\0\xff")]), timeout=LIMIT).version
    record, = get(b"py\0\xff")
    assert record.found and record.value == b"\0\xff" and record.version == version, record
    removed = store.Remove(data.RemoveRequest(removals=[data.Removal(key=b"py\0\xff"), data.Removal(key=b"none")]), timeout=LIMIT)
    assert list(removed.removed) == [True, False], removed
    assert not get(b"py\0\xff")[0].found


def batch_of_1_MiB_travels_both_ways():
    values = [os.urandom(260000) for _ in range(4)]
    keys = [b"large%d" % i for i in range(4)]
    store.Upsert(data.UpsertRequest(puts=[put(k, v) for k, v in zip(keys, values)]), timeout=LIMIT)
    assert [record.value for record in get(*keys)] == values


def batch_above_the_limit():
    error = status_of(lambda: store.Upsert(data.UpsertRequest(
        puts=[put(b"above%d" % i, bytes(300000)) for i in range(4)]), timeout=LIMIT))
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT and trailer(error, "keyva-status") == "too-large", error
    assert not get(b"above0")[0].found


def message_above_the_limit():
    error = status_of(lambda: store.Upsert(data.UpsertRequest(puts=[put(b"above", bytes(9 << 20))]), timeout=LIMIT))
    assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED, error


def refused_condition_is_exact_in_the_trailers():
    version = store.Upsert(data.UpsertRequest(puts=[put(b"condition")]), timeout=LIMIT).version
    error = status_of(lambda: store.Upsert(data.UpsertRequest(
        puts=[put(b"condition", condition=data.Condition(if_absent=True))]), timeout=LIMIT))
    assert error.code() == grpc.StatusCode.FAILED_PRECONDITION, error
    assert trailer(error, "keyva-status") == "condition-failed", error
    assert trailer(error, "keyva-current-version") == str(version), error


def merge(key, function, operand):
    return data.Operation(merge=data.Merge(key=key, function=function, operand=operand))


def merges_tell_what_they_came_to():
    first = store.Write(data.WriteRequest(operations=[
        merge(b"merge/n", "increment", b"40"), merge(b"merge/doc", "json-merge-patch", b'{"a":1}')]), timeout=LIMIT)
    assert list(first.merged) == [b"40", b'{"a":1}'], first
    again = store.Write(data.WriteRequest(operations=[merge(b"merge/n", "increment", b"2")]), timeout=LIMIT)
    assert list(again.merged) == [b"42"], again
    error = status_of(lambda: store.Write(data.WriteRequest(operations=[
        merge(b"merge/n", "increment", b"1"), merge(b"merge/doc", "increment", b"1")]), timeout=LIMIT))
    assert error.code() == grpc.StatusCode.FAILED_PRECONDITION, error
    assert trailer(error, "keyva-status") == "merge-refused" and trailer(error, "keyva-failed-operation") == "1", error
    read = store.Get(data.GetRequest(keys=[b"merge/n"]), timeout=LIMIT).records
    assert read[0].value == b"42", read


def the_past_is_read_listed_and_brought_back():
    first = store.Upsert(data.UpsertRequest(puts=[put(b"past/a", b"1")]), timeout=LIMIT).version
    store.Upsert(data.UpsertRequest(puts=[put(b"past/a", b"2"), put(b"past/b", b"3")]), timeout=LIMIT)
    read, = store.Get(data.GetRequest(keys=[b"past/a"], at_version=first), timeout=LIMIT).records
    assert read.value == b"1" and read.version == first, read
    pages = list(store.Scan(data.ScanRequest(prefix=b"past/", at_version=first), timeout=LIMIT))
    assert [r.value for p in pages for r in p.records] == [b"1"], pages
    done = store.Revert(data.RevertRequest(prefix=b"past/", to_version=first), timeout=LIMIT)
    assert done.version > first and done.to_version == first and done.keys_changed == 2, done
    history = store.History(data.HistoryRequest(key=b"past/b"), timeout=LIMIT)
    assert [(v.removed, v.value) for v in history.versions] == [(True, b""), (False, b"3")], history
    assert history.versions[0].version == done.version and not history.resume_version, history
    error = status_of(lambda: store.Get(data.GetRequest(keys=[b"past/a"], at_unix_ms=1), timeout=LIMIT))
    assert error.code() == grpc.StatusCode.OUT_OF_RANGE and trailer(error, "keyva-status") == "compacted", error
    for wrong in (data.RevertRequest(to_version=first), data.RevertRequest(all=True),
                  data.RevertRequest(key=b"past/a", prefix=b"past/", to_version=first),
                  data.RevertRequest(all=True, to_version=1 << 40)):
        error = status_of(lambda: store.Revert(wrong, timeout=LIMIT))
        assert error.code() == grpc.StatusCode.INVALID_ARGUMENT and trailer(error, "keyva-status") == "invalid", error


def indexes_are_made_asked_and_dropped():
    store.Upsert(data.UpsertRequest(puts=[put(b"idx/%d" % i, b'{"c": "%s", "n": %d}' % (b"Oslo" if i % 2 else b"Bergen", i)) for i in range(6)]), timeout=LIMIT)
    assert not admin.CreateIndex(control.CreateIndexRequest(name="py", fields=["c", "n"]), timeout=LIMIT).was_there
    progress = list(store.WaitIndex(data.WaitIndexRequest(name="py"), timeout=LIMIT))
    assert progress[-1].done and progress[-1].filled_records >= 6, progress
    index, = store.ListIndexes(data.ListIndexesRequest(name="py"), timeout=LIMIT).indexes
    assert index.state == data.Index.READY and list(index.fields) == ["c", "n"], index
    oslo = data.IndexValue(string_value="Oslo")
    found = [one for page in store.Query(data.QueryRequest(index="py", equal=[oslo]), timeout=LIMIT) for one in page.records]
    assert [one.record.key for one in found] == [b"idx/1", b"idx/3", b"idx/5"], found
    assert found[0].fields[1].int_value == 1 and found[0].record.value == b'{"c": "Oslo", "n": 1}', found
    page, = store.Query(data.QueryRequest(
        index="py", equal=[oslo], to=[data.IndexValue(double_value=4.5)], reverse=True, limit=1, keys_only=True), timeout=LIMIT)
    assert [one.record.key for one in page.records] == [b"idx/3"] and page.resume, page
    page, = store.Query(data.QueryRequest(index="py", prefix="Os", reverse=True, after=page.resume), timeout=LIMIT)
    assert [one.record.key for one in page.records] == [b"idx/1"] and not page.resume, page
    error = status_of(lambda: store.Query(data.QueryRequest(index="py", equal=[oslo] * 3), timeout=LIMIT))
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT and trailer(error, "keyva-status") == "invalid", error
    error = status_of(lambda: admin.CreateIndex(control.CreateIndexRequest(name="py", fields=["a["]), timeout=LIMIT))
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT, error
    assert admin.CreateIndex(control.CreateIndexRequest(name="py1", fields=["c"], unique=True), timeout=LIMIT) is not None
    error = status_of(lambda: store.WaitIndex(data.WaitIndexRequest(name="py1"), timeout=LIMIT))
    assert error.code() == grpc.StatusCode.ALREADY_EXISTS and trailer(error, "keyva-status") == "not-unique", error
    admin.DropIndex(control.DropIndexRequest(name="py"), timeout=LIMIT)
    error = status_of(lambda: store.Query(data.QueryRequest(index="py"), timeout=LIMIT))
    assert error.code() == grpc.StatusCode.NOT_FOUND and trailer(error, "keyva-status") == "not-found", error


def bulk_upsert_and_scan():
    done = store.BulkUpsert((data.BulkUpsertRequest(puts=[
        put(b"bulk/%04d" % (i * 10 + j), b"v") for j in range(10)]) for i in range(100)), timeout=LIMIT)
    assert done.records == 1000, done
    pages = list(store.Scan(data.ScanRequest(prefix=b"bulk/"), timeout=LIMIT))
    assert [r.key for p in pages for r in p.records] == [b"bulk/%04d" % i for i in range(1000)]
    back = list(store.Scan(data.ScanRequest(prefix=b"bulk/", reverse=True, limit=2), timeout=LIMIT))
    assert [r.key for p in back for r in p.records] == [b"bulk/0999", b"bulk/0998"] and back[-1].resume == b"bulk/0998"


def refused_bulk_upsert():
    error = status_of(lambda: store.BulkUpsert(iter([
        data.BulkUpsertRequest(puts=[put(b"stays")]), data.BulkUpsertRequest(puts=[put(b"")])]), timeout=LIMIT))
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT and trailer(error, "keyva-records") == "1", error


def cancelled_scan():
    store.BulkUpsert((data.BulkUpsertRequest(puts=[put(b"cancel/%d" % i, bytes(1 << 20))]) for i in range(20)), timeout=LIMIT)
    call = store.Scan(data.ScanRequest(prefix=b"cancel/"), timeout=LIMIT)
    next(call)
    call.cancel()
    assert status_of(lambda: call).code() == grpc.StatusCode.CANCELLED


def deadline_that_passes_while_nobody_reads():
    # Long enough for the first of them to come, on a busy machine too.
    limit = 3
    call = store.Scan(data.ScanRequest(prefix=b"cancel/"), timeout=limit)
    next(call)
    time.sleep(limit)
    assert status_of(lambda: list(call)).code() == grpc.StatusCode.DEADLINE_EXCEEDED


def watch_tells_changes_in_order_and_resumes():
    call = store.Watch(data.WatchRequest(prefix=b"watch/", previous_values=True), timeout=LIMIT)
    begun = next(call)
    assert not begun.events and not begun.more, begun
    first = store.Upsert(data.UpsertRequest(puts=[put(b"watch/a", b"1")]), timeout=LIMIT).version
    store.Upsert(data.UpsertRequest(puts=[put(b"beside", b"x")]), timeout=LIMIT)
    batch = store.Write(data.WriteRequest(operations=[
        data.Operation(put=put(b"watch/a", b"2")), data.Operation(put=put(b"watch/b", b"3")),
        data.Operation(remove_range=data.RangeRemoval(prefix=b"watch/x"))]), timeout=LIMIT).version
    events = []
    while len(events) < 4:
        message = next(call)
        assert message.more or not message.events or message.version == message.events[-1].version, message
        events += message.events
    kinds = data.WatchEvent
    assert [(e.kind, e.key, e.value, e.version) for e in events] == [
        (kinds.PUT, b"watch/a", b"1", first), (kinds.REMOVE_RANGE, b"watch/x", b"", batch),
        (kinds.PUT, b"watch/a", b"2", batch), (kinds.PUT, b"watch/b", b"3", batch)], events
    assert (events[0].previous_version, events[2].previous_version, events[2].previous_value) == (0, first, b"1"), events
    call.cancel()
    assert status_of(lambda: list(call)).code() == grpc.StatusCode.CANCELLED
    again = store.Watch(data.WatchRequest(key=b"watch/b", start_version=batch), timeout=LIMIT)
    assert next(again).version == batch - 1
    resumed = next(again)
    assert [e.value for e in resumed.events] == [b"3"] and resumed.version == batch, resumed
    again.cancel()


def watch_ends_at_its_deadline_and_says_what_it_cannot_do():
    idle = store.Watch(data.WatchRequest(key=b"idle"), timeout=0.5)
    assert status_of(lambda: list(idle)).code() == grpc.StatusCode.DEADLINE_EXCEEDED
    error = status_of(lambda: list(store.Watch(data.WatchRequest(start_version=1 << 40), timeout=LIMIT)))
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT and trailer(error, "keyva-status") == "invalid", error
    # Versions are retained, but a watch does not go back behind a change of partitions or indexes, and the checks before made some.
    *_, last = store.Watch(data.WatchRequest(start_version=1), timeout=LIMIT)
    assert last.compacted_start_version > 1, last


def write(txn, *operations):
    return store.TxnWrite(data.TxnWriteRequest(id=txn, operations=operations), timeout=LIMIT)


def transaction_of_several_calls():
    store.Upsert(data.UpsertRequest(puts=[put(b"txn/a", b"1"), put(b"txn/b", b"1")]), timeout=LIMIT)
    begun = store.Begin(data.BeginRequest(name="python", time_limit_ms=30000), timeout=LIMIT)
    assert len(begun.id) == 32 and begun.number > 0 and begun.time_limit_ms == 30000, begun
    done = write(begun.id, data.Operation(put=put(b"txn/a", b"2")), data.Operation(remove=data.Removal(key=b"txn/b")),
        data.Operation(check=data.Check(key=b"txn/none", condition=data.Condition(if_absent=True))))
    assert list(done.removed) == [True], done
    assert store.SetSavepoint(data.SetSavepointRequest(id=begun.id), timeout=LIMIT).savepoint == 1
    write(begun.id, data.Operation(remove_range=data.RangeRemoval(prefix=b"txn/")))
    scan = data.TxnScanRequest(id=begun.id, scan=data.ScanRequest(prefix=b"txn/"))
    assert not store.TxnScan(scan, timeout=LIMIT).records
    store.RollbackTo(data.RollbackToRequest(id=begun.id, savepoint=1), timeout=LIMIT)
    assert [(r.key, r.value) for r in store.TxnScan(scan, timeout=LIMIT).records] == [(b"txn/a", b"2")]
    own, gone = store.TxnGet(data.TxnGetRequest(id=begun.id, keys=[b"txn/a", b"txn/b"]), timeout=LIMIT).records
    assert own.value == b"2" and not gone.found and get(b"txn/a")[0].value == b"1"
    version = store.Commit(data.CommitRequest(id=begun.id), timeout=LIMIT).version
    assert get(b"txn/a")[0].version == version
    error = status_of(lambda: store.Commit(data.CommitRequest(id=begun.id), timeout=LIMIT))
    assert error.code() == grpc.StatusCode.NOT_FOUND and "no transaction" in error.details(), error


def conflict_names_its_key():
    store.Upsert(data.UpsertRequest(puts=[put(b"conflict\0", b"1")]), timeout=LIMIT)
    txn = store.Begin(data.BeginRequest(), timeout=LIMIT).id
    store.TxnGet(data.TxnGetRequest(id=txn, keys=[b"conflict\0"]), timeout=LIMIT)
    write(txn, data.Operation(put=put(b"conflict/x")))
    store.Upsert(data.UpsertRequest(puts=[put(b"conflict\0", b"2")]), timeout=LIMIT)
    error = status_of(lambda: store.Commit(data.CommitRequest(id=txn), timeout=LIMIT))
    assert error.code() == grpc.StatusCode.ABORTED and trailer(error, "keyva-status") == "conflict", error
    assert trailer(error, "keyva-conflict-key-bin") == b"conflict\0", error


def deadlock_names_its_ring():
    one, two = (store.Begin(data.BeginRequest(pessimistic=True, name=name), timeout=LIMIT).id for name in ("one", "two"))
    write(one, data.Operation(put=put(b"ring/a")))
    write(two, data.Operation(put=put(b"ring/b")))
    first = store.TxnWrite.future(data.TxnWriteRequest(id=one, operations=[data.Operation(put=put(b"ring/b"))]), timeout=LIMIT)
    second = store.TxnWrite.future(data.TxnWriteRequest(id=two, operations=[data.Operation(put=put(b"ring/a"))]), timeout=LIMIT)
    victim, = [call.exception() for call in (first, second) if call.exception() is not None]
    assert victim.code() == grpc.StatusCode.ABORTED and trailer(victim, "keyva-status") == "deadlock", victim
    ring = trailer(victim, "keyva-deadlock-bin").decode()
    assert "ring/a" in ring and "ring/b" in ring and "'one'" in ring and "'two'" in ring, ring
    for txn in (one, two):
        store.Rollback(data.RollbackRequest(id=txn), timeout=LIMIT)


def abandoned_transaction_ends_at_its_limit():
    txn = store.Begin(data.BeginRequest(pessimistic=True, time_limit_ms=5000), timeout=LIMIT).id
    write(txn, data.Operation(put=put(b"abandoned", b"never")))
    store.Upsert(data.UpsertRequest(puts=[put(b"abandoned", b"mine")]), timeout=LIMIT)  # waits until the lock is free
    error = status_of(lambda: store.Commit(data.CommitRequest(id=txn), timeout=LIMIT))
    assert error.code() == grpc.StatusCode.FAILED_PRECONDITION and trailer(error, "keyva-status") == "expired", error
    assert get(b"abandoned")[0].value == b"mine"


def one_shot_transaction():
    request = data.TransactRequest(
        conditions=[data.Check(key=b"shot", condition=data.Condition(if_absent=True))],
        then=[data.Step(write=data.Operation(put=put(b"shot", b"1"))), data.Step(get=b"shot")],
        otherwise=[data.Step(get=b"shot")])
    first = store.Transact(request, timeout=LIMIT)
    assert first.succeeded and first.version > 0 and first.records[0].value == b"1", first
    second = store.Transact(request, timeout=LIMIT)
    assert not second.succeeded and second.version == 0 and second.records[0].version == first.version, second


def partitions_snapshot_and_stats():
    partition, = admin.ListPartitions(control.ListPartitionsRequest(), timeout=LIMIT).partitions
    error = status_of(lambda: admin.AddPartition(control.AddPartitionRequest(), timeout=LIMIT))
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT, error
    progress = list(admin.Snapshot(control.SnapshotRequest(partition=partition.id, path=snapshot), timeout=LIMIT))
    assert progress[-1].done and progress[-1].bytes_total > 0, progress
    names = {metric.name for metric in admin.Stats(control.StatsRequest(), timeout=LIMIT).metrics}
    assert {"keyva_keys", "keyva_gets_total", "keyva_cache_hit_ratio"} <= names, names


def planes_are_apart():
    error = status_of(lambda: control_grpc.ControlPlaneStub(data_channel).Stats(control.StatsRequest(), timeout=LIMIT))
    assert error.code() == grpc.StatusCode.UNIMPLEMENTED, error


def health_and_reflection_on_both_listeners():
    for channel, service in ((data_channel, "keyva.v1.DataPlane"), (control_channel, "keyva.v1.ControlPlane")):
        check = channel.unary_unary("/grpc.health.v1.Health/Check",
            health.HealthCheckRequest.SerializeToString, health.HealthCheckResponse.FromString)
        assert check(health.HealthCheckRequest(service=service), timeout=LIMIT).status == 1
        info = channel.stream_stream("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            reflection.ServerReflectionRequest.SerializeToString, reflection.ServerReflectionResponse.FromString)
        answers = list(info(iter([reflection.ServerReflectionRequest(list_services=""),
            reflection.ServerReflectionRequest(file_containing_symbol=service),
            reflection.ServerReflectionRequest(file_containing_symbol="grpc.health.v1.Health")]), timeout=LIMIT))
        names = [one.name for one in answers[0].list_services_response.service]
        assert service in names and "grpc.health.v1.Health" in names, names
        assert all(one.file_descriptor_response.file_descriptor_proto for one in answers[1:]), answers


checks = Checks()
for one in (
    upsert_get_and_remove, batch_of_1_MiB_travels_both_ways, batch_above_the_limit, message_above_the_limit,
    refused_condition_is_exact_in_the_trailers, merges_tell_what_they_came_to, the_past_is_read_listed_and_brought_back, indexes_are_made_asked_and_dropped, bulk_upsert_and_scan, refused_bulk_upsert, cancelled_scan,
    watch_tells_changes_in_order_and_resumes, watch_ends_at_its_deadline_and_says_what_it_cannot_do,
    deadline_that_passes_while_nobody_reads, transaction_of_several_calls, conflict_names_its_key, deadlock_names_its_ring,
    abandoned_transaction_ends_at_its_limit, one_shot_transaction, partitions_snapshot_and_stats, planes_are_apart,
    health_and_reflection_on_both_listeners,
):
    checks.run(one)
checks.finish()
