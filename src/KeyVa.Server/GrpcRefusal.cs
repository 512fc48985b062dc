using System.Globalization;
using System.Text;
using KeyVa.Protocol.Grpc;
using Microsoft.AspNetCore.Http;

namespace KeyVa.Server;

/// <summary>
/// Refusals and failures of the store as gRPC statuses. The code is for those who know nothing of KeyVa, the trailer
/// <c>keyva-status</c> is exact. Stateless.
/// </summary>
/// <remarks>
/// A key that this node does not own is FAILED_PRECONDITION: clients send UNAVAILABLE again by themselves, to the same
/// node, where it would fail for ever. A full queue is UNAVAILABLE for that very reason.
/// </remarks>
internal static class GrpcRefusal
{
    internal const string StatusTrailer = "keyva-status";
    internal const string OperationTrailer = "keyva-failed-operation";
    internal const string VersionTrailer = "keyva-current-version";
    internal const string BeginsTrailer = "keyva-begins-at-version";
    internal const string NotFoundTrailer = "keyva-not-found";
    internal const string RetryTrailer = "keyva-retry-after-ms";

    private const string PushbackTrailer = "grpc-retry-pushback-ms";

    internal const string ConflictTrailer = "keyva-conflict-key-bin";
    internal const string DeadlockTrailer = "keyva-deadlock-bin";

    private const string RetryAfterMilliseconds = "100";

    /// <summary>Refuses a call with a status of the store.</summary>
    internal static GrpcStatus Of(GrpcCallContext call, Status status, string? detail)
    {
        call.ResponseTrailers.Add(StatusTrailer, StatusNames.Wire(status));
        if (status == Status.Busy)
        {
            call.ResponseTrailers.Add(RetryTrailer, RetryAfterMilliseconds);
        }

        if (status == Status.Deadlock && detail is not null)
        {
            call.ResponseTrailers.Add(DeadlockTrailer, Encoding.UTF8.GetBytes(detail));
        }

        return new GrpcStatus(CodeOf(status), detail ?? StatusNames.Detail(status));
    }

    /// <summary>Refuses a call that may be made again after a while.</summary>
    internal static GrpcStatus Of(GrpcCallContext call, Status status, string? detail, TimeSpan retryAfter)
    {
        if (retryAfter > TimeSpan.Zero)
        {
            string milliseconds = Math.Ceiling(retryAfter.TotalMilliseconds).ToString("F0", CultureInfo.InvariantCulture);
            call.ResponseTrailers.Add(RetryTrailer, milliseconds);
            call.ResponseTrailers.Add(PushbackTrailer, milliseconds);
        }

        return Of(call, status, detail);
    }

    /// <summary>Refuses a request before there is a call of it.</summary>
    internal static void Write(HttpContext http, Status status, string detail, TimeSpan retryAfter)
    {
        if (!GrpcCallContext.IsGrpcRequest(http))
        {
            return;
        }

        http.Response.ContentType = GrpcCallContext.ContentType;
        IHeaderDictionary headers = http.Response.Headers;
        headers[StatusTrailer] = StatusNames.Wire(status);
        if (retryAfter > TimeSpan.Zero)
        {
            // The second is what clients of gRPC know (gRFC A6).
            string milliseconds = Math.Ceiling(retryAfter.TotalMilliseconds).ToString("F0", CultureInfo.InvariantCulture);
            headers[RetryTrailer] = milliseconds;
            headers[PushbackTrailer] = milliseconds;
        }

        GrpcCallContext.WriteStatus(headers, new GrpcStatus(CodeOf(status), detail));
    }

    /// <summary>Refuses a write; its trailers say which operation, and the version that is there instead.</summary>
    internal static GrpcStatus Of(GrpcCallContext call, in WriteResult result)
    {
        if (result.FailedOperation >= 0)
        {
            call.ResponseTrailers.Add(OperationTrailer, result.FailedOperation.ToString(CultureInfo.InvariantCulture));
        }

        if (result.Status == Status.ConditionFailed)
        {
            call.ResponseTrailers.Add(VersionTrailer, result.CurrentVersion.ToString(CultureInfo.InvariantCulture));
        }

        if (result.Receipt.IsSet)
        {
            call.ResponseTrailers.Add(Receipts.ReceiptTrailer, Receipts.ToTrailer(result.Receipt));
        }

        return Of(call, result.Status, result.Detail);
    }

    /// <summary>Refuses a read of the past; if that has been forgotten, a trailer says from which version on there is everything.</summary>
    internal static GrpcStatus Past(GrpcCallContext call, Status status, string? detail, long beginsAtVersion)
    {
        if (beginsAtVersion != 0)
        {
            call.ResponseTrailers.Add(BeginsTrailer, beginsAtVersion.ToString(CultureInfo.InvariantCulture));
        }

        return Of(call, status, detail);
    }

    /// <summary>Refuses a query of an index in a transaction; where it is the index that there is not, a trailer says so.</summary>
    internal static GrpcStatus OfQuery(GrpcCallContext call, Status status, string? detail)
    {
        if (status == Status.NotFound)
        {
            call.ResponseTrailers.Add(NotFoundTrailer, "index");
        }

        return Of(call, status, detail);
    }

    /// <summary>Refuses a call that its caller wants to make where a partition is led; the trailer says where that is.</summary>
    internal static GrpcStatus Of(GrpcCallContext call, Elsewhere elsewhere)
    {
        if (elsewhere.Address is { Length: > 0 } address)
        {
            call.ResponseTrailers.Add(LeaderRouting.LeaderTrailer, address);
        }

        return Of(call, elsewhere.Status, elsewhere.Detail);
    }

    /// <summary>Refuses a commit; after a conflict its trailer is the key.</summary>
    internal static GrpcStatus Of(GrpcCallContext call, in CommitResult result)
    {
        if (result is { Status: Status.Conflict, ConflictKey.IsEmpty: false })
        {
            call.ResponseTrailers.Add(ConflictTrailer, result.ConflictKey.Span);
        }

        return Of(call, result.Status, result.Detail);
    }

    /// <summary>Refuses a request that the proto allows and the store's rules do not.</summary>
    internal static GrpcStatus Malformed(GrpcCallContext call, string detail) => Of(call, Status.Invalid, detail);

    /// <summary>A failure of the store or the machine, reported to the log.</summary>
    internal static GrpcStatus Failed(GrpcCallContext call, StoreException failure, FailureLog failures)
    {
        if (failure is RefusedException refused)
        {
            return Of(call, refused.Status, refused.Message);
        }

        failures.Report(failure, "gRPC", call.Path);
        call.ResponseTrailers.Add(StatusTrailer, StatusNames.Wire(Status.Failed));
        return new GrpcStatus(
            failure is CorruptionException ? GrpcStatusCode.DataLoss : CodeOf(Status.Failed), failure.Message);
    }

    internal static GrpcStatusCode CodeOf(Status status) => status switch
    {
        Status.Ok => GrpcStatusCode.Ok,
        Status.NotFound => GrpcStatusCode.NotFound,
        Status.ConditionFailed => GrpcStatusCode.FailedPrecondition,
        Status.Invalid => GrpcStatusCode.InvalidArgument,
        Status.TooLarge => GrpcStatusCode.InvalidArgument,
        Status.BadNode => GrpcStatusCode.FailedPrecondition,
        Status.Full => GrpcStatusCode.ResourceExhausted,
        Status.Busy => GrpcStatusCode.Unavailable,
        Status.Unsupported => GrpcStatusCode.Unimplemented,
        Status.Conflict => GrpcStatusCode.Aborted,
        Status.Deadlock => GrpcStatusCode.Aborted,
        Status.LockTimeout => GrpcStatusCode.Aborted,
        Status.Expired => GrpcStatusCode.FailedPrecondition,
        Status.Compacted => GrpcStatusCode.OutOfRange,
        Status.MergeRefused => GrpcStatusCode.FailedPrecondition,
        Status.NotUnique => GrpcStatusCode.AlreadyExists,
        Status.NotIndexable => GrpcStatusCode.InvalidArgument,
        Status.NotReady => GrpcStatusCode.Unavailable,
        Status.Unavailable => GrpcStatusCode.Unavailable,

        // Not unavailable, which invites to try again.
        Status.Unknown => GrpcStatusCode.Unknown,
        Status.Unauthenticated => GrpcStatusCode.Unauthenticated,
        Status.PermissionDenied => GrpcStatusCode.PermissionDenied,
        Status.RateLimited => GrpcStatusCode.ResourceExhausted,
        _ => GrpcStatusCode.Internal,
    };
}
