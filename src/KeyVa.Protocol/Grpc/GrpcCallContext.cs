using System.Buffers;
using Google.Protobuf;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Server.Kestrel.Core.Features;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Primitives;

namespace KeyVa.Protocol.Grpc;

/// <summary>
/// A call on the server: metadata in and out, deadline, cancellation. It belongs to one call; the handler may use it
/// from one thread at a time, <see cref="CancellationToken"/> from any.
/// 1. A call without a deadline has no timer; one with a deadline gets it when somebody first asks for the token.
/// 2. The status goes to the headers (a trailers-only response) until the first message is written, then to trailers.
/// </summary>
public sealed partial class GrpcCallContext
{
    internal const string ContentType = "application/grpc";

    private const string LogCategory = "KeyVa.Protocol.Grpc";

    // Kestrel's own limit on request bodies is left alone for unary calls below this message limit.
    private const int AlwaysAllowedBytes = 16 * 1024 * 1024;

    // How long a status may wait for a caller that does not read.
    private static readonly TimeSpan StatusPatience = TimeSpan.FromSeconds(10);

    private static readonly StringValues[] CodeTexts =
        [.. Enum.GetValues<GrpcStatusCode>().Select(code => new StringValues(((int)code).ToString("D", null)))];

    // immutable
    private readonly string _path;
    private readonly GrpcServiceOptions _options;

    // the call's own
    private long _startedAt;
    private TimeSpan _timeout = Timeout.InfiniteTimeSpan;
    private CancellationTokenSource? _deadline;
    private CancellationTokenRegistration _abort;
    private GrpcMetadata? _requestMetadata;
    private GrpcMetadata? _trailers;
    private bool _responding;

    private GrpcCallContext(HttpContext http, string path, GrpcServiceOptions options)
    {
        HttpContext = http;
        _path = path;
        _options = options;
    }

    /// <summary>The HTTP request below: connection, certificate, user.</summary>
    public HttpContext HttpContext { get; }

    /// <summary>The path of the method, <c>/service/method</c>.</summary>
    public string Path => _path;

    /// <summary>Whether the caller set a deadline.</summary>
    public bool HasDeadline => _timeout != Timeout.InfiniteTimeSpan;

    /// <summary>What is left until the deadline; infinite (-1 ms) without one, zero once it has passed.</summary>
    public TimeSpan TimeLeft
    {
        get
        {
            if (!HasDeadline)
                return _timeout;
            TimeSpan left = _timeout - _options.Clock.GetElapsedTime(_startedAt);
            return left > TimeSpan.Zero ? left : TimeSpan.Zero;
        }
    }

    /// <summary>Cancelled when the caller gives up, the connection is lost or the deadline passes.</summary>
    public CancellationToken CancellationToken => HasDeadline ? DeadlineToken() : HttpContext.RequestAborted;

    /// <summary>Metadata that the caller sent; read when first asked for.</summary>
    public GrpcMetadata RequestMetadata
    {
        get
        {
            if (_requestMetadata is null)
            {
                _requestMetadata = [];
                foreach ((string name, StringValues values) in HttpContext.Request.Headers)
                {
                    foreach (string? value in values)
                        _requestMetadata.AddReceived(name, value ?? "");
                }
            }
            return _requestMetadata;
        }
    }

    /// <summary>Metadata to send after the last message, together with the status.</summary>
    public GrpcMetadata ResponseTrailers => _trailers ??= [];

    internal bool GzipRequest { get; private set; }

    internal bool GzipResponse { get; private set; }

    internal int MaxReceiveBytes => _options.MaxReceiveBytes;

    /// <summary>A token for reads of the body: Kestrel ends those by itself when the caller goes away.</summary>
    internal CancellationToken ReadToken => HasDeadline ? DeadlineToken() : CancellationToken.None;

    private bool DeadlinePassed
        => _deadline is { IsCancellationRequested: true } && !HttpContext.RequestAborted.IsCancellationRequested;

    /// <summary>Sends metadata ahead of the first message.</summary>
    /// <exception cref="InvalidOperationException">The first message, or the headers, were sent already.</exception>
    public void SendHeaders(GrpcMetadata metadata)
    {
        if (_responding || HttpContext.Response.HasStarted)
            throw new InvalidOperationException("response headers were sent already");
        AppendTo(HttpContext.Response.Headers, metadata);
    }

    /// <summary>Whether a request is gRPC at all; if not, the HTTP status that says so is set.</summary>
    internal static bool IsGrpcRequest(HttpContext http)
    {
        HttpRequest request = http.Request;
        if (!HttpMethods.IsPost(request.Method))
        {
            http.Response.StatusCode = StatusCodes.Status405MethodNotAllowed;
            http.Response.Headers.Allow = HttpMethods.Post;
            return false;
        }
        if (!IsGrpcContent(request.ContentType))
        {
            http.Response.StatusCode = StatusCodes.Status415UnsupportedMediaType;
            return false;
        }
        if (HttpProtocol.IsHttp11(request.Protocol) || HttpProtocol.IsHttp10(request.Protocol))
        {
            // Trailers, and so statuses, need HTTP/2.
            http.Response.StatusCode = StatusCodes.Status426UpgradeRequired;
            http.Response.Headers.Upgrade = "h2c";
            return false;
        }
        return true;
    }

    /// <summary>Opens a call, or answers the request itself and returns null.</summary>
    internal static GrpcCallContext? Open(HttpContext http, string path, GrpcServiceOptions options, bool streamsIn)
    {
        if (!IsGrpcRequest(http))
            return null;
        http.Response.ContentType = ContentType;
        GrpcCallContext call = new(http, path, options);
        if (call.ReadProtocolHeaders(http) is { IsOk: false } refused)
        {
            call.Finish(refused);
            return null;
        }
        if (streamsIn || options.MaxReceiveBytes > AlwaysAllowedBytes)
            LiftBodyLimits(http, streamsIn);
        return call;
    }

    /// <summary>Writes the status headers alone.</summary>
    internal static void WriteStatus(IHeaderDictionary to, GrpcStatus status)
    {
        to.GrpcStatus = (uint)status.Code < (uint)CodeTexts.Length
            ? CodeTexts[(int)status.Code]
            : CodeTexts[(int)GrpcStatusCode.Unknown];
        if (status.Message.Length > 0)
            to.GrpcMessage = PercentEncoding.Encode(status.Message);
    }

    /// <summary>Writes a response message into the output, without flushing it; returns the bytes it takes.</summary>
    internal int Write(IBufferWriter<byte> output, IMessage message)
    {
        _responding = true;
        return GrpcFrame.Write(output, message, GzipResponse);
    }

    /// <summary>Ends the call with a status.</summary>
    internal void Finish(GrpcStatus status)
    {
        HttpResponse response = HttpContext.Response;
        IHeaderDictionary to = response.Headers;
        if (_responding || response.HasStarted)
            to = HttpContext.Features.GetRequiredFeature<IHttpResponseTrailersFeature>().Trailers;
        if (_trailers is not null)
            AppendTo(to, _trailers);
        WriteStatus(to, status);
        Close();
    }

    /// <summary>Ends the call for an exception: a refusal by value of a rarer kind, a cancellation, or a bug.</summary>
    internal void Fail(Exception cause)
    {
        if (DeadlinePassed)
        {
            Finish(new GrpcStatus(GrpcStatusCode.DeadlineExceeded, "the deadline passed"));
        }
        else if (HttpContext.RequestAborted.IsCancellationRequested)
        {
            Close(); // nobody is left to read a status
        }
        else if (cause is GrpcException refusal)
        {
            foreach (GrpcMetadataEntry entry in refusal.Trailers)
                ResponseTrailers.AddReceived(entry.Key, entry.Value);
            Finish(refusal.Status);
        }
        else if (cause is OperationCanceledException)
        {
            Finish(new GrpcStatus(GrpcStatusCode.Cancelled, "the call was cancelled on the server"));
        }
        else if (cause is BadHttpRequestException bad)
        {
            Finish(new GrpcStatus(bad.StatusCode == StatusCodes.Status413PayloadTooLarge
                ? GrpcStatusCode.ResourceExhausted
                : GrpcStatusCode.Internal, bad.Message));
        }
        else
        {
            ILoggerFactory? logs = HttpContext.RequestServices?.GetService<ILoggerFactory>();
            if (logs is not null)
                LogFailure(logs.CreateLogger(LogCategory), cause, _path);
            // The text of an unexpected exception stays in the log: it may hold what the caller must not see.
            Finish(new GrpcStatus(GrpcStatusCode.Unknown, "the handler failed; the server's log says why"));
        }
    }

    [LoggerMessage(Level = LogLevel.Error, Message = "The handler of {Path} failed")]
    private static partial void LogFailure(ILogger log, Exception cause, string path);

    private static bool IsGrpcContent(string? contentType)
    {
        if (contentType is null || !contentType.StartsWith(ContentType, StringComparison.OrdinalIgnoreCase))
            return false;
        ReadOnlySpan<char> rest = contentType.AsSpan(ContentType.Length);
        if (rest.StartsWith("+proto", StringComparison.OrdinalIgnoreCase))
            rest = rest["+proto".Length..];
        return rest.IsEmpty || rest[0] is ';' or ' ';
    }

    private static void AppendTo(IHeaderDictionary to, GrpcMetadata metadata)
    {
        foreach (GrpcMetadataEntry entry in metadata)
            to.Append(entry.Key, entry.Value);
    }

    private static void LiftBodyLimits(HttpContext http, bool streamsIn)
    {
        // Streams have no end that is known in advance, and may rest as long as they like.
        if (http.Features.Get<IHttpMaxRequestBodySizeFeature>() is { IsReadOnly: false } size)
            size.MaxRequestBodySize = null;
        if (streamsIn && http.Features.Get<IHttpMinRequestBodyDataRateFeature>() is { } rate)
            rate.MinDataRate = null;
    }

    private GrpcStatus ReadProtocolHeaders(HttpContext http)
    {
        IHeaderDictionary headers = http.Request.Headers;
        StringValues encoding = headers.GrpcEncoding;
        if (encoding.Count > 0 && encoding.ToString() is { Length: > 0 } name && name != "identity")
        {
            if (name != GrpcGzip.Name)
            {
                http.Response.Headers.GrpcAcceptEncoding = GrpcGzip.Accepted;
                return new GrpcStatus(GrpcStatusCode.Unimplemented, $"grpc-encoding '{name}' is not known; {GrpcGzip.Accepted} are");
            }
            GzipRequest = true;
        }
        if (_options.GzipResponses && GrpcGzip.IsAcceptedBy(headers.GrpcAcceptEncoding))
        {
            GzipResponse = true;
            http.Response.Headers.GrpcEncoding = GrpcGzip.Name;
        }
        StringValues timeout = headers.GrpcTimeout;
        return timeout.Count == 0 ? GrpcStatus.Ok : StartDeadline(timeout.ToString());
    }

    private GrpcStatus StartDeadline(string text)
    {
        if (!GrpcTimeout.TryParse(text, out TimeSpan timeout))
            return new GrpcStatus(GrpcStatusCode.Internal, $"malformed grpc-timeout '{text}'");
        if (timeout == TimeSpan.Zero)
            return new GrpcStatus(GrpcStatusCode.DeadlineExceeded, "the deadline passed before the call began");
        if (timeout <= GrpcTimeout.Longest)
        {
            _timeout = timeout;
            _startedAt = _options.Clock.GetTimestamp();
        }
        return GrpcStatus.Ok;
    }

    private CancellationToken DeadlineToken()
    {
        if (Volatile.Read(ref _deadline) is { } existing)
            return existing.Token;
        // Two threads of a handler may ask at once; only one timer may be left behind.
        CancellationTokenSource source = new(TimeLeft, _options.Clock);
        if (Interlocked.CompareExchange(ref _deadline, source, null) is { } winner)
        {
            source.Dispose();
            return winner.Token;
        }
        _abort = HttpContext.RequestAborted.UnsafeRegister(
            static state => ((CancellationTokenSource)state!).Cancel(), source);
        return source.Token;
    }

    /// <summary>
    /// While the result lives: resets the stream <see cref="StatusPatience"/> after the deadline. Null without a deadline.
    /// </summary>
    internal ITimer? AbortAfterDeadline() => HasDeadline
        ? _options.Clock.CreateTimer(
            static http => ((HttpContext)http!).Abort(), HttpContext, TimeLeft + StatusPatience, Timeout.InfiniteTimeSpan)
        : null;

    private void Close()
    {
        if (_deadline is null)
            return;
        _abort.Dispose();
        _deadline.Dispose();
    }
}
