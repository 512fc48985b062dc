using System.Buffers;
using System.IO.Pipelines;
using Google.Protobuf;
using Microsoft.AspNetCore.Http;

namespace KeyVa.Protocol.Grpc;

/// <summary>
/// Serves one method. Immutable, so one instance serves all calls. Each kind is a single asynchronous method: it
/// allocates no state machine unless it really has to wait.
/// </summary>
internal abstract class GrpcHandler(string path, GrpcServiceOptions options, bool streamsIn)
{
    internal const string CallerGone = "the caller is gone";

    /// <summary>Serves a request; the returned task ends with the call.</summary>
    internal Task HandleAsync(HttpContext http)
    {
        GrpcCallContext? call = GrpcCallContext.Open(http, path, options, streamsIn);
        return call is null ? Task.CompletedTask : RunAsync(call);
    }

    /// <summary>
    /// Whether a failed read of the body says that the caller reset the stream or lost the connection. Kestrel cancels
    /// its token for that too, but somewhat later, and an IOException of a handler's own must not be taken for it.
    /// </summary>
    internal static bool IsCallerGone(IOException cause) => cause is not BadHttpRequestException;

    protected abstract Task RunAsync(GrpcCallContext call);

    /// <summary>
    /// The single request of a call. The body has to end after it, so the usual case is one read that finds everything.
    /// </summary>
    protected static async ValueTask<TRequest> ReadSingleAsync<TRequest>(
        GrpcCallContext call, PipeReader body, MessageParser<TRequest> parser)
        where TRequest : class, IMessage<TRequest>
    {
        TRequest? request = null;
        while (true)
        {
            ReadResult read;
            try
            {
                read = await body.ReadAsync(call.ReadToken);
            }
            catch (IOException e) when (IsCallerGone(e))
            {
                throw new OperationCanceledException(CallerGone, e);
            }
            if (TryTakeSingle(call, body, read, parser, ref request))
                return request!;
        }
    }

    /// <summary>Takes what was read; true once the request and the end of the body are there.</summary>
    /// <exception cref="GrpcException">The body is not exactly one well-formed message.</exception>
    protected static bool TryTakeSingle<TRequest>(
        GrpcCallContext call, PipeReader body, in ReadResult read, MessageParser<TRequest> parser, ref TRequest? request)
        where TRequest : class, IMessage<TRequest>
    {
        ReadOnlySequence<byte> buffer = read.Buffer;
        try
        {
            if (request is null)
                GrpcFrame.TryRead(ref buffer, parser, call.MaxReceiveBytes, call.GzipRequest, out request);
            if (request is not null && !buffer.IsEmpty)
                throw new GrpcException(GrpcStatusCode.Internal, "more than one message was sent for a single request");
            if (read.IsCanceled)
                throw new OperationCanceledException();
            if (!read.IsCompleted)
                return false;
            if (request is null)
            {
                throw new GrpcException(GrpcStatusCode.Internal, buffer.IsEmpty
                    ? "no message was sent"
                    : $"the stream ends inside a message, {buffer.Length} bytes into its frame");
            }
            return true;
        }
        finally
        {
            body.AdvanceTo(buffer.Start, buffer.End);
        }
    }
}

/// <summary>One request, one response. The response is not flushed here: Kestrel sends it together with the trailers.</summary>
internal sealed class UnaryHandler<TRequest, TResponse>(
    GrpcMethod<TRequest, TResponse> method, GrpcUnary<TRequest, TResponse> handler, GrpcServiceOptions options)
    : GrpcHandler(method.Path, options, streamsIn: false)
    where TRequest : class, IMessage<TRequest>
    where TResponse : class, IMessage<TResponse>
{
    private readonly MessageParser<TRequest> _parser = method.RequestParser;

    protected override async Task RunAsync(GrpcCallContext call)
    {
        bool reading = true;
        try
        {
            PipeReader body = call.HttpContext.Request.BodyReader;
            TRequest? request = null;
            // With the whole request there, nothing below waits and no token, so no timer, is made.
            if (!body.TryRead(out ReadResult read) || !TryTakeSingle(call, body, read, _parser, ref request))
            {
                do
                    read = await body.ReadAsync(call.ReadToken);
                while (!TryTakeSingle(call, body, read, _parser, ref request));
            }
            reading = false;
            GrpcResult<TResponse> result = await handler(request!, call);
            if (result.Message is { } response)
                call.Write(call.HttpContext.Response.BodyWriter, response);
            call.Finish(result.Status);
        }
        catch (IOException e) when (reading && IsCallerGone(e))
        {
            call.Fail(new OperationCanceledException(CallerGone, e));
        }
        catch (Exception e)
        {
            call.Fail(e);
        }
    }
}

/// <summary>One request, a stream of responses.</summary>
internal sealed class ServerStreamingHandler<TRequest, TResponse>(
    GrpcMethod<TRequest, TResponse> method, GrpcServerStreaming<TRequest, TResponse> handler, GrpcServiceOptions options)
    : GrpcHandler(method.Path, options, streamsIn: false)
    where TRequest : class, IMessage<TRequest>
    where TResponse : class, IMessage<TResponse>
{
    protected override async Task RunAsync(GrpcCallContext call)
    {
        try
        {
            TRequest request = await ReadSingleAsync(call, call.HttpContext.Request.BodyReader, method.RequestParser);
            call.Finish(await handler(request, new GrpcResponseStream<TResponse>(call), call));
        }
        catch (Exception e)
        {
            call.Fail(e);
        }
    }
}

/// <summary>A stream of requests, one response.</summary>
internal sealed class ClientStreamingHandler<TRequest, TResponse>(
    GrpcMethod<TRequest, TResponse> method, GrpcClientStreaming<TRequest, TResponse> handler, GrpcServiceOptions options)
    : GrpcHandler(method.Path, options, streamsIn: true)
    where TRequest : class, IMessage<TRequest>
    where TResponse : class, IMessage<TResponse>
{
    protected override async Task RunAsync(GrpcCallContext call)
    {
        GrpcRequestStream<TRequest> requests = new(call, method.RequestParser);
        try
        {
            GrpcResult<TResponse> result = await handler(requests, call);
            if (result.Message is { } response)
                call.Write(call.HttpContext.Response.BodyWriter, response);
            requests.Release();
            call.Finish(result.Status);
        }
        catch (Exception e)
        {
            requests.Release();
            call.Fail(e);
        }
    }
}

/// <summary>A stream in both directions.</summary>
internal sealed class DuplexHandler<TRequest, TResponse>(
    GrpcMethod<TRequest, TResponse> method, GrpcDuplex<TRequest, TResponse> handler, GrpcServiceOptions options)
    : GrpcHandler(method.Path, options, streamsIn: true)
    where TRequest : class, IMessage<TRequest>
    where TResponse : class, IMessage<TResponse>
{
    protected override async Task RunAsync(GrpcCallContext call)
    {
        GrpcRequestStream<TRequest> requests = new(call, method.RequestParser);
        try
        {
            GrpcStatus status = await handler(requests, new GrpcResponseStream<TResponse>(call), call);
            requests.Release();
            call.Finish(status);
        }
        catch (Exception e)
        {
            requests.Release();
            call.Fail(e);
        }
    }
}
