using System.Diagnostics;
using Google.Protobuf;
using KeyVa.Partitions;
using KeyVa.Protocol.Grpc;
using KeyVa.Protocol.V1;
using KeyVa.Server.Identity;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Primitives;

namespace KeyVa.Server;

/// <summary>
/// Stands around every handler of a plane: has the keys of its request checked, has it observed, and turns failures of the store into statuses. Thread-safe.
/// </summary>
internal sealed class GrpcGuard(RequestMeter meter, RequestObserver observer, FailureLog failures, UserStore users, ConsistentReads? reads = null, LeaderRouting? leaders = null)
{
    /// <summary>Makes spans of the calls.</summary>
    public RequestTracer Tracer => observer.Tracer;

    /// <summary>Guards a unary handler.</summary>
    public GrpcUnary<TRequest, TResponse> Unary<TRequest, TResponse>(
        Operation operation, GrpcUnary<TRequest, TResponse> handler)
        where TRequest : class
        where TResponse : class => async (request, call) =>
    {
        long started = Stopwatch.GetTimestamp();
        GrpcStatusCode code = GrpcStatusCode.Unknown;
        try
        {
            if (Refuses(request, call, out string detail))
            {
                GrpcStatus denied = GrpcRefusal.Of(call, Status.PermissionDenied, detail);
                code = denied.Code;
                return denied;
            }

            if (await PrepareAsync(operation, request, call) is { } refused)
            {
                code = refused.Code;
                return refused;
            }

            GrpcResult<TResponse> result = await handler(request, call);
            code = result.Status.Code;
            return result;
        }
        catch (StoreException e)
        {
            GrpcStatus failed = GrpcRefusal.Failed(call, e, failures);
            code = failed.Code;
            return failed;
        }
        finally
        {
            Observe(operation, started, call, request, code);
        }
    };

    /// <summary>Guards a handler that answers with a stream.</summary>
    public GrpcServerStreaming<TRequest, TResponse> ServerStreaming<TRequest, TResponse>(
        Operation operation, GrpcServerStreaming<TRequest, TResponse> handler)
        where TRequest : class
        where TResponse : class, IMessage<TResponse> => async (request, responses, call) =>
    {
        long started = Stopwatch.GetTimestamp();
        GrpcStatusCode code = GrpcStatusCode.Unknown;
        try
        {
            if (Refuses(request, call, out string detail))
            {
                GrpcStatus denied = GrpcRefusal.Of(call, Status.PermissionDenied, detail);
                code = denied.Code;
                return denied;
            }

            if (await PrepareAsync(operation, request, call) is { } refused)
            {
                code = refused.Code;
                return refused;
            }

            // A stream may last for days: whoever loses the right to it loses the stream. Looked at once more behind it, since nobody is told of what was changed before.
            using IDisposable following = users.OnChange(() =>
            {
                if (!MayStill(request, call))
                {
                    call.HttpContext.Abort();
                }
            });
            if (!MayStill(request, call))
            {
                GrpcStatus lost = GrpcRefusal.Of(call, Status.PermissionDenied, DenialOf(call));
                code = lost.Code;
                return lost;
            }

            GrpcStatus status = await handler(request, responses, call);
            code = status.Code;
            return status;
        }
        catch (StoreException e)
        {
            GrpcStatus failed = GrpcRefusal.Failed(call, e, failures);
            code = failed.Code;
            return failed;
        }
        finally
        {
            Observe(operation, started, call, request, code);
        }
    };

    /// <summary>Guards a handler that takes a stream.</summary>
    public GrpcClientStreaming<TRequest, TResponse> ClientStreaming<TRequest, TResponse>(
        Operation operation, GrpcClientStreaming<TRequest, TResponse> handler)
        where TRequest : class, IMessage<TRequest>
        where TResponse : class => async (requests, call) =>
    {
        long started = Stopwatch.GetTimestamp();
        GrpcStatusCode code = GrpcStatusCode.Unknown;
        try
        {
            if (await PrepareAsync(operation, null, call) is { } refused)
            {
                code = refused.Code;
                return refused;
            }

            GrpcResult<TResponse> result = await handler(requests, call);
            code = result.Status.Code;
            return result;
        }
        catch (StoreException e)
        {
            GrpcStatus failed = GrpcRefusal.Failed(call, e, failures);
            code = failed.Code;
            return failed;
        }
        finally
        {
            Observe(operation, started, call, null, code);
        }
    };

    // Refuses what it cannot make out of how a call wants to be served. Where partitions are replicated: leads a caller elsewhere who wants that, and waits until reads may
    // begin. Not null: the call is refused.
    private ValueTask<GrpcStatus?> PrepareAsync(Operation operation, object? request, GrpcCallContext call)
    {
        if (reads is null)
        {
            return default;
        }

        // What a transaction reads is settled when it begins.
        bool isRead = operation is Operation.Get or Operation.Scan || request is BeginRequest or TransactRequest;
        IHeaderDictionary headers = call.HttpContext.Request.Headers;
        bool isRouted = headers.TryGetValue(LeaderRouting.Header, out StringValues forward);
        if (!LeaderRouting.TryRead(forward, out bool forwards))
        {
            return new(GrpcRefusal.Malformed(call, LeaderRouting.Malformed));
        }

        Consistency asked = default;
        if (isRead && headers.TryGetValue(ConsistentReads.Header, out StringValues consistency) && !Consistency.TryRead(consistency, out asked))
        {
            return new(GrpcRefusal.Malformed(call, Consistency.Malformed));
        }

        return reads.AreNeeded && request is not null && (isRead || isRouted) ? PrepareReplicatedAsync(isRead, forwards, asked, request, call) : default;
    }

    private async ValueTask<GrpcStatus?> PrepareReplicatedAsync(bool isRead, bool forwards, Consistency asked, object request, GrpcCallContext call)
    {
        TouchedPartitions touched = reads!.Touch();
        bool isKnown = GrpcKeys.TryAdd(request, touched);
        if (!forwards && isKnown && leaders!.Find(touched) is { } elsewhere)
        {
            return GrpcRefusal.Of(call, elsewhere);
        }

        if (!isRead)
        {
            return null;
        }

        if (!isKnown)
        {
            touched.AddAll();
        }

        Status read = await reads.AwaitAsync(asked, touched, call.CancellationToken);
        return read == Status.Ok ? null : GrpcRefusal.Of(call, read, ConsistentReads.Detail(read));
    }

    private void Observe(Operation operation, long started, GrpcCallContext call, object? request, GrpcStatusCode code)
    {
        // What is not measured is not slow either: a watch lasts as long as it is wanted.
        if (operation != Operation.Other)
        {
            GrpcObservation observed = new(call, request, code);
            observer.End(meter, operation, started, ref observed);
        }
    }

    /// <summary>Whether a message of a call is about keys that its caller may not use so, as the users are now.</summary>
    public bool Refuses(object request, GrpcCallContext call, out string detail)
    {
        detail = "";
        Permission permission = PermissionOf(call);
        if (permission.Target is { } target)
        {
            call.HttpContext.Items[HttpGate.TargetItem] = target(request);
        }

        // Of what has no keys as well: the message may have come long behind its head.
        if (MayStill(request, call))
        {
            return false;
        }

        detail = DenialOf(call);
        return true;
    }

    /// <summary>Whether the caller may do this as the users are now.</summary>
    private bool MayStill(object request, GrpcCallContext call) =>
        Authority.Decide(Caller.Of(call.HttpContext).AsOf(users.Current), PermissionOf(call), request) == Verdict.Allowed;

    private static string DenialOf(GrpcCallContext call)
    {
        Permission permission = PermissionOf(call);
        Caller caller = Caller.Of(call.HttpContext);
        return permission.Keys is null ? Denial.Of(caller, permission) : Denial.OfKeys(caller, permission);
    }

    private static Permission PermissionOf(GrpcCallContext call) => PermissionTable.OfGrpc(call.Path) ?? PermissionTable.Missing;
}
