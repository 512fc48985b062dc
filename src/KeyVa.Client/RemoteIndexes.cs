using System.Runtime.CompilerServices;
using KeyVa.Indexes;
using KeyVa.Protocol.Grpc;
using Methods = KeyVa.Protocol.V1.Methods;
using Wire = KeyVa.Protocol.V1;

namespace KeyVa.Client;

/// <summary>How far an index is.</summary>
/// <param name="FilledRecords">Records gone through.</param>
/// <param name="TotalRecords">Of so many, estimated.</param>
/// <param name="Done">Whether it answers queries.</param>
public readonly record struct IndexReport(long FilledRecords, long TotalRecords, bool Done);

/// <summary>
/// The secondary indexes of a remote store (<see cref="RemoteStore.Indexes"/>). Creating and dropping them goes to the server's control
/// plane (<see cref="RemoteOptions.Control"/>), everything else to its data plane. Thread-safe.
/// </summary>
public sealed class RemoteIndexes : IIndexes
{
    private readonly Connection _data;
    private readonly Connection _control;

    internal RemoteIndexes(Connection data, Connection control)
    {
        _data = data;
        _control = control;
    }

    /// <inheritdoc/>
    public async ValueTask<IndexResult> CreateAsync(IndexDefinition definition, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(definition);
        Wire.CreateIndexRequest request = new()
        {
            Name = definition.Name ?? "",
            Unique = definition.Unique,
            Sparse = definition.Sparse,
            Strict = definition.Strict,
            Extractor = definition.Extractor ?? "",
            ExtractorVersion = definition.ExtractorVersion,
        };
        request.Fields.AddRange(definition.Fields ?? []);
        Reply<Wire.CreateIndexResponse> reply = await _control.CallAsync(Methods.CreateIndex, request, isRead: false, cancellation);
        return reply.Message is { } done
            ? new IndexResult { WasThere = done.WasThere }
            : new IndexResult { Status = reply.Status, Detail = reply.Detail };
    }

    /// <inheritdoc/>
    /// <remarks>It may take as long as a stream (<see cref="RemoteOptions.StreamDeadline"/>).</remarks>
    public async ValueTask<IndexResult> WaitAsync(string name, CancellationToken cancellation = default)
    {
        try
        {
            await foreach (IndexReport report in FollowAsync(name, cancellation))
            {
                if (report.Done)
                {
                    break;
                }
            }

            return new IndexResult();
        }
        catch (RefusedException refused)
        {
            return new IndexResult { Status = refused.Status, Detail = refused.Message };
        }
    }

    /// <summary>
    /// As <see cref="WaitAsync"/>, telling how far the index is; the last report has <see cref="IndexReport.Done"/>. Throws
    /// <see cref="RefusedException"/> if it will never answer.
    /// </summary>
    public async IAsyncEnumerable<IndexReport> FollowAsync(string name, [EnumeratorCancellation] CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(name);
        using GrpcResponses<Wire.IndexProgress> responses = _data.Stream(Methods.WaitIndex, new Wire.WaitIndexRequest { Name = name }, cancellation);
        bool done = false;
        while (await _data.NextAsync(responses) is { } report)
        {
            done |= report.Done;
            yield return new IndexReport(report.FilledRecords, report.TotalRecords, report.Done);
        }

        if (!done)
        {
            throw new StoreException($"the server ended the wait for the index '{name}' without saying that it is ready");
        }
    }

    /// <inheritdoc/>
    public async ValueTask<IndexResult> DropAsync(string name, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(name);
        Reply<Wire.DropIndexResponse> reply = await _control.CallAsync(Methods.DropIndex, new Wire.DropIndexRequest { Name = name }, isRead: false, cancellation);
        return new IndexResult { Status = reply.Status, Detail = reply.Detail };
    }

    /// <inheritdoc/>
    public async ValueTask<IndexInfo?> FindAsync(string name, CancellationToken cancellation = default)
    {
        ArgumentException.ThrowIfNullOrEmpty(name);
        Reply<Wire.ListIndexesResponse> reply = await ListAsync(name, cancellation);
        return reply.Message is { Indexes: [{ } index] } ? WireIndex.ToInfo(index)
            : reply.Status == Status.NotFound ? null
            : throw new RefusedException(reply.Status, reply.Detail ?? "");
    }

    /// <inheritdoc/>
    public async ValueTask<IReadOnlyList<IndexInfo>> ListAsync(CancellationToken cancellation = default)
    {
        Reply<Wire.ListIndexesResponse> reply = await ListAsync("", cancellation);
        return reply.Message is { } list ? [.. list.Indexes.Select(WireIndex.ToInfo)] : throw new RefusedException(reply.Status, reply.Detail ?? "");
    }

    /// <summary>Asks an index.</summary>
    internal static async IAsyncEnumerable<IndexedRecord> QueryAsync(
        Connection connection, IndexQuery query, [EnumeratorCancellation] CancellationToken cancellation)
    {
        using GrpcResponses<Wire.QueryResponse> responses = connection.Stream(Methods.Query, WireIndex.ToRequest(query), cancellation);
        while (await connection.NextAsync(responses) is { } page)
        {
            foreach (Wire.IndexedRecord record in page.Records)
            {
                yield return WireIndex.ToRecord(record);
            }
        }
    }

    private ValueTask<Reply<Wire.ListIndexesResponse>> ListAsync(string name, CancellationToken cancellation) =>
        _data.CallAsync(Methods.ListIndexes, new Wire.ListIndexesRequest { Name = name }, isRead: true, cancellation);
}
