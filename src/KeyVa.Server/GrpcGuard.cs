using System.Diagnostics;
using Google.Protobuf;
using KeyVa.Protocol.Grpc;
using KeyVa.Protocol.V1;

namespace KeyVa.Server;

/// <summary>
/// Stands around every handler of a plane: has it observed, and turns failures of the store into statuses. Thread-safe.
/// </summary>
internal sealed class GrpcGuard(RequestMeter meter, RequestObserver observer, FailureLog failures, ConsistentReads? reads = null)
{
    /// <summary>Guards a unary handler.</summary>
    public GrpcUnary<TRequest, TResponse> Unary<TRequest, TResponse>(
        Operation operation, GrpcUnary<TRequest, TResponse> handler)
        where TResponse : class => async (request, call) =>
    {
        long started = Stopwatch.GetTimestamp();
        GrpcStatusCode code = GrpcStatusCode.Unknown;
        try
        {
            if (Reads(operation, request) && await reads!.AwaitAsync(call.RequestMetadata.Get(ConsistentReads.Header), call.CancellationToken) is var read && read != Status.Ok)
            {
                GrpcStatus refused = GrpcRefusal.Of(call, read, ConsistentReads.Detail(read));
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
        where TResponse : class, IMessage<TResponse> => async (request, responses, call) =>
    {
        long started = Stopwatch.GetTimestamp();
        GrpcStatusCode code = GrpcStatusCode.Unknown;
        try
        {
            if (Reads(operation, request) && await reads!.AwaitAsync(call.RequestMetadata.Get(ConsistentReads.Header), call.CancellationToken) is var read && read != Status.Ok)
            {
                GrpcStatus refused = GrpcRefusal.Of(call, read, ConsistentReads.Detail(read));
                code = refused.Code;
                return refused;
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

    // What a transaction reads is settled when it begins.
    private bool Reads<TRequest>(Operation operation, TRequest request) =>
        reads is { AreNeeded: true } && (operation is Operation.Get or Operation.Scan || request is BeginRequest or TransactRequest);

    private void Observe(Operation operation, long started, GrpcCallContext call, object? request, GrpcStatusCode code)
    {
        // What is not measured is not slow either: a watch lasts as long as it is wanted.
        if (operation != Operation.Other)
        {
            GrpcObservation observed = new(call, request, code);
            observer.End(meter, operation, started, ref observed);
        }
    }
}
