using KeyVa.Indexes;
using KeyVa.Protocol.Grpc;
using KeyVa.Protocol.V1;
using IndexedRecord = KeyVa.Protocol.V1.IndexedRecord;

namespace KeyVa.Server;

/// <summary>The calls of data.proto and control.proto about secondary indexes. Thread-safe.</summary>
internal sealed class IndexCalls(Store store, TimeProvider clock)
{
    /// <summary>Between two messages about an index that is being filled.</summary>
    private static readonly TimeSpan ProgressInterval = TimeSpan.FromMilliseconds(200);

    private const int PageBytes = 64 * 1024;
    private const int RecordOverhead = 40;

    /// <summary>Answers CreateIndex.</summary>
    internal async ValueTask<GrpcResult<CreateIndexResponse>> CreateAsync(CreateIndexRequest request, GrpcCallContext call)
    {
        IndexDefinition definition = new()
        {
            Name = request.Name,
            Fields = [.. request.Fields],
            Unique = request.Unique,
            Sparse = request.Sparse,
            Strict = request.Strict,
            Extractor = request.Extractor.Length == 0 ? null : request.Extractor,
            ExtractorVersion = request.ExtractorVersion,
        };

        // Not cancelled when the caller goes away: it is on its way, like any write.
        IndexResult result = await store.Indexes.CreateAsync(definition, CancellationToken.None);
        return result.IsOk ? new CreateIndexResponse { WasThere = result.WasThere } : GrpcRefusal.Of(call, result.Status, result.Detail);
    }

    /// <summary>Answers DropIndex.</summary>
    internal async ValueTask<GrpcResult<DropIndexResponse>> DropAsync(DropIndexRequest request, GrpcCallContext call)
    {
        IndexResult result = await store.Indexes.DropAsync(request.Name, CancellationToken.None);
        return result.IsOk ? new DropIndexResponse() : GrpcRefusal.Of(call, result.Status, result.Detail);
    }

    /// <summary>Answers ListIndexes.</summary>
    internal async ValueTask<GrpcResult<ListIndexesResponse>> ListAsync(ListIndexesRequest request, GrpcCallContext call)
    {
        ListIndexesResponse response = new();
        if (request.Name.Length == 0)
        {
            response.Indexes.AddRange((await store.Indexes.ListAsync(call.CancellationToken)).Select(ProtoIndex.Of));
            return response;
        }

        if (await store.Indexes.FindAsync(request.Name, call.CancellationToken) is not { } found)
        {
            return GrpcRefusal.Of(call, Status.NotFound, $"there is no index '{request.Name}'");
        }

        response.Indexes.Add(ProtoIndex.Of(found));
        return response;
    }

    /// <summary>Answers WaitIndex.</summary>
    internal async ValueTask<GrpcStatus> WaitAsync(WaitIndexRequest request, GrpcResponseStream<IndexProgress> responses, GrpcCallContext call)
    {
        Task<IndexResult> end = store.Indexes.WaitAsync(request.Name, call.CancellationToken).AsTask();
        while (!end.IsCompleted)
        {
            if (await store.Indexes.FindAsync(request.Name, call.CancellationToken) is { } index)
            {
                await responses.WriteAsync(new IndexProgress { FilledRecords = index.FilledRecords, TotalRecords = index.TotalRecords });
            }

            await Task.WhenAny(end, Task.Delay(ProgressInterval, clock, call.CancellationToken));
        }

        IndexResult result = await end;
        if (!result.IsOk)
        {
            return GrpcRefusal.Of(call, result.Status, result.Detail);
        }

        IndexInfo? ready = await store.Indexes.FindAsync(request.Name, call.CancellationToken);
        await responses.WriteAsync(new IndexProgress { FilledRecords = ready?.FilledRecords ?? 0, TotalRecords = ready?.TotalRecords ?? 0, Done = true });
        return GrpcStatus.Ok;
    }

    /// <summary>Answers Query.</summary>
    internal async ValueTask<GrpcStatus> QueryAsync(QueryRequest request, GrpcResponseStream<QueryResponse> responses, GrpcCallContext call)
    {
        if (!ProtoIndex.TryRead(request, out IndexQuery query, out string wrong))
        {
            return GrpcRefusal.Malformed(call, wrong);
        }

        // One record more than asked for tells whether there is more.
        using IndexCursor cursor = await store.OpenQueryAsync(
            query with { Limit = query.Limit is <= 0 or long.MaxValue ? query.Limit : query.Limit + 1 }, call.CancellationToken);
        if (cursor.Status != Status.Ok)
        {
            return GrpcRefusal.Of(call, cursor.Status, cursor.Detail);
        }

        QueryResponse page = new();
        long bytes = 0;
        long left = query.Limit == 0 ? long.MaxValue : query.Limit;
        bool more = cursor.MoveNext();
        while (more && left-- > 0)
        {
            bytes += Add(page, cursor);
            byte[] place = cursor.ResumeToken.ToArray();
            more = cursor.MoveNext();
            if (more && (bytes >= PageBytes || left == 0))
            {
                page.Resume = Google.Protobuf.UnsafeByteOperations.UnsafeWrap(place);
                await responses.WriteAsync(page);
                page = new QueryResponse();
                bytes = 0;
            }
        }

        if (page.Records.Count > 0)
        {
            await responses.WriteAsync(page);
        }

        return GrpcStatus.Ok;
    }

    /// <summary>Adds the record that a cursor stands on, and tells about how many bytes that are.</summary>
    internal static long Add(QueryResponse page, IndexCursor cursor)
    {
        IndexedRecord record = ProtoIndex.Of(cursor);
        page.Records.Add(record);
        return cursor.ResumeToken.Length + record.Record.Value.Length + RecordOverhead;
    }
}
