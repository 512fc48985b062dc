using Google.Protobuf;
using KeyVa.Protocol.Grpc;
using KeyVa.Protocol.V1;

namespace KeyVa.Server;

/// <summary>The calls of data.proto about what was: keys as they were, the versions of a key, rolling back. Thread-safe.</summary>
internal sealed class PastCalls(Store store)
{
    /// <summary>Versions in one answer unless the request says otherwise.</summary>
    internal const int DefaultLimit = 1000;

    /// <summary>Keys as they were.</summary>
    internal static async ValueTask<GrpcResult<GetResponse>> GetAsync(Store store, GetRequest request, GrpcCallContext call)
    {
        if (!PastMoment.TryRead(request.HasAtVersion ? request.AtVersion : null, request.HasAtUnixMs ? request.AtUnixMs : null, out AsOf at, out string wrong))
        {
            return GrpcRefusal.Malformed(call, wrong);
        }

        List<ReadOnlyMemory<byte>> keys = ProtoRecord.Keys(request.Keys);
        MultiReadResult result = await store.GetAtAsync(keys, at, call.CancellationToken);
        return result.Status == Status.Ok
            ? ProtoRecord.Of(keys, result)
            : GrpcRefusal.Past(call, result.Status, result.Detail, result.BeginsAtVersion);
    }

    /// <summary>Answers History.</summary>
    internal async ValueTask<GrpcResult<HistoryResponse>> HistoryAsync(HistoryRequest request, GrpcCallContext call)
    {
        HistoryOptions options = new()
        {
            From = request.FromVersion,
            To = request.ToVersion,
            Limit = request.Limit == 0 ? DefaultLimit : request.Limit,
            Reverse = request.Reverse,
            WithoutValues = request.WithoutValues,
        };
        HistoryResult result = await store.HistoryAsync(request.Key.Memory, options, call.CancellationToken);
        return result.Status == Status.Ok ? ToMessage(result) : GrpcRefusal.Of(call, result.Status, result.Detail);
    }

    /// <summary>Answers RollBack.</summary>
    internal async ValueTask<GrpcResult<RevertResponse>> RollBackAsync(RevertRequest request, GrpcCallContext call)
    {
        RollBackResult result = await RunAsync(store, request);
        return result.Status == Status.Ok ? ToMessage(result) : GrpcRefusal.Past(call, result.Status, result.Detail, result.BeginsAtVersion);
    }

    /// <summary>What is known of a key, as a message.</summary>
    internal static HistoryResponse ToMessage(in HistoryResult history)
    {
        HistoryResponse response = new() { ResumeVersion = history.ResumeVersion, BeginsAtVersion = history.BeginsAtVersion };
        foreach (KeyVa.KeyVersion version in history.Versions)
        {
            response.Versions.Add(new Protocol.V1.KeyVersion
            {
                Version = version.Version,
                ModifiedUnixMs = version.ModifiedUnixMilliseconds,
                Removed = version.IsRemoval,
                Value = UnsafeByteOperations.UnsafeWrap(version.Value),
                ExpiresAtUnixMs = version.ExpiresAtUnixMilliseconds,
            });
        }

        return response;
    }

    /// <summary>A roll back that was done, as a message.</summary>
    internal static RevertResponse ToMessage(in RollBackResult done) =>
        new() { Version = done.Version, ToVersion = done.ToVersion, KeysChanged = done.KeysChanged };

    /// <summary>
    /// Rolls back what a request names. Not cancelled when the caller goes away: it is on its way, like any write.
    /// </summary>
    internal static ValueTask<RollBackResult> RunAsync(Store store, RevertRequest request)
    {
        if (!PastMoment.TryRead(request.HasToVersion ? request.ToVersion : null, request.HasToUnixMs ? request.ToUnixMs : null, out AsOf to, out string wrong))
        {
            return Refused(wrong);
        }

        if (!to.IsSet)
        {
            return Refused("say which version or time to roll back to");
        }

        bool isRange = !request.Prefix.IsEmpty || !request.From.IsEmpty || !request.To.IsEmpty || request.All;
        int given = (request.Key.IsEmpty ? 0 : 1) + (request.Partition == 0 ? 0 : 1) + (isRange ? 1 : 0);
        if (given != 1)
        {
            return Refused(given == 0
                ? "say what to roll back: a key, a prefix, from and to, a partition, or all = true for every key"
                : "roll back one of these: a key, a prefix, from and to, a partition, or all = true");
        }

        if (!isRange)
        {
            return request.Partition != 0 ? store.RollBackAsync(request.Partition, to) : store.RollBackAsync(request.Key.Memory, to);
        }

        return RangeBounds.TryRead(request.Prefix.Memory, request.From.Memory, request.To.Memory, request.All, out KeyRange range, out wrong)
            ? store.RollBackAsync(range, to)
            : Refused("the range " + wrong);
    }

    private static ValueTask<RollBackResult> Refused(string detail) => new(new RollBackResult { Status = Status.Invalid, Detail = detail });
}
