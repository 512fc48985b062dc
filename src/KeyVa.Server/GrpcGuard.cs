using System.Diagnostics;
using Google.Protobuf;
using KeyVa.Protocol.Grpc;
using KeyVa.Server.Identity;

namespace KeyVa.Server;

/// <summary>
/// Stands around every handler of a plane: has the keys of its request checked, measures it, and turns failures of the store into statuses. Thread-safe.
/// </summary>
internal sealed class GrpcGuard(RequestMeter meter, FailureLog failures, UserStore users)
{
    /// <summary>Guards a unary handler.</summary>
    public GrpcUnary<TRequest, TResponse> Unary<TRequest, TResponse>(
        Operation operation, GrpcUnary<TRequest, TResponse> handler)
        where TRequest : class
        where TResponse : class => async (request, call) =>
    {
        long started = Stopwatch.GetTimestamp();
        try
        {
            return Refuses(request, call, out string detail)
                ? GrpcRefusal.Of(call, Status.PermissionDenied, detail)
                : await handler(request, call);
        }
        catch (StoreException e)
        {
            return GrpcRefusal.Failed(call, e, failures);
        }
        finally
        {
            meter.Record(operation, started);
        }
    };

    /// <summary>Guards a handler that answers with a stream.</summary>
    public GrpcServerStreaming<TRequest, TResponse> ServerStreaming<TRequest, TResponse>(
        Operation operation, GrpcServerStreaming<TRequest, TResponse> handler)
        where TRequest : class
        where TResponse : class, IMessage<TResponse> => async (request, responses, call) =>
    {
        long started = Stopwatch.GetTimestamp();
        try
        {
            if (Refuses(request, call, out string detail))
            {
                return GrpcRefusal.Of(call, Status.PermissionDenied, detail);
            }

            // A stream may last for days: whoever loses the right to it loses the stream.
            using IDisposable following = users.OnChange(() =>
            {
                if (Authority.Decide(Caller.Of(call.HttpContext).AsOf(users.Current), PermissionOf(call), request) != Verdict.Allowed)
                {
                    call.HttpContext.Abort();
                }
            });
            return await handler(request, responses, call);
        }
        catch (StoreException e)
        {
            return GrpcRefusal.Failed(call, e, failures);
        }
        finally
        {
            meter.Record(operation, started);
        }
    };

    /// <summary>Guards a handler that takes a stream.</summary>
    public GrpcClientStreaming<TRequest, TResponse> ClientStreaming<TRequest, TResponse>(
        Operation operation, GrpcClientStreaming<TRequest, TResponse> handler)
        where TRequest : class, IMessage<TRequest>
        where TResponse : class => async (requests, call) =>
    {
        long started = Stopwatch.GetTimestamp();
        try
        {
            return await handler(requests, call);
        }
        catch (StoreException e)
        {
            return GrpcRefusal.Failed(call, e, failures);
        }
        finally
        {
            meter.Record(operation, started);
        }
    };

    /// <summary>Whether a message of a call is about keys that its caller may not use so, as the users are now.</summary>
    public bool Refuses(object request, GrpcCallContext call, out string detail)
    {
        detail = "";
        Permission permission = PermissionOf(call);
        if (permission.Target is { } target)
        {
            call.HttpContext.Items[HttpGate.TargetItem] = target(request);
        }

        Caller caller = Caller.Of(call.HttpContext).AsOf(users.Current);
        if (permission.Keys is null || Authority.Decide(caller, permission, request) == Verdict.Allowed)
        {
            return false;
        }

        detail = Denial.OfKeys(caller, permission);
        return true;
    }

    private static Permission PermissionOf(GrpcCallContext call) => PermissionTable.OfGrpc(call.Path) ?? PermissionTable.Missing;
}
