using System.IO.Pipelines;
using System.Net;
using System.Net.Http.Headers;
using System.Net.Sockets;
using System.Security.Authentication;
using Google.Protobuf;

namespace KeyVa.Protocol.Grpc;

/// <summary>
/// A call on the client, of any kind: opens the response, reads its messages, ends with a status.
/// 1. Whatever goes wrong, on the wire or on the other side, becomes <see cref="Status"/>; only the caller's own
///    cancellation is thrown.
/// 2. <see cref="ReadAsync"/> returns null exactly when <see cref="Status"/> is final.
/// 3. Disposing before the end resets the HTTP/2 stream, which cancels the call on the server.
/// One reader at a time.
/// </summary>
internal sealed class GrpcClientCall<TResponse> : IDisposable where TResponse : class, IMessage<TResponse>
{
    // A server's limit for metadata that is below this is told as a lost connection.
    private const int SmallestMetadataLimit = 4 * 1024;

    private readonly MessageParser<TResponse> _parser;
    private readonly int _maxBytes;
    private readonly GrpcMetadata? _metadata;
    private readonly CancellationToken _caller;
    private readonly CancellationTokenSource? _source;
    private readonly bool _hasDeadline;
    private readonly StreamingRequestContent? _requests;
    private readonly Task<HttpResponseMessage> _sending;
    private HttpResponseMessage? _response;
    private GrpcMessageReader<TResponse>? _reader;
    private PipeReader? _body;

    internal GrpcClientCall(
        HttpMessageInvoker invoker, HttpRequestMessage request, MessageParser<TResponse> parser, int maxBytes,
        GrpcCallOptions? options, CancellationToken caller)
    {
        _parser = parser;
        _maxBytes = maxBytes;
        _metadata = options?.Metadata;
        _caller = caller;
        if (options?.Timeout is { } limit && limit <= GrpcTimeout.Longest)
        {
            _hasDeadline = true;
            _source = CancellationTokenSource.CreateLinkedTokenSource(caller);
            _source.CancelAfter(limit > TimeSpan.Zero ? limit : TimeSpan.Zero);
        }
        _requests = request.Content as StreamingRequestContent;
        if (_requests is not null)
            _source ??= CancellationTokenSource.CreateLinkedTokenSource(caller);
        _sending = invoker.SendAsync(request, Token);
        // Without a connection nobody ever asks for the body, and a writer would wait for that for ever.
        if (_requests is not null)
        {
            _sending.ContinueWith(
                static (_, requests) => ((StreamingRequestContent)requests!).Abandon(), _requests, CancellationToken.None,
                TaskContinuationOptions.NotOnRanToCompletion | TaskContinuationOptions.ExecuteSynchronously,
                TaskScheduler.Default);
        }
    }

    /// <summary>The outcome, once there is one.</summary>
    internal GrpcStatus? Status { get; private set; }

    internal GrpcMetadata Headers { get; private set; } = [];

    internal GrpcMetadata Trailers { get; private set; } = [];

    internal CancellationToken Token => _source?.Token ?? _caller;

    private bool HasMuchMetadata => _metadata is not null && _metadata.Sum(static entry => entry.Key.Length + entry.Value.Length) >= SmallestMetadataLimit;

    /// <summary>Waits for the response headers.</summary>
    internal async ValueTask OpenAsync()
    {
        if (_response is not null || Status is not null)
            return;
        try
        {
            _response = await _sending;
            await AcceptAsync(_response);
        }
        catch (Exception e) when (ToStatus(e) is { } status)
        {
            End(status);
        }
    }

    /// <summary>The next message, or null at the end.</summary>
    internal async ValueTask<TResponse?> ReadAsync()
    {
        await OpenAsync();
        if (Status is not null)
            return null;
        try
        {
            if (await _reader!.ReadAsync(Token) is { } message)
                return message;
            _reader.Release();
            ReadTrailers(_response!.TrailingHeaders, missing: GrpcStatusCode.Internal);
        }
        catch (Exception e) when (ToStatus(e) is { } status)
        {
            End(status);
        }
        return null;
    }

    /// <summary>The single response of the call, with its outcome.</summary>
    internal async ValueTask<GrpcReply<TResponse>> ReadSingleAsync()
    {
        TResponse? message = await ReadAsync();
        if (message is not null && await ReadAsync() is not null)
            End(new GrpcStatus(GrpcStatusCode.Internal, "more than one message came for a single response"));
        if (message is null && Status is { IsOk: true })
            End(new GrpcStatus(GrpcStatusCode.Internal, "the server answered OK without a message"));
        GrpcStatus status = Status!.Value;
        return new GrpcReply<TResponse>(status, status.IsOk ? message : null, Headers, Trailers);
    }

    public void Dispose()
    {
        if (Status is null)
        {
            // A read may be under way and still own the buffers; they are left to the collector.
            Status = new GrpcStatus(GrpcStatusCode.Cancelled, "the call was disposed of before its end");
            _source?.Cancel();
        }
        else
        {
            _body?.Complete();
        }
        if (_response is not null)
            _response.Dispose();
        else
            _sending.ContinueWith(DisposeLate, TaskScheduler.Default);
        _source?.Dispose();
    }

    private static void DisposeLate(Task<HttpResponseMessage> sending)
    {
        if (sending.IsCompletedSuccessfully)
            sending.Result.Dispose();
        else
            _ = sending.Exception; // observed: the call was given up
    }

    private async ValueTask AcceptAsync(HttpResponseMessage response)
    {
        if (response.StatusCode != HttpStatusCode.OK)
        {
            // A server that refuses in HTTP terms may still say why in gRPC terms.
            if (response.Headers.NonValidated.Contains("grpc-status"))
                ReadTrailers(response.Headers, FromHttp(response.StatusCode));
            else
                End(new GrpcStatus(FromHttp(response.StatusCode), $"the server answered HTTP {(int)response.StatusCode}"));
            return;
        }
        string? contentType = response.Content.Headers.ContentType?.MediaType;
        if (contentType is null || !contentType.StartsWith("application/grpc", StringComparison.OrdinalIgnoreCase))
        {
            End(new GrpcStatus(GrpcStatusCode.Unknown, $"the server answered with content type '{contentType}'"));
            return;
        }
        if (response.Headers.NonValidated.Contains("grpc-status"))
        {
            ReadTrailers(response.Headers, GrpcStatusCode.Internal);
            return;
        }
        Headers = ToMetadata(response.Headers);
        string? encoding = First(response.Headers, "grpc-encoding");
        if (encoding is not (null or "" or "identity" or GrpcGzip.Name))
        {
            End(new GrpcStatus(GrpcStatusCode.Internal, $"the server answered in unknown grpc-encoding '{encoding}'"));
            return;
        }
        _body = PipeReader.Create(await response.Content.ReadAsStreamAsync(Token), new StreamPipeReaderOptions(bufferSize: 16 * 1024));
        _reader = new GrpcMessageReader<TResponse>(_body, _parser, _maxBytes, encoding == GrpcGzip.Name);
    }

    private void ReadTrailers(HttpResponseHeaders from, GrpcStatusCode missing)
    {
        Trailers = ToMetadata(from);
        string? code = First(from, "grpc-status");
        string message = PercentEncoding.Decode(First(from, "grpc-message") ?? "");
        if (code is null)
            End(new GrpcStatus(missing, "the response ends without a grpc-status"));
        else if (int.TryParse(code, out int number) && number is >= 0 and <= (int)GrpcStatusCode.Unauthenticated)
            End(new GrpcStatus((GrpcStatusCode)number, message));
        else
            End(new GrpcStatus(GrpcStatusCode.Unknown, $"status {code}: {message}"));
    }

    private void End(GrpcStatus status)
    {
        Status = status;
        // Whoever still writes requests learns that nobody reads them.
        if (_requests is not null)
            _source!.Cancel();
    }

    private GrpcStatus? ToStatus(Exception cause)
    {
        if (_caller.IsCancellationRequested)
            return null;
        if (_hasDeadline && _source!.IsCancellationRequested)
            return new GrpcStatus(GrpcStatusCode.DeadlineExceeded, "the deadline passed");
        return cause switch
        {
            GrpcException refusal => refusal.Status,
            HttpProtocolException reset => FromReset(reset),
            HttpRequestException { InnerException: HttpProtocolException reset } => FromReset(reset),
            HttpRequestException { InnerException: AuthenticationException tls } =>
                new GrpcStatus(GrpcStatusCode.Unavailable, $"TLS failed: {tls.Message}"),
            // The one refusal of the handler's own: metadata above the limit that the server's settings told. A lost
            // connection carries its cause inside, or an error code, unless it was lost before those settings came.
            HttpRequestException { InnerException: null, HttpRequestError: HttpRequestError.Unknown } refused when HasMuchMetadata =>
                new GrpcStatus(GrpcStatusCode.ResourceExhausted, refused.Message),
            HttpRequestException lost => new GrpcStatus(GrpcStatusCode.Unavailable, lost.Message),
            // HttpIOException names the reset inside; any other broken read is a lost connection.
            IOException { InnerException: HttpProtocolException reset } => FromReset(reset),
            IOException lost => new GrpcStatus(GrpcStatusCode.Unavailable, lost.Message),
            // The handler asks a new connection's socket whom it is connected to, and does not catch what that throws
            // when it has been reset meanwhile.
            SocketException lost => new GrpcStatus(GrpcStatusCode.Unavailable, lost.Message),
            // Neither the caller nor the deadline: the handler's own connect timeout.
            OperationCanceledException => new GrpcStatus(GrpcStatusCode.Unavailable, "no connection in time"),
            _ => null,
        };
    }

    /// <summary>The mapping of HTTP/2 error codes in the protocol's chapter "Errors".</summary>
    private static GrpcStatus FromReset(HttpProtocolException reset)
    {
        if (reset.ErrorCode == 0)
        {
            // NO_ERROR is how a server says GOAWAY when it stops; the handler reports both in the same way.
            return new GrpcStatus(GrpcStatusCode.Unavailable, "the server closed the connection");
        }

        GrpcStatusCode code = reset.ErrorCode switch
        {
            7 => GrpcStatusCode.Unavailable, // REFUSED_STREAM
            8 => GrpcStatusCode.Cancelled, // CANCEL
            11 => GrpcStatusCode.ResourceExhausted, // ENHANCE_YOUR_CALM
            12 => GrpcStatusCode.PermissionDenied, // INADEQUATE_SECURITY
            _ => GrpcStatusCode.Internal,
        };
        return new GrpcStatus(code, $"the server reset the stream with HTTP/2 error {reset.ErrorCode}");
    }

    /// <summary>The mapping of grpc/doc/http-grpc-status-mapping.md.</summary>
    private static GrpcStatusCode FromHttp(HttpStatusCode status) => (int)status switch
    {
        400 => GrpcStatusCode.Internal,
        401 => GrpcStatusCode.Unauthenticated,
        403 => GrpcStatusCode.PermissionDenied,
        404 => GrpcStatusCode.Unimplemented,
        431 => GrpcStatusCode.ResourceExhausted, // not in that list: metadata above the server's limit
        429 or 502 or 503 or 504 => GrpcStatusCode.Unavailable,
        _ => GrpcStatusCode.Unknown,
    };

    private static string? First(HttpResponseHeaders headers, string name)
        => headers.NonValidated.TryGetValues(name, out HeaderStringValues values) ? values.ToString() : null;

    private static GrpcMetadata ToMetadata(HttpResponseHeaders headers)
    {
        GrpcMetadata metadata = [];
        foreach ((string name, HeaderStringValues values) in headers.NonValidated)
        {
            foreach (string value in values)
                metadata.AddReceived(name, value);
        }
        return metadata;
    }
}
