using System.Runtime.CompilerServices;
using KeyVa.Indexes;
using KeyVa.Merges;
using KeyVa.Partitions;
using KeyVa.Protocol.Grpc;
using KeyVa.Protocol.Grpc.Health.V1;
using Methods = KeyVa.Protocol.V1.Methods;
using Wire = KeyVa.Protocol.V1;

namespace KeyVa.Client;

/// <summary>
/// A store on another machine or in another process, over the gRPC data plane. Thread-safe; one instance serves a whole
/// program and pools its connections, which are made when first needed. Every call has a deadline. Reads are sent again
/// when their connection breaks; so are writes to a cluster, whose nodes know one that they have done (<see cref="RemoteOptions.WriteRetries"/>). Other writes are only tried
/// again as long as no connection could be made, so nothing is written twice. Failures are <see cref="ServerUnreachableException"/> and other <see cref="StoreException"/>s.
/// </summary>
public sealed class RemoteStore : IStore
{
    private readonly Connection _connection;
    private readonly Connection _control;
    private readonly RemoteSessions _sessions;

    private RemoteStore(ServerAddress address, RemoteOptions options)
    {
        Address = address;
        _connection = new Connection(address, options);
        _control = new Connection(options.Control ?? address.Control(), options);
        _sessions = new RemoteSessions(_connection, options);
        Indexes = new RemoteIndexes(_connection, _control);
    }

    /// <summary>The server.</summary>
    public ServerAddress Address { get; }

    /// <summary>The secondary indexes.</summary>
    public RemoteIndexes Indexes { get; }

    IIndexes IStore.Indexes => Indexes;

    /// <summary>
    /// A client of the data plane at an address such as <c>127.0.0.1:7401</c>; <see cref="FormatException"/> if it is no
    /// address. Connects with the first call.
    /// </summary>
    public static RemoteStore Connect(string address = ServerAddress.DefaultData, RemoteOptions? options = null) =>
        Connect(ServerAddress.Parse(address), options);

    /// <summary>A client of the data plane at an address. Connects with the first call.</summary>
    public static RemoteStore Connect(ServerAddress address, RemoteOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(address);
        return new RemoteStore(address, options ?? new RemoteOptions());
    }

    /// <summary>
    /// Whether the server says that it serves reads and writes (the standard gRPC health service): false once a failure has stopped its store, or while it
    /// stops. Throws <see cref="ServerUnreachableException"/> if it does not answer.
    /// </summary>
    public async ValueTask<bool> IsServingAsync(CancellationToken cancellation = default)
    {
        Reply<HealthCheckResponse> reply = await _connection.CallAsync(
            HealthService.CheckMethod, new HealthCheckRequest { Service = Methods.DataPlane }, isRead: true, cancellation);
        return reply.Message?.Status == HealthCheckResponse.Types.ServingStatus.Serving;
    }

    /// <inheritdoc/>
    public async ValueTask<ReadResult> GetAsync(ReadOnlyMemory<byte> key, CancellationToken cancellation = default)
    {
        Wire.GetRequest request = new() { Keys = { WireRecord.Lend(key) } };
        Reply<Wire.GetResponse> reply = await _connection.CallAsync(Methods.Get, request, isRead: true, cancellation);
        if (reply.Message is null)
        {
            return new ReadResult { Status = reply.Status, Detail = reply.Detail };
        }

        CheckCount(reply.Message.Records.Count, 1);
        Wire.Record record = reply.Message.Records[0];
        return record.Found
            ? new ReadResult { Record = WireRecord.ToRecord(record) }
            : new ReadResult { Status = Status.NotFound };
    }

    /// <inheritdoc/>
    public async ValueTask<MultiReadResult> GetAsync(
        IReadOnlyList<ReadOnlyMemory<byte>> keys, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(keys);
        Wire.GetRequest request = new();
        foreach (ReadOnlyMemory<byte> key in keys)
        {
            request.Keys.Add(WireRecord.Lend(key));
        }

        Reply<Wire.GetResponse> reply = await _connection.CallAsync(Methods.Get, request, isRead: true, cancellation);
        if (reply.Message is null)
        {
            return new MultiReadResult { Status = reply.Status, Detail = reply.Detail, Records = [] };
        }

        CheckCount(reply.Message.Records.Count, keys.Count);
        Record?[] records = new Record?[keys.Count];
        for (int i = 0; i < records.Length; i++)
        {
            Wire.Record record = reply.Message.Records[i];
            records[i] = record.Found ? WireRecord.ToRecord(record) : null;
        }

        return new MultiReadResult { Records = records };
    }

    /// <inheritdoc/>
    public async ValueTask<WriteResult> UpsertAsync(
        ReadOnlyMemory<byte> key, ReadOnlyMemory<byte> value, WriteOptions options = default, CancellationToken cancellation = default)
    {
        Wire.Put put = WireRecord.ToPut(
            WireRecord.Lend(key), WireRecord.Lend(value), options.Expiry, WireRecord.ToCondition(options.Condition));
        Wire.UpsertRequest request = new() { Puts = { put }, Acknowledgement = WireReceipt.ToMessage(options.Acknowledgement) };
        Reply<Wire.WriteResponse> reply = await _sessions.WriteAsync(Methods.Upsert, request, static (write, session) => write.Session = session, cancellation);
        return ToResult(reply);
    }

    /// <inheritdoc/>
    public async ValueTask<WriteResult> MergeAsync(
        ReadOnlyMemory<byte> key, MergeFunction function, ReadOnlyMemory<byte> operand, WriteOptions options = default, CancellationToken cancellation = default)
    {
        // The batch must live until the call is done, cancelled or not.
        using WriteBatch batch = new() { Acknowledgement = options.Acknowledgement };
        return await WriteAsync(batch.Merge(key.Span, function, operand.Span, options with { Acknowledgement = default }), cancellation);
    }

    /// <inheritdoc/>
    public ValueTask<WriteResult> IncrementAsync(ReadOnlyMemory<byte> key, long delta = 1, WriteOptions options = default, CancellationToken cancellation = default) =>
        MergeAsync(key, MergeFunction.Increment, IncrementMerge.Operand(delta), options, cancellation);

    /// <inheritdoc/>
    public async ValueTask<WriteResult> RemoveAsync(
        ReadOnlyMemory<byte> key, Condition condition = default, CancellationToken cancellation = default)
    {
        Wire.Removal removal = new() { Key = WireRecord.Lend(key), Condition = WireRecord.ToCondition(condition) };
        Reply<Wire.WriteResponse> reply = await _sessions.WriteAsync(
            Methods.Remove, new Wire.RemoveRequest { Removals = { removal } }, static (write, session) => write.Session = session, cancellation);
        WriteResult result = ToResult(reply);
        return reply.Message is { Removed: [false] } ? new WriteResult { Status = Status.NotFound, FailedOperation = -1, Receipt = result.Receipt } : result;
    }

    /// <inheritdoc/>
    public async ValueTask<WriteResult> RemoveRangeAsync(
        ReadOnlyMemory<byte> from, ReadOnlyMemory<byte> to, CancellationToken cancellation = default)
    {
        Wire.RangeRemoval range = new() { From = WireRecord.Lend(from), To = WireRecord.Lend(to), All = from.IsEmpty && to.IsEmpty };
        Wire.WriteRequest request = new() { Operations = { new Wire.Operation { RemoveRange = range } } };
        return ToResult(await _sessions.WriteAsync(Methods.Write, request, static (write, session) => write.Session = session, cancellation));
    }

    /// <inheritdoc/>
    public async ValueTask<WriteResult> WriteAsync(WriteBatch batch, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(batch);
        Wire.WriteRequest request = new() { Acknowledgement = WireReceipt.ToMessage(batch.Acknowledgement) };
        WireBatch.AddTo(request.Operations, batch);
        Reply<Wire.WriteResponse> reply = await _sessions.WriteAsync(Methods.Write, request, static (write, session) => write.Session = session, cancellation);
        WriteResult result = ToResult(reply);
        return reply.Message is null || !batch.Commands.HasRemovals ? result : result with { Removed = WireBatch.Removed(batch, reply.Message) };
    }

    /// <inheritdoc/>
    public async IAsyncEnumerable<Record> ScanAsync(
        ScanOptions options, [EnumeratorCancellation] CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(options);
        using GrpcResponses<Wire.ScanResponse> responses =
            _connection.Stream(Methods.Scan, WireRecord.ToScan(options), cancellation);
        while (await _connection.NextAsync(responses) is { } message)
        {
            foreach (Wire.Record record in message.Records)
            {
                yield return WireRecord.ToRecord(record);
            }
        }
    }

    /// <inheritdoc/>
    public IAsyncEnumerable<IndexedRecord> QueryAsync(IndexQuery query, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(query);
        return RemoteIndexes.QueryAsync(_connection, query, cancellation);
    }

    /// <inheritdoc/>
    /// <remarks>
    /// A watch that loses its connection goes on over a new one by itself, where it was; only if that fails, or if the
    /// connection broke in the midst of a version of many messages, does it end with <see cref="ServerUnreachableException"/>.
    /// </remarks>
    public IAsyncEnumerable<WatchEvent> WatchAsync(WatchOptions options, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(options);
        return RemoteWatch.RunAsync(_connection, options, cancellation);
    }

    /// <inheritdoc/>
    public ValueTask<ReadResult> GetAtAsync(ReadOnlyMemory<byte> key, AsOf at, CancellationToken cancellation = default) =>
        at.IsSet ? RemotePast.GetAtAsync(_connection, key, at, cancellation) : GetAsync(key, cancellation);

    /// <inheritdoc/>
    public ValueTask<MultiReadResult> GetAtAsync(IReadOnlyList<ReadOnlyMemory<byte>> keys, AsOf at, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(keys);
        return at.IsSet ? RemotePast.GetAtAsync(_connection, keys, at, cancellation) : GetAsync(keys, cancellation);
    }

    /// <inheritdoc/>
    public ValueTask<HistoryResult> HistoryAsync(ReadOnlyMemory<byte> key, HistoryOptions? options = null, CancellationToken cancellation = default) =>
        RemotePast.HistoryAsync(_connection, key, options ?? new HistoryOptions(), cancellation);

    /// <inheritdoc/>
    /// <remarks>It may take as long as a stream (<see cref="RemoteOptions.StreamDeadline"/>).</remarks>
    public ValueTask<RollBackResult> RollBackAsync(KeyRange range, AsOf to, CancellationToken cancellation = default)
    {
        Wire.RevertRequest request = new() { From = WireRecord.Lend(range.From), To = WireRecord.Lend(range.To), All = range.From.IsEmpty && range.To.IsEmpty };
        return RemotePast.RollBackAsync(_connection, request, to, cancellation);
    }

    /// <inheritdoc/>
    /// <remarks>It may take as long as a stream (<see cref="RemoteOptions.StreamDeadline"/>).</remarks>
    public ValueTask<RollBackResult> RollBackAsync(ReadOnlyMemory<byte> key, AsOf to, CancellationToken cancellation = default) =>
        key.IsEmpty
            ? ValueTask.FromResult(new RollBackResult { Status = Status.Invalid, Detail = "the key is empty; keys have 1 byte to 8 KiB" })
            : RemotePast.RollBackAsync(_connection, new Wire.RevertRequest { Key = WireRecord.Lend(key) }, to, cancellation);

    /// <inheritdoc/>
    /// <remarks>It may take as long as a stream (<see cref="RemoteOptions.StreamDeadline"/>).</remarks>
    public ValueTask<RollBackResult> RollBackAsync(long partition, AsOf to, CancellationToken cancellation = default) =>
        partition <= 0
            ? ValueTask.FromResult(new RollBackResult { Status = Status.NotFound, Detail = $"there is no partition {partition}; 'keyva admin partition list' shows them" })
            : RemotePast.RollBackAsync(_connection, new Wire.RevertRequest { Partition = partition }, to, cancellation);

    /// <summary>
    /// Writes many batches over one stream, in order, each all-or-nothing for itself, and ends when all of them are
    /// durable. Batches of puts without conditions. A batch that is refused ends the stream: the result has its status,
    /// and batches before it stay written. The enumeration is pulled as fast as the server takes it.
    /// </summary>
    /// <returns>The version of the last batch, and how many records were written.</returns>
    public ValueTask<(WriteResult Result, long Records)> BulkUpsertAsync(
        IAsyncEnumerable<WriteBatch> batches, CancellationToken cancellation = default) => UploadAsync(batches, sorted: false, cancellation);

    /// <summary>
    /// Loads records in strictly rising key order, over all batches, as one bulk load: all of it, at one version, or nothing
    /// (but on partitions of the memory engine, which take it as ordinary batches). The server writes it straight into its
    /// tables. Batches of puts without conditions; a key out of order is refused.
    /// </summary>
    /// <returns>The version of the load, and how many records were loaded.</returns>
    public ValueTask<(WriteResult Result, long Records)> BulkLoadAsync(
        IAsyncEnumerable<WriteBatch> batches, CancellationToken cancellation = default) => UploadAsync(batches, sorted: true, cancellation);

    /// <inheritdoc/>
    public async ValueTask<ITransaction> BeginAsync(TransactionOptions? options = null, CancellationToken cancellation = default)
    {
        options ??= new TransactionOptions();
        Wire.BeginRequest request = new()
        {
            ReadOnly = options.ReadOnly,
            Isolation = (Wire.IsolationLevel)options.Isolation,
            Pessimistic = options.Concurrency == Concurrency.Pessimistic,
            LocksForUpdate = options.LocksForUpdate,
            TimeLimitMs = Math.Max(1, (long)options.TimeLimit.TotalMilliseconds),
            Name = options.Name ?? "",
        };
        if (options.LockTimeout is { } timeout)
        {
            request.LockTimeoutMs = (long)timeout.TotalMilliseconds;
        }

        Reply<Wire.BeginResponse> reply = await _connection.CallAsync(Methods.Begin, request, isRead: false, cancellation);
        return reply.Message is { } begun
            ? new RemoteTransaction(_connection, options, begun)
            : throw new RefusedException(reply.Status, reply.Detail ?? "the transaction was refused");
    }

    /// <summary>Carries out a whole transaction in one call, serializable; the server does it again by itself when it meets others.</summary>
    public async ValueTask<ConditionalResult> TransactAsync(ConditionalBatch batch, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(batch);
        Reply<Wire.TransactResponse> reply = await _connection.CallAsync(Methods.Transact, batch.Request, isRead: false, cancellation);
        return reply.Message is { } done
            ? new ConditionalResult
            {
                Succeeded = done.Succeeded,
                Version = done.Version,
                Records = [.. done.Records.Select(one => KeyValuePair.Create(one.Key.Memory, one.Found ? WireRecord.ToRecord(one) : (Record?)null))],
                FailedStep = -1,
            }
            : new ConditionalResult { Status = reply.Status, Detail = reply.Detail, Records = [], FailedStep = (int)reply.Number("keyva-failed-operation", -1) };
    }

    /// <summary>Closes the connections.</summary>
    public ValueTask DisposeAsync()
    {
        _connection.Dispose();
        _control.Dispose();
        return ValueTask.CompletedTask;
    }

    private async ValueTask<(WriteResult Result, long Records)> UploadAsync(
        IAsyncEnumerable<WriteBatch> batches, bool sorted, CancellationToken cancellation)
    {
        ArgumentNullException.ThrowIfNull(batches);
        using GrpcUpload<Wire.BulkUpsertRequest, Wire.BulkUpsertResponse> upload =
            _connection.Upload(Methods.BulkUpsert, cancellation);
        await foreach (WriteBatch batch in batches.WithCancellation(cancellation))
        {
            Wire.BulkUpsertRequest request = ToBulk(batch);
            request.Sorted = sorted;
            if (!await upload.WriteAsync(request))
            {
                break;
            }
        }

        GrpcReply<Wire.BulkUpsertResponse> reply = await upload.FinishAsync();
        if (reply.Message is { } done)
        {
            return (new WriteResult { Version = done.Version, FailedOperation = -1 }, done.Records);
        }

        return Connection.TryRefusal(reply.Status, reply.Trailers, out Status status)
            ? (new WriteResult { Status = status, Detail = reply.Status.Message, FailedOperation = -1 }, 0)
            : throw _connection.ToException(reply.Status, isRead: false, null);
    }

    internal static WriteResult ToResult(Reply<Wire.WriteResponse> reply) => reply.Message is { } done
        ? new WriteResult { Version = done.Version, FailedOperation = -1, Merged = Merged(done), Receipt = WireReceipt.Of(done.Receipt) }
        : new WriteResult
        {
            Status = reply.Status,
            Detail = reply.Detail,
            FailedOperation = (int)reply.Number("keyva-failed-operation", -1),
            CurrentVersion = reply.Number("keyva-current-version", 0),
            Receipt = WireReceipt.Of(reply),
        };

    private static ReadOnlyMemory<byte>[] Merged(Wire.WriteResponse done) =>
        done.Merged.Count == 0 ? [] : [.. done.Merged.Select(static value => value.Memory)];

    private static Wire.BulkUpsertRequest ToBulk(WriteBatch batch)
    {
        Wire.BulkUpsertRequest request = new();
        request.Puts.Capacity = batch.Count;
        ReadOnlySpan<byte> bytes = batch.Commands.Buffer.Written;
        while (OperationEncoding.TryRead(ref bytes, out Operation operation))
        {
            request.Puts.Add(operation.IsPut
                ? WireBatch.ToPut(operation)
                : throw new ArgumentException("a bulk write takes puts only; remove keys with WriteAsync", nameof(batch)));
        }

        return request;
    }

    private void CheckCount(int received, int asked)
    {
        if (received != asked)
        {
            throw new StoreException($"the server at {Address} answered with {received} records to {asked} keys");
        }
    }
}
