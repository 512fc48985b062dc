using Google.Protobuf;

namespace KeyVa.Protocol.Grpc;

/// <summary>Limits and habits of one service. Immutable.</summary>
public sealed class GrpcServiceOptions
{
    /// <summary>The default of <see cref="MaxReceiveBytes"/>: 4 MiB, as in every other gRPC implementation.</summary>
    public const int DefaultMaxReceiveBytes = 4 * 1024 * 1024;

    /// <summary>Largest request message taken, in bytes, also after inflation; more is RESOURCE_EXHAUSTED.</summary>
    public int MaxReceiveBytes { get; init; } = DefaultMaxReceiveBytes;

    /// <summary>Whether responses are compressed with gzip for callers that accept it.</summary>
    public bool GzipResponses { get; init; }

    /// <summary>The clock of deadlines.</summary>
    public TimeProvider Clock { get; init; } = TimeProvider.System;
}

/// <summary>Answers a unary call.</summary>
public delegate ValueTask<GrpcResult<TResponse>> GrpcUnary<TRequest, TResponse>(TRequest request, GrpcCallContext call)
    where TResponse : class;

/// <summary>Answers one request with a stream.</summary>
public delegate ValueTask<GrpcStatus> GrpcServerStreaming<TRequest, TResponse>(
    TRequest request, GrpcResponseStream<TResponse> responses, GrpcCallContext call)
    where TResponse : class, IMessage<TResponse>;

/// <summary>Answers a stream of requests with one message.</summary>
public delegate ValueTask<GrpcResult<TResponse>> GrpcClientStreaming<TRequest, TResponse>(
    GrpcRequestStream<TRequest> requests, GrpcCallContext call)
    where TRequest : class, IMessage<TRequest>
    where TResponse : class;

/// <summary>Answers a stream with a stream; both may be used at the same time.</summary>
public delegate ValueTask<GrpcStatus> GrpcDuplex<TRequest, TResponse>(
    GrpcRequestStream<TRequest> requests, GrpcResponseStream<TResponse> responses, GrpcCallContext call)
    where TRequest : class, IMessage<TRequest>
    where TResponse : class, IMessage<TResponse>;

/// <summary>
/// The methods of one service with their handlers. Fill it before it goes to a <see cref="GrpcServer"/>; not
/// thread-safe until then, read-only afterwards. Handlers run on the thread that read the request and must not block.
/// </summary>
/// <param name="name">The full name: package and service.</param>
/// <param name="options">Limits; null for the defaults.</param>
public sealed class GrpcService(string name, GrpcServiceOptions? options = null)
{
    private readonly Dictionary<string, GrpcHandler> _handlers = new(StringComparer.Ordinal);

    /// <summary>The full name.</summary>
    public string Name { get; } = name;

    /// <summary>The limits.</summary>
    public GrpcServiceOptions Options { get; } = options ?? new GrpcServiceOptions();

    internal IReadOnlyDictionary<string, GrpcHandler> Handlers => _handlers;

    /// <summary>Adds a method with one request and one response.</summary>
    /// <exception cref="ArgumentException">The method is of another service or was added before.</exception>
    public GrpcService Unary<TRequest, TResponse>(
        GrpcMethod<TRequest, TResponse> method, GrpcUnary<TRequest, TResponse> handler)
        where TRequest : class, IMessage<TRequest>
        where TResponse : class, IMessage<TResponse>
        => Add(method, new UnaryHandler<TRequest, TResponse>(method, handler, Options));

    /// <summary>Adds a method with one request and a stream of responses.</summary>
    /// <exception cref="ArgumentException">The method is of another service or was added before.</exception>
    public GrpcService ServerStreaming<TRequest, TResponse>(
        GrpcMethod<TRequest, TResponse> method, GrpcServerStreaming<TRequest, TResponse> handler)
        where TRequest : class, IMessage<TRequest>
        where TResponse : class, IMessage<TResponse>
        => Add(method, new ServerStreamingHandler<TRequest, TResponse>(method, handler, Options));

    /// <summary>Adds a method with a stream of requests and one response.</summary>
    /// <exception cref="ArgumentException">The method is of another service or was added before.</exception>
    public GrpcService ClientStreaming<TRequest, TResponse>(
        GrpcMethod<TRequest, TResponse> method, GrpcClientStreaming<TRequest, TResponse> handler)
        where TRequest : class, IMessage<TRequest>
        where TResponse : class, IMessage<TResponse>
        => Add(method, new ClientStreamingHandler<TRequest, TResponse>(method, handler, Options));

    /// <summary>Adds a method with a stream in both directions.</summary>
    /// <exception cref="ArgumentException">The method is of another service or was added before.</exception>
    public GrpcService Duplex<TRequest, TResponse>(
        GrpcMethod<TRequest, TResponse> method, GrpcDuplex<TRequest, TResponse> handler)
        where TRequest : class, IMessage<TRequest>
        where TResponse : class, IMessage<TResponse>
        => Add(method, new DuplexHandler<TRequest, TResponse>(method, handler, Options));

    private GrpcService Add<TRequest, TResponse>(GrpcMethod<TRequest, TResponse> method, GrpcHandler handler)
        where TRequest : class, IMessage<TRequest>
        where TResponse : class, IMessage<TResponse>
    {
        if (method.Service != Name)
            throw new ArgumentException($"{method.Path} is not a method of {Name}", nameof(method));
        if (!_handlers.TryAdd(method.Path, handler))
            throw new ArgumentException($"{method.Path} was added before", nameof(method));
        return this;
    }
}
