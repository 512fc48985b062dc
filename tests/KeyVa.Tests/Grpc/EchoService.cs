using System.Collections.Concurrent;
using KeyVa.Protocol.Grpc;
using KeyVa.Tests.Grpc.Messages;

namespace KeyVa.Tests.Grpc;

/// <summary>The service of echo.proto; safe for all threads.</summary>
internal sealed class EchoService
{
    internal const string Name = "keyva.test.Echo";

    internal static readonly GrpcMethod<EchoRequest, EchoResponse> Unary = Method("Unary");
    internal static readonly GrpcMethod<EchoRequest, EchoResponse> Repeat = Method("Repeat");
    internal static readonly GrpcMethod<EchoRequest, EchoResponse> Collect = Method("Collect");
    internal static readonly GrpcMethod<EchoRequest, EchoResponse> Chat = Method("Chat");
    internal static readonly GrpcMethod<EchoRequest, EchoResponse> Hang = Method("Hang");
    internal static readonly GrpcMethod<EchoRequest, EchoResponse> Flood = Method("Flood");
    internal static readonly GrpcMethod<EchoRequest, EchoResponse> Ended = Method("Ended");

    private readonly ConcurrentDictionary<string, TaskCompletionSource<string>> _notes = new();

    internal static GrpcMethod<EchoRequest, EchoResponse> Method(string name)
        => new(Name, name, EchoRequest.Parser, EchoResponse.Parser);

    internal GrpcService ToService(GrpcServiceOptions? options = null) => new GrpcService(Name, options)
        .Unary(Unary, EchoOnce)
        .ServerStreaming(Repeat, RepeatAsync)
        .ClientStreaming(Collect, CollectAsync)
        .Duplex(Chat, ChatAsync)
        .Unary(Hang, HangAsync)
        .ServerStreaming(Flood, FloodAsync)
        .Unary(Ended, async (request, call) =>
            new EchoResponse { Text = await Note(request.Text).Task.WaitAsync(call.CancellationToken) });

    private static EchoResponse Answer(EchoRequest request, long number = 0)
        => new() { Payload = request.Payload, Text = request.Text, Number = number };

    private static GrpcStatus StatusOf(EchoRequest request)
        => new((GrpcStatusCode)request.StatusCode, request.StatusMessage);

    private static ValueTask<GrpcResult<EchoResponse>> EchoOnce(EchoRequest request, GrpcCallContext call)
    {
        if (request.Text == "throw")
            throw new InvalidOperationException("a secret of the server");
        if (request.Text == "refuse")
            throw new GrpcException(StatusOf(request), new GrpcMetadata().Add("reason", "thrown"));
        GrpcMetadata headers = [];
        foreach (GrpcMetadataEntry entry in call.RequestMetadata.Where(e => e.Key.StartsWith("echo-", StringComparison.Ordinal)))
        {
            if (entry.Key.EndsWith("-bin", StringComparison.Ordinal))
            {
                byte[] bytes = call.RequestMetadata.GetBytes(entry.Key)!;
                headers.Add(entry.Key, bytes);
                call.ResponseTrailers.Add(entry.Key, bytes);
            }
            else
            {
                headers.Add(entry.Key, entry.Value);
                call.ResponseTrailers.Add(entry.Key, entry.Value);
            }
        }
        call.SendHeaders(headers);
        return new ValueTask<GrpcResult<EchoResponse>>(
            request.StatusCode != 0 ? StatusOf(request) : Answer(request));
    }

    private static async ValueTask<GrpcStatus> RepeatAsync(
        EchoRequest request, GrpcResponseStream<EchoResponse> responses, GrpcCallContext call)
    {
        for (int i = 0; i < request.Count; i++)
            await responses.BufferAsync(Answer(request, i));
        return StatusOf(request);
    }

    private async ValueTask<GrpcResult<EchoResponse>> CollectAsync(
        GrpcRequestStream<EchoRequest> requests, GrpcCallContext call)
    {
        long sum = 0;
        int count = 0;
        string tag = "";
        try
        {
            while (await requests.ReadAsync() is { } request)
            {
                if (request.StatusCode != 0)
                    return StatusOf(request);
                sum += request.Payload.Length;
                tag = request.Text;
                NoteStart(tag);
                count++;
            }
        }
        catch (OperationCanceledException) when (tag.Length > 0)
        {
            Note(tag).TrySetResult("cancelled");
            throw;
        }
        return new EchoResponse { Number = sum, Text = $"{count}" };
    }

    private static async ValueTask<GrpcStatus> ChatAsync(
        GrpcRequestStream<EchoRequest> requests, GrpcResponseStream<EchoResponse> responses, GrpcCallContext call)
    {
        long number = 0;
        await foreach (EchoRequest request in requests.ReadAllAsync())
        {
            if (request.StatusCode != 0)
                return StatusOf(request);
            await responses.WriteAsync(Answer(request, number++));
        }
        return GrpcStatus.Ok;
    }

    private async ValueTask<GrpcResult<EchoResponse>> HangAsync(EchoRequest request, GrpcCallContext call)
    {
        TaskCompletionSource never = new();
        NoteStart(request.Text);
        try
        {
            await never.Task.WaitAsync(call.CancellationToken);
        }
        finally
        {
            Note(request.Text).TrySetResult(call.TimeLeft == TimeSpan.Zero ? "deadline" : "cancelled");
        }
        return new EchoResponse();
    }

    private async ValueTask<GrpcStatus> FloodAsync(
        EchoRequest request, GrpcResponseStream<EchoResponse> responses, GrpcCallContext call)
    {
        try
        {
            for (long i = 0; ; i++)
                await responses.WriteAsync(Answer(request, i));
        }
        finally
        {
            Note(request.Text).TrySetResult(call.TimeLeft == TimeSpan.Zero ? "deadline" : "cancelled");
        }
    }

    private void NoteStart(string tag) => Note("started:" + tag).TrySetResult("started");

    private TaskCompletionSource<string> Note(string tag)
        => _notes.GetOrAdd(tag, _ => new TaskCompletionSource<string>(TaskCreationOptions.RunContinuationsAsynchronously));
}
