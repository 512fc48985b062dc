using Google.Protobuf;

namespace KeyVa.Protocol.Grpc;

/// <summary>
/// A method of a service: its path and its message types. Client and server share it, so that they cannot disagree.
/// Immutable.
/// </summary>
/// <typeparam name="TRequest">The request message.</typeparam>
/// <typeparam name="TResponse">The response message.</typeparam>
/// <param name="service">The full name of the service: package and name.</param>
/// <param name="name">The name of the method in the service.</param>
/// <param name="requestParser">Reads requests.</param>
/// <param name="responseParser">Reads responses.</param>
public sealed class GrpcMethod<TRequest, TResponse>(
    string service, string name, MessageParser<TRequest> requestParser, MessageParser<TResponse> responseParser)
    where TRequest : class, IMessage<TRequest>
    where TResponse : class, IMessage<TResponse>
{
    /// <summary>The full name of the service.</summary>
    public string Service { get; } = service;

    /// <summary>The name of the method.</summary>
    public string Name { get; } = name;

    /// <summary>The HTTP/2 path, <c>/service/method</c>.</summary>
    public string Path { get; } = $"/{service}/{name}";

    /// <summary>Reads requests.</summary>
    public MessageParser<TRequest> RequestParser { get; } = requestParser;

    /// <summary>Reads responses.</summary>
    public MessageParser<TResponse> ResponseParser { get; } = responseParser;
}
