using System.Diagnostics;
using Google.Protobuf;
using KeyVa.Protocol.Grpc;
using KeyVa.Protocol.V1;

namespace KeyVa.Server;

/// <summary>
/// Stands around every handler of a plane: measures it, and turns failures of the store into statuses. Thread-safe.
/// </summary>
internal sealed class GrpcGuard(RequestMeter meter, FailureLog failures, ConsistentReads? reads = null)
{
    /// <summary>Guards a unary handler.</summary>
    public GrpcUnary<TRequest, TResponse> Unary<TRequest, TResponse>(
        Operation operation, GrpcUnary<TRequest, TResponse> handler)
        where TResponse : class => async (request, call) =>
    {
        long started = Stopwatch.GetTimestamp();
        try
        {
            if (Reads(operation, request) && await reads!.AwaitAsync(call.RequestMetadata.Get(ConsistentReads.Header), call.CancellationToken) is var status && status != Status.Ok)
            {
                return GrpcRefusal.Of(call, status, ConsistentReads.Detail(status));
            }

            return await handler(request, call);
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
        where TResponse : class, IMessage<TResponse> => async (request, responses, call) =>
    {
        long started = Stopwatch.GetTimestamp();
        try
        {
            if (Reads(operation, request) && await reads!.AwaitAsync(call.RequestMetadata.Get(ConsistentReads.Header), call.CancellationToken) is var status && status != Status.Ok)
            {
                return GrpcRefusal.Of(call, status, ConsistentReads.Detail(status));
            }

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

    // What a transaction reads is settled when it begins.
    private bool Reads<TRequest>(Operation operation, TRequest request) =>
        reads is { AreNeeded: true } && (operation is Operation.Get or Operation.Scan || request is BeginRequest or TransactRequest);
}
