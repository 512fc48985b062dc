using Google.Protobuf;
using KeyVa.Protocol.Grpc;
using KeyVa.Protocol.V1;
using KeyVa.Server.Identity;
using Wire = KeyVa.Protocol.V1;

namespace KeyVa.Server;

/// <summary>The gRPC control plane: control.proto on the store. Thread-safe.</summary>
internal sealed class ControlPlane(Store store, MetricList metrics, OperationCalls operations, GrpcGuard guard, UserStore users, OwnPassword ownPassword, TimeProvider clock)
{
    /// <summary>Between two messages about a snapshot that is under way.</summary>
    private static readonly TimeSpan ProgressInterval = TimeSpan.FromMilliseconds(200);

    /// <summary>As of the setting scrub-rate.</summary>
    private const long MinScrubRate = 64 << 10;

    private readonly IndexCalls _indexes = new(store, clock);
    private readonly TransactionControl _transactions = new(store);
    private readonly UserCalls _users = new(users, ownPassword);

    /// <summary>The service, to be served.</summary>
    public GrpcService ToService() => operations.AddTo(new GrpcService(Methods.ControlPlane))
        .Unary(Methods.AddPartition, guard.Unary<AddPartitionRequest, AddPartitionResponse>(Operation.Other, AddAsync))
        .Unary(Methods.RemovePartition, guard.Unary<RemovePartitionRequest, RemovePartitionResponse>(Operation.Other, RemoveAsync))
        .Unary(Methods.ListPartitions, guard.Unary<ListPartitionsRequest, ListPartitionsResponse>(Operation.Other, ListAsync))
        .Unary(Methods.SetPartition, guard.Unary<SetPartitionRequest, SetPartitionResponse>(Operation.Other, SetAsync))
        .ServerStreaming(Methods.Snapshot, guard.ServerStreaming<SnapshotRequest, SnapshotProgress>(Operation.Other, SnapshotAsync))
        .ServerStreaming(Methods.Compact, guard.ServerStreaming<CompactRequest, CompactProgress>(Operation.Other, CompactAsync))
        .ServerStreaming(Methods.Scrub, guard.ServerStreaming<ScrubRequest, ScrubProgress>(Operation.Other, ScrubAsync))
        .Unary(Methods.CreateIndex, guard.Unary<CreateIndexRequest, CreateIndexResponse>(Operation.Other, _indexes.CreateAsync))
        .Unary(Methods.DropIndex, guard.Unary<DropIndexRequest, DropIndexResponse>(Operation.Other, _indexes.DropAsync))
        .Unary(Methods.Stats, guard.Unary<StatsRequest, StatsResponse>(Operation.Other, StatsAsync))
        .Unary(Methods.ListTransactions, guard.Unary<ListTransactionsRequest, ListTransactionsResponse>(Operation.Other, _transactions.ListAsync))
        .Unary(Methods.EndTransaction, guard.Unary<EndTransactionRequest, EndTransactionResponse>(Operation.Other, _transactions.EndAsync))
        .Unary(Methods.WhoAmI, guard.Unary<WhoAmIRequest, WhoAmIResponse>(Operation.Other, UserCalls.WhoAmI))
        .Unary(Methods.ListUsers, guard.Unary<ListUsersRequest, ListUsersResponse>(Operation.Other, _users.List))
        .Unary(Methods.AddUser, guard.Unary<AddUserRequest, UserResponse>(Operation.Other, _users.AddAsync))
        .Unary(Methods.RemoveUser, guard.Unary<RemoveUserRequest, UserResponse>(Operation.Other, _users.RemoveAsync))
        .Unary(Methods.SetUserGrants, guard.Unary<SetUserGrantsRequest, UserResponse>(Operation.Other, _users.SetGrantsAsync))
        .Unary(Methods.SetUserPassword, guard.Unary<SetUserPasswordRequest, UserResponse>(Operation.Other, _users.SetPasswordAsync))
        .Unary(Methods.ChangeOwnPassword, guard.Unary<ChangeOwnPasswordRequest, UserResponse>(Operation.Other, _users.ChangeOwnPasswordAsync))
        .Unary(Methods.SetUserCertificates, guard.Unary<SetUserCertificatesRequest, UserResponse>(Operation.Other, _users.SetCertificatesAsync))
        .Unary(Methods.AddUserToken, guard.Unary<AddUserTokenRequest, AddUserTokenResponse>(Operation.Other, _users.AddTokenAsync))
        .Unary(Methods.RemoveUserToken, guard.Unary<RemoveUserTokenRequest, UserResponse>(Operation.Other, _users.RemoveTokenAsync));

    // Adding and removing a partition waits for the disk; the pool must not wait with it.
    private async ValueTask<GrpcResult<AddPartitionResponse>> AddAsync(AddPartitionRequest request, GrpcCallContext call)
    {
        EngineKind engine;
        switch (request.Engine)
        {
            case Wire.EngineKind.Unspecified:
                engine = request.Volatile ? EngineKind.Memory : EngineKind.Lsm;
                break;
            case Wire.EngineKind.Lsm:
                engine = EngineKind.Lsm;
                break;
            case Wire.EngineKind.Memory:
                engine = EngineKind.Memory;
                break;
            default:
                return GrpcRefusal.Malformed(call, $"engine {(int)request.Engine} is not known; known are LSM and MEMORY");
        }

        PartitionResult result = await Task.Factory.StartNew(
            () => store.Partitions.Add(ToRange(request.Range), engine, request.Volatile), TaskCreationOptions.LongRunning);
        return result.Status == Status.Ok
            ? new AddPartitionResponse { Partition = ToMessage(result.Partition!) }
            : GrpcRefusal.Of(call, result.Status, result.Detail);
    }

    private async ValueTask<GrpcResult<RemovePartitionResponse>> RemoveAsync(RemovePartitionRequest request, GrpcCallContext call)
    {
        if (request.WhichCase == RemovePartitionRequest.WhichOneofCase.None)
        {
            return GrpcRefusal.Malformed(call, "neither id nor range is given");
        }

        PartitionResult result = await Task.Factory.StartNew(
            () => request.WhichCase == RemovePartitionRequest.WhichOneofCase.Id
                ? store.Partitions.Remove(request.Id, request.DiscardData)
                : store.Partitions.Remove(ToRange(request.Range), request.DiscardData),
            TaskCreationOptions.LongRunning);
        return result.Status == Status.Ok
            ? new RemovePartitionResponse { Partition = ToMessage(result.Partition!) }
            : GrpcRefusal.Of(call, result.Status, result.Detail);
    }

    private ValueTask<GrpcResult<ListPartitionsResponse>> ListAsync(ListPartitionsRequest request, GrpcCallContext call)
    {
        ListPartitionsResponse response = new();
        response.Partitions.AddRange(store.Partitions.List().Select(ToMessage));
        return new(response);
    }

    private async ValueTask<GrpcResult<SetPartitionResponse>> SetAsync(SetPartitionRequest request, GrpcCallContext call)
    {
        PartitionResult result = await store.Partitions.SetAsync(request.Id, request.Name, request.Value, call.CancellationToken);
        return result.Status == Status.Ok
            ? new SetPartitionResponse { Partition = ToMessage(result.Partition!) }
            : GrpcRefusal.Of(call, result.Status, result.Detail);
    }

    private async ValueTask<GrpcStatus> SnapshotAsync(
        SnapshotRequest request, GrpcResponseStream<SnapshotProgress> responses, GrpcCallContext call)
    {
        if (!Path.IsPathFullyQualified(request.Path))
        {
            return GrpcRefusal.Malformed(call, $"the path '{request.Path}' is not absolute; name a folder of the server's machine in full");
        }

        PartitionSnapshot snapshot = store.Partitions.BeginSnapshot(request.Partition, request.Path, call.CancellationToken);
        while (!snapshot.Completion.IsCompleted)
        {
            await responses.WriteAsync(new SnapshotProgress { BytesDone = snapshot.BytesDone, BytesTotal = snapshot.BytesTotal });
            await Task.WhenAny(snapshot.Completion, Task.Delay(ProgressInterval, clock, call.CancellationToken));
        }

        PartitionSnapshotResult result = await snapshot.Completion;
        if (result.Status != Status.Ok)
        {
            return GrpcRefusal.Of(call, result.Status, result.Detail);
        }

        await responses.WriteAsync(new SnapshotProgress
        {
            BytesDone = snapshot.BytesDone,
            BytesTotal = snapshot.BytesTotal,
            Done = true,
            Version = result.Version,
            Index = result.Index,
        });
        return GrpcStatus.Ok;
    }

    private async ValueTask<GrpcStatus> CompactAsync(
        CompactRequest request, GrpcResponseStream<CompactProgress> responses, GrpcCallContext call)
    {
        KeyRange range = ToRange(request.Range);
        if (range.IsEmpty)
        {
            return GrpcRefusal.Malformed(call, "the range ends before it begins");
        }

        CompactProgress sum = new();
        long[] partitions = request.Partition != 0
            ? [request.Partition]
            : [.. store.Partitions.List().Where(partition => partition.Range.Overlaps(range)).Select(partition => partition.Id)];
        foreach (long id in partitions)
        {
            // It waits for the journal before it begins.
            PartitionCompaction compaction = await Task.Factory.StartNew(
                () => store.Partitions.BeginCompaction(id, range, call.CancellationToken), TaskCreationOptions.LongRunning);
            while (!compaction.Completion.IsCompleted)
            {
                await responses.WriteAsync(Add(sum, compaction.BytesRead, compaction.BytesWritten));
                await Task.WhenAny(compaction.Completion, Task.Delay(ProgressInterval, clock, call.CancellationToken));
            }

            CompactionResult result = await compaction.Completion;
            if (result.Status != Status.Ok && (request.Partition != 0 || result.Status != Status.NotFound))
            {
                return GrpcRefusal.Of(call, result.Status, result.Detail);
            }

            sum = Add(sum, result.BytesRead, result.BytesWritten);
        }

        sum.Done = true;
        await responses.WriteAsync(sum);
        return GrpcStatus.Ok;
    }

    private static CompactProgress Add(CompactProgress sum, long read, long written) =>
        new() { BytesRead = sum.BytesRead + read, BytesWritten = sum.BytesWritten + written };

    private async ValueTask<GrpcStatus> ScrubAsync(ScrubRequest request, GrpcResponseStream<ScrubProgress> responses, GrpcCallContext call)
    {
        if (request.BytesPerSecond is < 0 or (> 0 and < MinScrubRate))
        {
            return GrpcRefusal.Malformed(call, $"bytes_per_second is {request.BytesPerSecond}; it must be at least {MinScrubRate}, or 0 for the server's scrub-rate");
        }

        StoreScrub scrub = store.BeginScrub(
            request.Partition != 0 ? request.Partition : null, request.BytesPerSecond != 0 ? request.BytesPerSecond : null, call.CancellationToken);
        while (!scrub.Completion.IsCompleted)
        {
            await responses.WriteAsync(new ScrubProgress { BytesRead = scrub.BytesRead, BytesTotal = scrub.BytesTotal });
            await Task.WhenAny(scrub.Completion, Task.Delay(ProgressInterval, clock, call.CancellationToken));
        }

        ScrubResult result = await scrub.Completion;
        if (result.Status != Status.Ok)
        {
            return GrpcRefusal.Of(call, result.Status, result.Detail);
        }

        ScrubProgress last = new() { BytesRead = result.BytesRead, BytesTotal = result.BytesRead, Done = true, DamageCount = result.DamageCount };
        last.Damages.AddRange(result.Damages.Select(static damage => new Damage { File = damage.File, Offset = damage.Offset, Detail = damage.Detail }));
        await responses.WriteAsync(last);
        return GrpcStatus.Ok;
    }

    private ValueTask<GrpcResult<StatsResponse>> StatsAsync(StatsRequest request, GrpcCallContext call)
    {
        StatsResponse response = new();
        foreach (Measurements.Metric metric in metrics.Read())
        {
            Wire.Metric message = new() { Name = metric.Name, Value = metric.Value };
            foreach ((string name, string value) in metric.Labels)
            {
                message.Labels.Add(name, value);
            }

            response.Metrics.Add(message);
        }

        return new(response);
    }

    // The message's memory is not touched again, and a partition keeps its range for long: copied.
    private static KeyRange ToRange(Wire.KeyRange? range) =>
        range is null ? KeyRange.All : new KeyRange(range.From.ToByteArray(), range.To.ToByteArray());

    private static Wire.Partition ToMessage(PartitionInfo partition) => new()
    {
        Id = partition.Id,
        Range = new Wire.KeyRange
        {
            From = ByteString.CopyFrom(partition.Range.From.Span),
            To = ByteString.CopyFrom(partition.Range.To.Span),
        },
        Engine = partition.Engine == EngineKind.Memory ? Wire.EngineKind.Memory : Wire.EngineKind.Lsm,
        Volatile = partition.Volatile,
        AppliedIndex = partition.AppliedIndex,
        DurableIndex = partition.DurableIndex,
        Keys = partition.Keys,
        StorageBytes = partition.StorageBytes,
        Settings = { partition.Settings.All.ToDictionary() },
    };
}
