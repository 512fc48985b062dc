using System.Globalization;
using System.Net.Security;
using System.Net.Sockets;
using Google.Protobuf;
using KeyVa.Protocol.Grpc;

namespace KeyVa.Client;

/// <summary>
/// Calls to one address with deadlines and safe retries. Thread-safe.
/// 1. A connection that cannot be made is tried again before anything was sent, for every call.
/// 2. A call that lost its connection is sent again only if it is a read.
/// 3. A refusal that a caller is expected to handle comes back as a <see cref="Reply{T}"/>; everything else is thrown.
/// </summary>
internal sealed class Connection : IDisposable
{
    // Set by our own connecting code in front of the reason; such a call never had a connection to send on.
    private const string NoConnection = "no connection: ";

    private readonly ServerAddress _address;
    private readonly RemoteOptions _options;
    private readonly GrpcChannel _channel;
    private readonly GrpcCallOptions _call;
    private readonly GrpcCallOptions _stream;
    private readonly GrpcMetadata? _metadata;

    public Connection(ServerAddress address, RemoteOptions options)
    {
        _address = address;
        _options = options;
        _metadata = MetadataOf(options);
        _call = new GrpcCallOptions { Timeout = options.Deadline, Metadata = _metadata };
        _stream = new GrpcCallOptions { Timeout = options.StreamDeadline, Metadata = _metadata };
        SslClientAuthenticationOptions? tls = address.IsTls ? (options.Tls ?? new RemoteTls()).Read() : null;
        _channel = new GrpcChannel(address.Uri, new GrpcChannelOptions
        {
            MaxReceiveBytes = options.MaxReceiveBytes,
            ConnectTimeout = options.ConnectTimeout,
            KeepAlivePingDelay = TimeSpan.FromSeconds(15),
            ConfigureHandler = handler =>
            {
                handler.ConnectCallback = ConnectAsync;
                if (tls is not null)
                {
                    handler.SslOptions = tls;
                }
            },
        });
    }

    public async ValueTask<Reply<TResponse>> CallAsync<TRequest, TResponse>(
        GrpcMethod<TRequest, TResponse> method, TRequest request, bool isRead, CancellationToken cancellation, bool isLong = false, TimeSpan? waits = null, bool mayBeMissing = false)
        where TRequest : class, IMessage<TRequest>
        where TResponse : class, IMessage<TResponse>
    {
        // A call that waits for a lock on the server has its deadline on top of that.
        GrpcCallOptions options = waits is { } more ? new GrpcCallOptions { Timeout = _options.Deadline + more, Metadata = _metadata } : isLong ? _stream : _call;
        for (int attempt = 0; ; attempt++)
        {
            GrpcReply<TResponse> reply = await _channel.CallAsync(method, request, options, cancellation);
            if (reply.Message is { } message)
            {
                return new Reply<TResponse>(message, Status.Ok, null, reply.Trailers);
            }

            if (mayBeMissing && reply.Status.Code == GrpcStatusCode.Unimplemented)
            {
                return new Reply<TResponse>(null, Status.Unsupported, reply.Status.Message, reply.Trailers);
            }

            if (TryRefusal(reply.Status, reply.Trailers, out Status status))
            {
                return new Reply<TResponse>(null, status, reply.Status.Message, reply.Trailers);
            }

            bool again = isRead && reply.Status.Code == GrpcStatusCode.Unavailable && attempt < _options.ReadRetries
                && !IsNoConnection(reply.Status);
            if (!again)
            {
                throw ToException(reply.Status, isRead, null);
            }

            await Task.Delay(Pause(attempt), cancellation);
        }
    }

    /// <summary>A call that answers with a stream; its messages come with <see cref="NextAsync"/>.</summary>
    public GrpcResponses<TResponse> Stream<TRequest, TResponse>(
        GrpcMethod<TRequest, TResponse> method, TRequest request, CancellationToken cancellation)
        where TRequest : class, IMessage<TRequest>
        where TResponse : class, IMessage<TResponse> =>
        _channel.ServerStreaming(method, request, _stream, cancellation);

    /// <summary>A call that takes a stream.</summary>
    public GrpcUpload<TRequest, TResponse> Upload<TRequest, TResponse>(
        GrpcMethod<TRequest, TResponse> method, CancellationToken cancellation)
        where TRequest : class, IMessage<TRequest>
        where TResponse : class, IMessage<TResponse> =>
        _channel.ClientStreaming(method, _stream, cancellation);

    /// <summary>The next message of a stream, null at its end; throws a <see cref="StoreException"/>.</summary>
    public async ValueTask<TResponse?> NextAsync<TResponse>(GrpcResponses<TResponse> responses)
        where TResponse : class, IMessage<TResponse>
    {
        try
        {
            return await responses.ReadAsync();
        }
        catch (GrpcException failed)
        {
            throw TryRefusal(failed.Status, failed.Trailers, out Status status)
                ? new RefusedException(status, failed.Status.Message) { BeginsAtVersion = Reply<TResponse>.Number(failed.Trailers, RemotePast.BeginsTrailer, 0) }
                : ToException(failed.Status, isRead: true, failed);
        }
    }

    /// <summary>What a call that ended so means to the caller.</summary>
    public StoreException ToException(GrpcStatus status, bool isRead, Exception? inner)
    {
        string unknown = isRead ? "" : "; whether the write happened is unknown";
        switch (status.Code)
        {
            case GrpcStatusCode.Unavailable when IsNoConnection(status):
                return new ServerUnreachableException(
                    _address, $"no server answers at {_address}: {status.Message[NoConnection.Length..]}", nothingSent: true, inner);
            case GrpcStatusCode.Unavailable:
                return new ServerUnreachableException(
                    _address, $"the connection to the server at {_address} was lost ({status.Message}){unknown}", nothingSent: false, inner);
            case GrpcStatusCode.DeadlineExceeded:
                return new ServerUnreachableException(
                    _address,
                    string.Create(CultureInfo.InvariantCulture, $"the server at {_address} did not answer within {_options.Deadline.TotalSeconds:0.#} s{unknown}"),
                    nothingSent: false,
                    inner);
            case GrpcStatusCode.Unimplemented:
                return new StoreException($"the server at {_address} does not know this call ({status.Message}); is it the right port, and as new as this client?", inner!);
            default:
                return new StoreException($"the call to {_address} failed: {status}", inner!);
        }
    }

    /// <summary>Whether a status is a refusal of the store, by its trailer; a server that is no KeyVa sends none.</summary>
    public static bool TryRefusal(GrpcStatus status, GrpcMetadata trailers, out Status refusal)
    {
        if (status.Code == GrpcStatusCode.ResourceExhausted && trailers.Get("keyva-status") is null)
        {
            // The wire layer refused a message before the store could see it.
            refusal = Status.TooLarge;
            return true;
        }

        refusal = Status.Failed;
        return !status.IsOk && trailers.Get("keyva-status") is { } name
            && Enum.TryParse(name.Replace("-", "", StringComparison.Ordinal), ignoreCase: true, out refusal)
            && Enum.IsDefined(refusal) && refusal != Status.Ok;
    }

    /// <summary>Waits before a write is sent again, after so many attempts.</summary>
    public Task PauseBeforeWriteAsync(int attempt, CancellationToken cancellation) => Task.Delay(Pause(attempt), cancellation);

    /// <summary>Waits before a stream is opened again, after so many that broke; false if that is not to be.</summary>
    public async ValueTask<bool> PauseAsync(int attempt, CancellationToken cancellation)
    {
        if (attempt >= _options.ReadRetries)
        {
            return false;
        }

        await Task.Delay(Pause(attempt), cancellation);
        return true;
    }

    public void Dispose() => _channel.Dispose();

    private static GrpcMetadata? MetadataOf(RemoteOptions options)
    {
        var metadata = new GrpcMetadata();
        if (options.Credentials is { } credentials)
        {
            metadata.Add("authorization", credentials.Header);
        }

        if (!options.Forwards)
        {
            metadata.Add("keyva-forward", "no");
        }

        return metadata.Count == 0 ? null : metadata;
    }

    private static bool IsNoConnection(GrpcStatus status) =>
        status.Code == GrpcStatusCode.Unavailable && status.Message.StartsWith(NoConnection, StringComparison.Ordinal);

    private async ValueTask<Stream> ConnectAsync(SocketsHttpConnectionContext context, CancellationToken cancellation)
    {
        for (int attempt = 0; ; attempt++)
        {
            Socket socket = new(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
            try
            {
                await socket.ConnectAsync(context.DnsEndPoint, cancellation);
                // The handler asks for it, too, and lets what is thrown there pass as it is; a server that dies resets
                // the connections that it has not accepted. Asked for once, it is remembered.
                _ = socket.RemoteEndPoint;
                return new NetworkStream(socket, ownsSocket: true);
            }
            catch (SocketException refused)
            {
                socket.Dispose();
                bool isServerAway = refused.SocketErrorCode is SocketError.ConnectionRefused or SocketError.ConnectionReset or SocketError.NotConnected;
                if (attempt >= _options.ConnectRetries || !isServerAway)
                {
                    throw new IOException(NoConnection + refused.Message.ToLowerInvariant(), refused);
                }
            }
            catch (OperationCanceledException)
            {
                socket.Dispose();
                throw;
            }

            await Task.Delay(Pause(attempt), cancellation);
        }
    }

    private TimeSpan Pause(int attempt) => _options.RetryPause * Math.Pow(2, Math.Min(attempt, 10)) * (0.75 + (Random.Shared.NextDouble() / 2));
}

/// <summary>How a call ended: with a message, or with a refusal.</summary>
internal readonly record struct Reply<T>(T? Message, Status Status, string? Detail, GrpcMetadata Trailers)
    where T : class
{
    /// <summary>A whole number among the trailers, or what stands for none.</summary>
    public long Number(string trailer, long none) => Number(Trailers, trailer, none);

    /// <summary>A whole number among trailers, or what stands for none.</summary>
    public static long Number(GrpcMetadata trailers, string trailer, long none) =>
        long.TryParse(trailers.Get(trailer), NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out long number) ? number : none;
}
