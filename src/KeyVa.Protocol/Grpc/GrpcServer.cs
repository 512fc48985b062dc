using System.Collections.Frozen;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;

namespace KeyVa.Protocol.Grpc;

/// <summary>
/// The server half: finds the handler of a path. Immutable, so safe for all threads. It needs an HTTP/2 listener
/// (<c>HttpProtocols.Http2</c>, with or without TLS).
/// </summary>
public sealed class GrpcServer
{
    private readonly FrozenDictionary<string, GrpcHandler> _handlers;

    /// <summary>A server of these services.</summary>
    /// <exception cref="ArgumentException">Two of them have the same name.</exception>
    public GrpcServer(params IEnumerable<GrpcService> services)
    {
        Dictionary<string, GrpcHandler> handlers = new(StringComparer.Ordinal);
        HashSet<string> names = new(StringComparer.Ordinal);
        foreach (GrpcService service in services)
        {
            if (!names.Add(service.Name))
                throw new ArgumentException($"service {service.Name} is given twice", nameof(services));
            foreach ((string path, GrpcHandler handler) in service.Handlers)
                handlers.Add(path, handler);
        }
        _handlers = handlers.ToFrozenDictionary(StringComparer.Ordinal);
        ServiceNames = [.. names.Order(StringComparer.Ordinal)];
    }

    /// <summary>The names of the services, sorted.</summary>
    public IReadOnlyList<string> ServiceNames { get; }

    internal IEnumerable<KeyValuePair<string, GrpcHandler>> Handlers => _handlers;

    /// <summary>
    /// Answers any request: the shortest way, as the last middleware of a listener that serves nothing but gRPC
    /// (<c>app.Run(server.HandleAsync)</c>).
    /// </summary>
    public Task HandleAsync(HttpContext http)
        => http.Request.Path.Value is { } path && _handlers.TryGetValue(path, out GrpcHandler? handler)
            ? handler.HandleAsync(http)
            : RefuseUnknown(http);

    /// <summary>UNIMPLEMENTED, for a path that no service has.</summary>
    internal static Task RefuseUnknown(HttpContext http)
    {
        if (GrpcCallContext.IsGrpcRequest(http))
        {
            http.Response.ContentType = GrpcCallContext.ContentType;
            GrpcCallContext.WriteStatus(http.Response.Headers, new GrpcStatus(
                GrpcStatusCode.Unimplemented, $"unknown service or method {http.Request.Path.Value}"));
        }
        return Task.CompletedTask;
    }
}

/// <summary>Puts a <see cref="GrpcServer"/> among the endpoints of an application.</summary>
public static class GrpcEndpoints
{
    /// <summary>
    /// Maps every method, and every other path of the form <c>/service/method</c> to UNIMPLEMENTED. What comes back
    /// takes conventions for all of them (<c>RequireHost("*:7401")</c>, authorization).
    /// </summary>
    public static IEndpointConventionBuilder MapGrpc(this IEndpointRouteBuilder endpoints, GrpcServer server)
    {
        RouteGroupBuilder group = endpoints.MapGroup("");
        foreach ((string path, GrpcHandler handler) in server.Handlers)
            group.Map(path, new RequestDelegate(handler.HandleAsync)).WithDisplayName($"gRPC {path}");
        group.Map("/{grpcService}/{grpcMethod}", new RequestDelegate(GrpcServer.RefuseUnknown))
            .WithDisplayName("gRPC unimplemented");
        return group;
    }
}
