using System.Diagnostics.CodeAnalysis;
using System.Net;
using System.Net.Http.Headers;
using Google.Protobuf;

namespace KeyVa.Protocol.Grpc;

/// <summary>
/// The client half: calls over a pool of HTTP/2 connections to one address, opened when first needed and again when
/// lost. Safe for all threads.
/// </summary>
public sealed class GrpcChannel : IDisposable
{
    private static readonly MediaTypeHeaderValue MediaType = new("application/grpc");

    private readonly Uri _address;
    private readonly GrpcChannelOptions _options;
    private readonly HttpMessageInvoker _invoker;

    /// <summary>A channel to an address: <c>http://host:port</c> (plain HTTP/2) or <c>https://host:port</c>.</summary>
    /// <exception cref="ArgumentException">The address is neither.</exception>
    [SuppressMessage("Reliability", "CA2000", Justification = "the invoker owns the handler")]
    public GrpcChannel(Uri address, GrpcChannelOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(address);
        if (!address.IsAbsoluteUri || (address.Scheme != Uri.UriSchemeHttp && address.Scheme != Uri.UriSchemeHttps))
            throw new ArgumentException($"'{address}' is not an http:// or https:// address", nameof(address));
        _address = address;
        _options = options ?? new GrpcChannelOptions();
        SocketsHttpHandler handler = new()
        {
            EnableMultipleHttp2Connections = true,
            ConnectTimeout = _options.ConnectTimeout,
            KeepAlivePingDelay = _options.KeepAlivePingDelay,
            KeepAlivePingPolicy = HttpKeepAlivePingPolicy.WithActiveRequests,
            PooledConnectionIdleTimeout = TimeSpan.FromMinutes(5),
            AllowAutoRedirect = false,
            UseCookies = false,
            UseProxy = false,
            AutomaticDecompression = DecompressionMethods.None,
        };
        _options.ConfigureHandler?.Invoke(handler);
        _invoker = new HttpMessageInvoker(handler);
    }

    /// <summary>A call with one request and one response; its outcome is a value.</summary>
    /// <exception cref="OperationCanceledException"><paramref name="cancellationToken"/> was cancelled.</exception>
    public async ValueTask<GrpcReply<TResponse>> CallAsync<TRequest, TResponse>(
        GrpcMethod<TRequest, TResponse> method, TRequest request, GrpcCallOptions? options = null,
        CancellationToken cancellationToken = default)
        where TRequest : class, IMessage<TRequest>
        where TResponse : class, IMessage<TResponse>
    {
        using GrpcClientCall<TResponse> call =
            Start(method, new SingleRequestContent(request, options is { GzipRequests: true }), options, cancellationToken);
        return await call.ReadSingleAsync();
    }

    /// <summary>A call with one request and one response; any status but OK is thrown.</summary>
    /// <exception cref="GrpcException">The status is not OK.</exception>
    /// <exception cref="OperationCanceledException"><paramref name="cancellationToken"/> was cancelled.</exception>
    public async ValueTask<TResponse> UnaryAsync<TRequest, TResponse>(
        GrpcMethod<TRequest, TResponse> method, TRequest request, GrpcCallOptions? options = null,
        CancellationToken cancellationToken = default)
        where TRequest : class, IMessage<TRequest>
        where TResponse : class, IMessage<TResponse>
        => (await CallAsync(method, request, options, cancellationToken)).GetMessage();

    /// <summary>A call with one request and a stream of responses. Dispose of it; before the end that cancels it.</summary>
    public GrpcResponses<TResponse> ServerStreaming<TRequest, TResponse>(
        GrpcMethod<TRequest, TResponse> method, TRequest request, GrpcCallOptions? options = null,
        CancellationToken cancellationToken = default)
        where TRequest : class, IMessage<TRequest>
        where TResponse : class, IMessage<TResponse>
        => new(Start(method, new SingleRequestContent(request, options is { GzipRequests: true }), options, cancellationToken));

    /// <summary>A call with a stream of requests and one response. Dispose of it; before the end that cancels it.</summary>
    public GrpcUpload<TRequest, TResponse> ClientStreaming<TRequest, TResponse>(
        GrpcMethod<TRequest, TResponse> method, GrpcCallOptions? options = null,
        CancellationToken cancellationToken = default)
        where TRequest : class, IMessage<TRequest>
        where TResponse : class, IMessage<TResponse>
    {
        StreamingRequestContent content = new(options is { GzipRequests: true });
        return new GrpcUpload<TRequest, TResponse>(Start(method, content, options, cancellationToken), content);
    }

    /// <summary>A call with streams in both directions. Dispose of it; before the end that cancels it.</summary>
    public GrpcDuplexCall<TRequest, TResponse> Duplex<TRequest, TResponse>(
        GrpcMethod<TRequest, TResponse> method, GrpcCallOptions? options = null,
        CancellationToken cancellationToken = default)
        where TRequest : class, IMessage<TRequest>
        where TResponse : class, IMessage<TResponse>
    {
        StreamingRequestContent content = new(options is { GzipRequests: true });
        return new GrpcDuplexCall<TRequest, TResponse>(Start(method, content, options, cancellationToken), content);
    }

    /// <summary>Closes the connections; calls under way end as UNAVAILABLE.</summary>
    public void Dispose() => _invoker.Dispose();

    private GrpcClientCall<TResponse> Start<TRequest, TResponse>(
        GrpcMethod<TRequest, TResponse> method, HttpContent content, GrpcCallOptions? options, CancellationToken caller)
        where TRequest : class, IMessage<TRequest>
        where TResponse : class, IMessage<TResponse>
    {
        HttpRequestMessage request = new(HttpMethod.Post, new Uri(_address, method.Path))
        {
            Version = HttpVersion.Version20,
            VersionPolicy = HttpVersionPolicy.RequestVersionExact,
            Content = content,
        };
        content.Headers.ContentType = MediaType;
        HttpRequestHeaders headers = request.Headers;
        headers.TryAddWithoutValidation("te", "trailers");
        headers.TryAddWithoutValidation("grpc-accept-encoding", GrpcGzip.Accepted);
        if (options is not null)
        {
            if (options.GzipRequests)
                headers.TryAddWithoutValidation("grpc-encoding", GrpcGzip.Name);
            if (options.Timeout is { } timeout)
                headers.TryAddWithoutValidation("grpc-timeout", GrpcTimeout.Format(timeout));
            foreach (GrpcMetadataEntry entry in options.Metadata ?? [])
                headers.TryAddWithoutValidation(entry.Key, entry.Value);
        }
        return new GrpcClientCall<TResponse>(
            _invoker, request, method.ResponseParser, _options.MaxReceiveBytes, options, caller);
    }
}
