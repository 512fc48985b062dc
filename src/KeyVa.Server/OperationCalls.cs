using Google.Protobuf;
using KeyVa.Protocol.Grpc;
using KeyVa.Protocol.V1;
using Wire = KeyVa.Protocol.V1;

namespace KeyVa.Server;

/// <summary>The calls of the control plane for those who operate a server: its settings and its slow log. Thread-safe.</summary>
internal sealed class OperationCalls(LiveConfiguration configuration, SlowLog slow, GrpcGuard guard)
{
    private const int DefaultLimit = 100;

    /// <summary>Adds the calls to the service.</summary>
    public GrpcService AddTo(GrpcService service) => service
        .Unary(Methods.GetConfig, guard.Unary<GetConfigRequest, GetConfigResponse>(Operation.Other, ListAsync))
        .Unary(Methods.SetConfig, guard.Unary<SetConfigRequest, SetConfigResponse>(Operation.Other, ChangeAsync))
        .Unary(Methods.ListSlowRequests, guard.Unary<ListSlowRequestsRequest, ListSlowRequestsResponse>(Operation.Other, ListSlowAsync))
        .Unary(Methods.ClearSlowRequests, guard.Unary<ClearSlowRequestsRequest, ClearSlowRequestsResponse>(Operation.Other, ClearSlowAsync));

    private ValueTask<GrpcResult<GetConfigResponse>> ListAsync(GetConfigRequest request, GrpcCallContext call)
    {
        GetConfigResponse response = new();
        response.Settings.AddRange(configuration.List().Where(one => request.Name.Length == 0 || one.Setting.Name == request.Name).Select(ToMessage));
        return response.Settings.Count == 0
            ? new(GrpcRefusal.Of(call, Status.NotFound, $"there is no setting '{request.Name}'; 'keyva config show' lists them"))
            : new(response);
    }

    private ValueTask<GrpcResult<SetConfigResponse>> ChangeAsync(SetConfigRequest request, GrpcCallContext call)
    {
        SettingChange change = configuration.Change(request.Name, request.Value);
        return change.Status == Status.Ok
            ? new(new SetConfigResponse { Setting = ToMessage(change.Setting!), Detail = change.Detail })
            : new(GrpcRefusal.Of(call, change.Status, change.Detail));
    }

    private ValueTask<GrpcResult<ListSlowRequestsResponse>> ListSlowAsync(ListSlowRequestsRequest request, GrpcCallContext call)
    {
        if (request.Limit < 0)
        {
            return new(GrpcRefusal.Malformed(call, "limit is negative; 0 is for 100"));
        }

        ListSlowRequestsResponse response = new() { Total = slow.Total };
        response.Requests.AddRange(slow.Newest(request.Limit == 0 ? DefaultLimit : request.Limit).Select(ToMessage));
        return new(response);
    }

    private ValueTask<GrpcResult<ClearSlowRequestsResponse>> ClearSlowAsync(ClearSlowRequestsRequest request, GrpcCallContext call)
    {
        slow.Clear();
        return new(new ClearSlowRequestsResponse());
    }

    private static ConfigSetting ToMessage(EffectiveSetting setting) => new()
    {
        Name = setting.Setting.Name,
        Value = setting.Value,
        Source = setting.Source,
        Default = setting.Setting.Default,
        Allowed = setting.Setting.Allowed,
        Description = setting.Setting.Description,
        Changeable = setting.Setting.ChangeableAtRunTime,
    };

    private static Wire.SlowRequest ToMessage(SlowRequest request)
    {
        Wire.SlowRequest message = new()
        {
            Number = request.Number,
            UnixMs = request.UnixMilliseconds,
            Door = request.Door,
            Operation = request.Operation,
            DurationUs = (long)request.Duration.TotalMicroseconds,
            Outcome = request.Outcome,
            Peer = request.Peer,
            ClientName = request.Name,
        };
        message.Arguments.AddRange(request.Arguments.Select(static argument => UnsafeByteOperations.UnsafeWrap(argument)));
        if (request.Times is { } times)
        {
            message.Parts = new WriteParts
            {
                Partition = times.Partition,
                GroupSize = times.GroupSize,
                QueueUs = (long)times.Queue.TotalMicroseconds,
                LogUs = (long)times.Log.TotalMicroseconds,
                SyncUs = (long)times.Sync.TotalMicroseconds,
                ApplyUs = (long)times.Apply.TotalMicroseconds,
            };
        }

        return message;
    }
}
