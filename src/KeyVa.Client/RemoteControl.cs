using System.Runtime.CompilerServices;
using KeyVa.Protocol.Grpc;
using Methods = KeyVa.Protocol.V1.Methods;
using Wire = KeyVa.Protocol.V1;

namespace KeyVa.Client;

/// <summary>How far a snapshot is; the last one has <see cref="Done"/> and says what the snapshot holds.</summary>
/// <param name="BytesDone">Bytes written or linked so far.</param>
/// <param name="BytesTotal">Bytes it will have, as far as known yet.</param>
/// <param name="Done">Whether it is complete and on disk.</param>
/// <param name="Version">The version it holds, when done.</param>
/// <param name="Index">The log index it holds, when done.</param>
public readonly record struct SnapshotReport(long BytesDone, long BytesTotal, bool Done, long Version, long Index);

/// <summary>How far a compaction is; the last one has <see cref="Done"/>.</summary>
/// <param name="BytesRead">Bytes of tables read so far.</param>
/// <param name="BytesWritten">Bytes of tables written so far.</param>
/// <param name="Done">Whether it is complete.</param>
public readonly record struct CompactionReport(long BytesRead, long BytesWritten, bool Done);

/// <summary>How far a scrub is; the last one has <see cref="Done"/> and names what is damaged.</summary>
/// <param name="BytesRead">Bytes read so far.</param>
/// <param name="BytesTotal">Bytes there are to read, at most.</param>
/// <param name="Done">Whether everything was read.</param>
/// <param name="DamageCount">Damaged places, when done.</param>
/// <param name="Damages">The first 100 of them, by file of the server's machine and offset, when done.</param>
public readonly record struct ScrubReport(
    long BytesRead, long BytesTotal, bool Done, long DamageCount, IReadOnlyList<CorruptionException> Damages);

/// <summary>A figure of a server, named as in its Prometheus text.</summary>
/// <param name="Name">The metric.</param>
/// <param name="Labels">Which of several of that name.</param>
/// <param name="Value">The figure.</param>
public sealed record RemoteMetric(string Name, IReadOnlyDictionary<string, string> Labels, double Value);

/// <summary>
/// The control plane of a server: its partitions, snapshots and figures. Thread-safe. Every call has a deadline. Failures
/// are <see cref="ServerUnreachableException"/> and other <see cref="StoreException"/>s.
/// </summary>
public sealed class RemoteControl : IAsyncDisposable
{
    private readonly Connection _connection;
    private readonly RemoteOptions _options;

    private RemoteControl(ServerAddress address, RemoteOptions options)
    {
        _options = options;
        Address = address;
        _connection = new Connection(address, options);
        Users = new RemoteUsers(_connection);
    }

    /// <summary>The server.</summary>
    public ServerAddress Address { get; }

    /// <summary>The server's users.</summary>
    public RemoteUsers Users { get; }

    /// <summary>A client of the control plane at an address such as <c>127.0.0.1:7402</c>. Connects with the first call.</summary>
    public static RemoteControl Connect(string address, RemoteOptions? options = null) =>
        Connect(ServerAddress.Parse(address, ServerAddress.ControlPort), options);

    /// <summary>A client of the control plane at an address. Connects with the first call.</summary>
    public static RemoteControl Connect(ServerAddress address, RemoteOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(address);
        return new RemoteControl(address, options ?? new RemoteOptions());
    }

    /// <summary>All partitions, by range.</summary>
    public async ValueTask<IReadOnlyList<PartitionInfo>> ListPartitionsAsync(CancellationToken cancellation = default)
    {
        Reply<Wire.ListPartitionsResponse> reply = await _connection.CallAsync(
            Methods.ListPartitions, new Wire.ListPartitionsRequest(), isRead: true, cancellation);
        return reply.Message is { } list
            ? [.. list.Partitions.Select(ToInfo)]
            : throw new RefusedException(reply.Status, reply.Detail ?? "");
    }

    /// <summary>The transactions under way, the oldest first, with the newest locks of each (at most 1000 each; 0: as many as is usual). See <see cref="Store.ListTransactions"/>.</summary>
    public async ValueTask<IReadOnlyList<TransactionInfo>> ListTransactionsAsync(int limit = 0, int locks = 0, CancellationToken cancellation = default)
    {
        Wire.ListTransactionsRequest request = new() { Limit = limit, Locks = locks };
        Reply<Wire.ListTransactionsResponse> reply = await _connection.CallAsync(Methods.ListTransactions, request, isRead: true, cancellation);
        return reply.Message is { } list
            ? [.. list.Transactions.Select(WireTransaction.ToInfo)]
            : throw new RefusedException(reply.Status, reply.Detail ?? "");
    }

    /// <summary>Rolls a transaction back by its number; see <see cref="Store.EndTransaction"/>. Throws <see cref="RefusedException"/> if it is not ended.</summary>
    public async ValueTask EndTransactionAsync(long number, CancellationToken cancellation = default)
    {
        Reply<Wire.EndTransactionResponse> reply = await _connection.CallAsync(
            Methods.EndTransaction, new Wire.EndTransactionRequest { Number = number }, isRead: false, cancellation);
        if (reply.Message is null)
        {
            throw new RefusedException(reply.Status, reply.Detail ?? "");
        }
    }

    /// <summary>How the server sees its cluster. Throws <see cref="RefusedException"/> if it is no node of one.</summary>
    public async ValueTask<ClusterView> ClusterStatusAsync(CancellationToken cancellation = default)
    {
        Reply<Wire.ClusterStatusResponse> reply = await _connection.CallAsync(Methods.ClusterStatus, new Wire.ClusterStatusRequest(), isRead: true, cancellation);
        if (reply.Message is not { } view)
        {
            throw new RefusedException(reply.Status, reply.Detail ?? "");
        }

        return new ClusterView(
            view.Cluster,
            view.Node,
            [.. view.Nodes.Select(static one => new ClusterNodeView(one.Node, one.Peer, one.Rest, one.Data, one.Control, one.Resp))],
            [.. view.Replicas.Select(static one => new ReplicaView(
                one.Partition, one.Role, one.Leader, one.Term, one.LastIndex, one.CommitIndex, one.AppliedIndex,
                [.. one.Voters], [.. one.Learners], one.Progress.ToDictionary(static each => each.Node, static each => each.Index), one.Failure)
            {
                HasLease = one.Lease,
            })],
            view.Failure);
    }

    /// <summary>
    /// Adds a node that was started so that it joins to all partitions of the cluster; <paramref name="peer"/>: <c>HOST:PORT</c> or <c>HOST:PORT/KEY</c>. Ends when it votes in all of them,
    /// or in some and not in others, which the result says. Any node may be asked. Throws <see cref="RefusedException"/> if nothing was begun.
    /// </summary>
    public ValueTask<ClusterChangeView> AddNodeAsync(long node, string peer, CancellationToken cancellation = default) =>
        ChangeAsync(Methods.AddNode, new Wire.AddNodeRequest { Node = node, Peer = peer }, cancellation);

    /// <summary>Removes a node from all partitions of the cluster, as <see cref="AddNodeAsync"/> adds one. Its number must not be used again.</summary>
    public ValueTask<ClusterChangeView> RemoveNodeAsync(long node, CancellationToken cancellation = default) =>
        ChangeAsync(Methods.RemoveNode, new Wire.RemoveNodeRequest { Node = node }, cancellation);

    /// <summary>Hands leadership of all partitions, or of one, to a node that votes, as <see cref="AddNodeAsync"/> adds one.</summary>
    public ValueTask<ClusterChangeView> TransferLeadershipAsync(long node, long? partition = null, CancellationToken cancellation = default) =>
        ChangeAsync(Methods.TransferLeadership, new Wire.TransferLeadershipRequest { Node = node, Partition = partition ?? 0 }, cancellation);

    /// <summary>Adds an empty partition for a range that nobody owns.</summary>
    public async ValueTask<PartitionResult> AddPartitionAsync(
        KeyRange range, EngineKind engine = EngineKind.Lsm, bool isVolatile = false, CancellationToken cancellation = default)
    {
        Wire.AddPartitionRequest request = new()
        {
            Range = ToRange(range),
            Engine = engine == EngineKind.Memory ? Wire.EngineKind.Memory : Wire.EngineKind.Lsm,
            Volatile = isVolatile,
        };
        Reply<Wire.AddPartitionResponse> reply = await _connection.CallAsync(Methods.AddPartition, request, isRead: false, cancellation);
        return ToResult(reply.Status, reply.Detail, reply.Message?.Partition);
    }

    /// <summary>Removes a partition with all its data; one that holds keys only if <paramref name="discardData"/>.</summary>
    public ValueTask<PartitionResult> RemovePartitionAsync(long id, bool discardData = false, CancellationToken cancellation = default) =>
        RemoveAsync(new Wire.RemovePartitionRequest { Id = id, DiscardData = discardData }, cancellation);

    /// <summary>Removes the partition with exactly this range.</summary>
    public ValueTask<PartitionResult> RemovePartitionAsync(KeyRange range, bool discardData = false, CancellationToken cancellation = default) =>
        RemoveAsync(new Wire.RemovePartitionRequest { Range = ToRange(range), DiscardData = discardData }, cancellation);

    /// <summary>Changes one of a partition's own settings: see <see cref="IPartitions.SetAsync"/>.</summary>
    public async ValueTask<PartitionResult> SetPartitionAsync(long id, string name, string value, CancellationToken cancellation = default)
    {
        Wire.SetPartitionRequest request = new() { Id = id, Name = name, Value = value };
        Reply<Wire.SetPartitionResponse> reply = await _connection.CallAsync(Methods.SetPartition, request, isRead: false, cancellation);
        return ToResult(reply.Status, reply.Detail, reply.Message?.Partition);
    }

    /// <summary>
    /// Writes a consistent copy of a partition to a folder of the server's machine, and tells how far it is until it is
    /// done. Throws <see cref="RefusedException"/> if it is refused.
    /// </summary>
    public async IAsyncEnumerable<SnapshotReport> SnapshotAsync(
        long partition, string path, [EnumeratorCancellation] CancellationToken cancellation = default)
    {
        Wire.SnapshotRequest request = new() { Partition = partition, Path = path };
        using GrpcResponses<Wire.SnapshotProgress> responses = _connection.Stream(Methods.Snapshot, request, cancellation);
        bool done = false;
        while (await _connection.NextAsync(responses) is { } report)
        {
            done |= report.Done;
            yield return new SnapshotReport(report.BytesDone, report.BytesTotal, report.Done, report.Version, report.Index);
        }

        if (!done)
        {
            throw new StoreException($"the server at {Address} ended the snapshot of partition {partition} without saying that it is complete");
        }
    }

    /// <summary>
    /// Compacts a partition (null: all) down to what is alive, or the keys of a range in it, and tells how far it is until it is
    /// done. Throws <see cref="RefusedException"/> if it is refused. Cancelling keeps what is done.
    /// </summary>
    public async IAsyncEnumerable<CompactionReport> CompactAsync(
        long? partition, KeyRange range, [EnumeratorCancellation] CancellationToken cancellation = default)
    {
        Wire.CompactRequest request = new() { Partition = partition ?? 0, Range = ToRange(range) };
        using GrpcResponses<Wire.CompactProgress> responses = _connection.Stream(Methods.Compact, request, cancellation);
        bool done = false;
        while (await _connection.NextAsync(responses) is { } report)
        {
            done |= report.Done;
            yield return new CompactionReport(report.BytesRead, report.BytesWritten, report.Done);
        }

        if (!done)
        {
            throw new StoreException($"the server at {Address} ended the compaction without saying that it is complete");
        }
    }

    /// <summary>
    /// Has all files of the server read in search of damage, or those of one partition, at a rate (null: the server's scrub-rate),
    /// and tells how far it is until it is done. Throws <see cref="RefusedException"/> if it is refused. Cancelling ends it.
    /// </summary>
    public async IAsyncEnumerable<ScrubReport> ScrubAsync(
        long? partition = null, long? bytesPerSecond = null, [EnumeratorCancellation] CancellationToken cancellation = default)
    {
        Wire.ScrubRequest request = new() { Partition = partition ?? 0, BytesPerSecond = bytesPerSecond ?? 0 };
        using GrpcResponses<Wire.ScrubProgress> responses = _connection.Stream(Methods.Scrub, request, cancellation);
        bool done = false;
        while (await _connection.NextAsync(responses) is { } report)
        {
            done |= report.Done;
            yield return new ScrubReport(
                report.BytesRead,
                report.BytesTotal,
                report.Done,
                report.DamageCount,
                [.. report.Damages.Select(static damage => new CorruptionException(damage.File, damage.Offset, damage.Detail))]);
        }

        if (!done)
        {
            throw new StoreException($"the server at {Address} ended the scrub without saying that it is complete");
        }
    }

    /// <summary>The server's figures.</summary>
    public async ValueTask<IReadOnlyList<RemoteMetric>> StatsAsync(CancellationToken cancellation = default)
    {
        Reply<Wire.StatsResponse> reply = await _connection.CallAsync(Methods.Stats, new Wire.StatsRequest(), isRead: true, cancellation);
        return reply.Message is { } stats
            ? [.. stats.Metrics.Select(metric => new RemoteMetric(metric.Name, new SortedDictionary<string, string>(metric.Labels, StringComparer.Ordinal), metric.Value))]
            : throw new RefusedException(reply.Status, reply.Detail ?? "");
    }

    /// <summary>The settings of the server as they count; of one, by its name: <see cref="RefusedException"/> if there is none.</summary>
    public async ValueTask<IReadOnlyList<RemoteSetting>> ListSettingsAsync(string? name = null, CancellationToken cancellation = default)
    {
        Reply<Wire.GetConfigResponse> reply = await _connection.CallAsync(Methods.GetConfig, new Wire.GetConfigRequest { Name = name ?? "" }, isRead: true, cancellation);
        return reply.Message is { } list
            ? [.. list.Settings.Select(ToSetting)]
            : throw new RefusedException(reply.Status, reply.Detail ?? "");
    }

    /// <summary>
    /// Changes a setting until the server stops. Throws <see cref="RefusedException"/>: there is none of this name, it cannot be changed while the
    /// server runs, or not to this value.
    /// </summary>
    public async ValueTask<RemoteSettingChange> ChangeSettingAsync(string name, string value, CancellationToken cancellation = default)
    {
        Reply<Wire.SetConfigResponse> reply = await _connection.CallAsync(
            Methods.SetConfig, new Wire.SetConfigRequest { Name = name, Value = value }, isRead: false, cancellation);
        return reply.Message is { } changed
            ? new RemoteSettingChange(ToSetting(changed.Setting), changed.Detail)
            : throw new RefusedException(reply.Status, reply.Detail ?? "");
    }

    /// <summary>The requests that the server was slow to answer, the newest first; at most <paramref name="limit"/> (0: 100).</summary>
    public async ValueTask<IReadOnlyList<RemoteSlowRequest>> ListSlowRequestsAsync(int limit = 0, CancellationToken cancellation = default)
    {
        Reply<Wire.ListSlowRequestsResponse> reply = await _connection.CallAsync(
            Methods.ListSlowRequests, new Wire.ListSlowRequestsRequest { Limit = limit }, isRead: true, cancellation);
        return reply.Message is { } list
            ? [.. list.Requests.Select(ToSlowRequest)]
            : throw new RefusedException(reply.Status, reply.Detail ?? "");
    }

    /// <summary>Empties the server's slow log.</summary>
    public async ValueTask ClearSlowRequestsAsync(CancellationToken cancellation = default)
    {
        Reply<Wire.ClearSlowRequestsResponse> reply = await _connection.CallAsync(
            Methods.ClearSlowRequests, new Wire.ClearSlowRequestsRequest(), isRead: false, cancellation);
        if (reply.Message is null)
        {
            throw new RefusedException(reply.Status, reply.Detail ?? "");
        }
    }

    /// <summary>Closes the connections.</summary>
    public ValueTask DisposeAsync()
    {
        _connection.Dispose();
        return ValueTask.CompletedTask;
    }

    private async ValueTask<PartitionResult> RemoveAsync(Wire.RemovePartitionRequest request, CancellationToken cancellation)
    {
        Reply<Wire.RemovePartitionResponse> reply = await _connection.CallAsync(Methods.RemovePartition, request, isRead: false, cancellation);
        return ToResult(reply.Status, reply.Detail, reply.Message?.Partition);
    }

    // A node of an earlier version names the leader, who may change meanwhile: a few are asked, one after the other.
    private async ValueTask<ClusterChangeView> ChangeAsync<TRequest>(GrpcMethod<TRequest, Wire.ClusterChangeResponse> method, TRequest request, CancellationToken cancellation)
        where TRequest : class, Google.Protobuf.IMessage<TRequest>
    {
        const int MostLeaders = 4;
        Connection connection = _connection;
        try
        {
            for (int asked = 1; ; asked++)
            {
                Reply<Wire.ClusterChangeResponse> reply = await connection.CallAsync(method, request, isRead: false, cancellation, isLong: true);
                if (reply.Message is not { } change)
                {
                    throw new RefusedException(reply.Status, reply.Detail ?? "");
                }

                if (!change.Refused || change.Partitions.Count > 0)
                {
                    return new ClusterChangeView(
                        !change.Refused,
                        change.Detail,
                        [.. change.Partitions.Select(static one => new PartitionChangeView(one.Partition, one.Status == "ok", one.Leader, one.Detail))]);
                }

                if (change.AskInstead.Length == 0 || asked == MostLeaders)
                {
                    throw new RefusedException(Status.BadNode, change.Detail);
                }

                LetGo(connection);
                connection = new Connection(ServerAddress.Parse(change.AskInstead, ServerAddress.ControlPort), _options);
            }
        }
        finally
        {
            LetGo(connection);
        }
    }

    private void LetGo(Connection connection)
    {
        if (connection != _connection)
        {
            connection.Dispose();
        }
    }

    private static PartitionResult ToResult(Status status, string? detail, Wire.Partition? partition) => new()
    {
        Status = status,
        Detail = detail,
        Partition = partition is null ? null : ToInfo(partition),
    };

    private static RemoteSetting ToSetting(Wire.ConfigSetting setting) =>
        new(setting.Name, setting.Value, setting.Source, setting.Default, setting.Allowed, setting.Description, setting.Changeable);

    private static RemoteSlowRequest ToSlowRequest(Wire.SlowRequest request) => new(
        request.Number,
        DateTimeOffset.FromUnixTimeMilliseconds(request.UnixMs),
        request.Door,
        request.Operation,
        TimeSpan.FromMicroseconds(request.DurationUs),
        [.. request.Arguments.Select(static argument => argument.Memory)],
        request.Peer,
        request.ClientName,
        request.Outcome,
        request.Parts is { } parts
            ? new RemoteWriteParts(
                parts.Partition,
                parts.GroupSize,
                TimeSpan.FromMicroseconds(parts.QueueUs),
                TimeSpan.FromMicroseconds(parts.LogUs),
                TimeSpan.FromMicroseconds(parts.SyncUs),
                TimeSpan.FromMicroseconds(parts.ApplyUs))
            : null);

    private static PartitionInfo ToInfo(Wire.Partition partition) => new()
    {
        Id = partition.Id,
        Range = new KeyRange(partition.Range?.From.Memory ?? default, partition.Range?.To.Memory ?? default),
        Engine = partition.Engine == Wire.EngineKind.Memory ? EngineKind.Memory : EngineKind.Lsm,
        Volatile = partition.Volatile,
        AppliedIndex = partition.AppliedIndex,
        DurableIndex = partition.DurableIndex,
        Keys = partition.Keys,
        StorageBytes = partition.StorageBytes,
        Settings = ToSettings(partition.Settings),
    };

    /// <summary>Those that this client knows; a newer server may have others.</summary>
    private static PartitionSettings ToSettings(IEnumerable<KeyValuePair<string, string>> told)
    {
        PartitionSettings settings = PartitionSettings.None;
        foreach ((string name, string value) in told)
        {
            settings = settings.TryWith(name, value, out PartitionSettings? with) ? with : settings;
        }

        return settings;
    }

    private static Wire.KeyRange ToRange(KeyRange range) =>
        new() { From = WireRecord.Lend(range.From), To = WireRecord.Lend(range.To) };
}
