using KeyVa.Protocol.Grpc.Health.V1;
using ServingStatus = KeyVa.Protocol.Grpc.Health.V1.HealthCheckResponse.Types.ServingStatus;

namespace KeyVa.Protocol.Grpc;

/// <summary>
/// The standard service <c>grpc.health.v1.Health</c>. Safe for all threads.
/// 1. A status and the signal of its next change are swapped together, under the lock; the old signal is set after.
/// 2. A watcher that is slow sees the newest status, not each one between.
/// </summary>
public sealed class HealthService
{
    /// <summary>The unary method.</summary>
    public static readonly GrpcMethod<HealthCheckRequest, HealthCheckResponse> CheckMethod =
        new("grpc.health.v1.Health", "Check", HealthCheckRequest.Parser, HealthCheckResponse.Parser);

    /// <summary>The streaming method.</summary>
    public static readonly GrpcMethod<HealthCheckRequest, HealthCheckResponse> WatchMethod =
        new("grpc.health.v1.Health", "Watch", HealthCheckRequest.Parser, HealthCheckResponse.Parser);

    // Longest service name that can be asked for; health of a name costs memory only once somebody sets it.
    private const int MaxNameChars = 1024;

    private readonly Lock _lock = new();
    private readonly Dictionary<string, ServingStatus> _statuses = new(StringComparer.Ordinal);
    private TaskCompletionSource _changed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private bool _stopping;

    /// <summary>A server that is serving as a whole (the empty name) and has no other service yet.</summary>
    public HealthService() => _statuses[""] = ServingStatus.Serving;

    /// <summary>Sets whether a service is serving; the empty name is the whole server. No effect while shutting down.</summary>
    public void Set(string service, bool serving)
    {
        lock (_lock)
        {
            if (_stopping)
                return;
            _statuses[service] = serving ? ServingStatus.Serving : ServingStatus.NotServing;
        }
        Signal();
    }

    /// <summary>Sets everything to not serving for good, tells the watchers, and ends their streams.</summary>
    public void Shutdown()
    {
        lock (_lock)
        {
            _stopping = true;
            foreach (string service in _statuses.Keys)
                _statuses[service] = ServingStatus.NotServing;
        }
        Signal();
    }

    /// <summary>The service to give to a <see cref="GrpcServer"/>.</summary>
    public GrpcService ToService(GrpcServiceOptions? options = null)
        => new GrpcService("grpc.health.v1.Health", options)
            .Unary(CheckMethod, (request, _) => Check(request))
            .ServerStreaming(WatchMethod, WatchAsync);

    private ValueTask<GrpcResult<HealthCheckResponse>> Check(HealthCheckRequest request)
    {
        (ServingStatus status, _, _) = Read(request.Service);
        return new ValueTask<GrpcResult<HealthCheckResponse>>(status == ServingStatus.ServiceUnknown
            ? new GrpcStatus(GrpcStatusCode.NotFound, "unknown service")
            : new HealthCheckResponse { Status = status });
    }

    private async ValueTask<GrpcStatus> WatchAsync(
        HealthCheckRequest request, GrpcResponseStream<HealthCheckResponse> responses, GrpcCallContext call)
    {
        if (request.Service.Length > MaxNameChars)
            return new GrpcStatus(GrpcStatusCode.InvalidArgument, $"a service name has at most {MaxNameChars} characters");
        ServingStatus? sent = null;
        while (true)
        {
            (ServingStatus status, Task changed, bool stopping) = Read(request.Service);
            if (status != sent)
            {
                await responses.WriteAsync(new HealthCheckResponse { Status = status });
                sent = status;
            }
            if (stopping)
                return new GrpcStatus(GrpcStatusCode.Unavailable, "the server is shutting down");
            await changed.WaitAsync(call.CancellationToken);
        }
    }

    private (ServingStatus Status, Task Changed, bool Stopping) Read(string service)
    {
        lock (_lock)
        {
            ServingStatus status = _statuses.GetValueOrDefault(service, ServingStatus.ServiceUnknown);
            return (status, _changed.Task, _stopping);
        }
    }

    private void Signal()
    {
        TaskCompletionSource signal;
        lock (_lock)
        {
            signal = _changed;
            _changed = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        }
        signal.SetResult();
    }
}
