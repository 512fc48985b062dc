using System.Globalization;
using System.Text;
using Google.Protobuf;
using KeyVa.Protocol.Grpc;
using KeyVa.Protocol.V1;

namespace KeyVa.Server.Identity;

/// <summary>The part of <see cref="PermissionTable"/> about gRPC.</summary>
internal static class GrpcPermissions
{
    private const int MostShown = 128;

    public static Permission[] All { get; } =
    [
        // The data plane.
        Data(Methods.Get, Level.Read, static (request, rights) => KeyChecks.All(request.Keys, Level.Read, rights)),
        Data(Methods.Upsert, Level.Write, static (request, rights) => KeyChecks.All(request.Puts, rights)),
        Data(Methods.Remove, Level.Write, static (request, rights) => KeyChecks.All(request.Removals, rights)),
        Data(Methods.Write, Level.Write, static (request, rights) => KeyChecks.All(request.Operations, rights)),
        Data(Methods.Scan, Level.Read, static (request, rights) => KeyChecks.Range(request, rights)),
        Data(Methods.Watch, Level.Read, static (request, rights) => KeyChecks.Watch(request, rights)),
        Data(Methods.OpenSessions, Level.Write, static (_, _) => true),
        Data(Methods.BulkUpsert, Level.Write, static (request, rights) => KeyChecks.All(request.Puts, rights)),
        Data(Methods.History, Level.Read, static (request, rights) => rights.Allows(Level.Read, request.Key.Span)),
        Data(Methods.Revert, Level.Admin, static (request, rights) => KeyChecks.Revert(request, rights)),
        Everything(Methods.Query, Level.Read),
        Everything(Methods.ListIndexes, Level.Read),
        Everything(Methods.WaitIndex, Level.Read),
        Data(Methods.Begin, Level.Read),
        Data(Methods.TxnGet, Level.Read, static (request, rights) => KeyChecks.All(request.Keys, request.ForUpdate ? Level.Write : Level.Read, rights)),
        Data(Methods.TxnScan, Level.Read, static (request, rights) => KeyChecks.Range(request.Scan, rights)),
        Everything(Methods.TxnQuery, Level.Read),
        Data(Methods.TxnWrite, Level.Write, static (request, rights) => KeyChecks.All(request.Operations, rights)),
        Data(Methods.SetSavepoint, Level.Read),
        Data(Methods.RollbackTo, Level.Read),
        Data(Methods.Commit, Level.Read),
        Data(Methods.Rollback, Level.Read),
        Data(Methods.Transact, Level.Read, static (request, rights) => KeyChecks.Transact(request, rights)),

        // The control plane.
        Control(Methods.ListPartitions, Level.Read),
        Control(Methods.Stats, Level.Read),
        Control(Methods.ListTransactions, Level.Read),
        Control(Methods.Compact, Level.Write, static request => Partition(request.Partition)),
        Control(Methods.Scrub, Level.Write, static request => Partition(request.Partition)),
        Control(Methods.EndTransaction, Level.Write, static request => $"transaction {Text(request.Number)}"),
        Control(Methods.CreateIndex, Level.Admin, static request => $"index {Shown(request.Name)}"),
        Control(Methods.DropIndex, Level.Admin, static request => $"index {Shown(request.Name)}"),
        Control(Methods.AddPartition, Level.Admin, static request => $"partition from {Shown(request.Range?.From)} to {Shown(request.Range?.To)}"),
        Control(Methods.RemovePartition, Level.Admin, static request => Partition(request.Id)),
        Control(Methods.SetPartition, Level.Admin, static request => $"{Partition(request.Id)} setting {Shown(request.Name)} to {Shown(request.Value)}"),
        Control(Methods.Snapshot, Level.Admin, static request => $"{Partition(request.Partition)} to {Shown(request.Path)}"),
        Control(Methods.GetConfig, Level.Read),
        Control(Methods.SetConfig, Level.Admin, static request => $"setting {Shown(request.Name)}"),
        Control(Methods.ListSlowRequests, Level.Read),
        Control(Methods.ClearSlowRequests, Level.Admin),
        Control(Methods.ClusterStatus, Level.Read),
        Control(Methods.AddNode, Level.Admin, static request => $"node {Text(request.Node)}"),
        Control(Methods.RemoveNode, Level.Admin, static request => $"node {Text(request.Node)}"),
        Control(Methods.TransferLeadership, Level.Admin, static request => $"node {Text(request.Node)}"),
        Control(Methods.WhoAmI, Level.None),
        Control(Methods.ListUsers, Level.Admin),
        Control(Methods.AddUser, Level.Admin, static request => $"user {Shown(request.Name)}"),
        Control(Methods.RemoveUser, Level.Admin, static request => $"user {Shown(request.Name)}"),
        Control(Methods.SetUserGrants, Level.Admin, static request => $"user {Shown(request.Name)} to {string.Join(' ', request.Grants.Select(static one => Shown(one)))}"),
        Control(Methods.SetUserPassword, Level.Admin, static request => $"user {Shown(request.Name)}"),
        Control(Methods.ChangeOwnPassword, Level.None, static _ => "its own password"),
        Control(Methods.SetUserCertificates, Level.Admin, static request => $"user {Shown(request.Name)} to {Shown(string.Join(' ', request.Certificates))}"),
        Control(Methods.AddUserToken, Level.Admin, static request => $"user {Shown(request.Name)} token {Shown(request.Token)}"),
        Control(Methods.RemoveUserToken, Level.Admin, static request => $"user {Shown(request.Name)} token {Shown(request.Token)}"),

        // The standard services, on either.
        Open(HealthService.CheckMethod.Path),
        Open(HealthService.WatchMethod.Path),
        Open(ReflectionService.V1Method.Path),
        Open(ReflectionService.V1AlphaMethod.Path),
    ];

    private static Permission Data<TRequest, TResponse>(GrpcMethod<TRequest, TResponse> method, Level level, Func<TRequest, Rights, bool>? keys = null)
        where TRequest : class, IMessage<TRequest>
        where TResponse : class, IMessage<TResponse> => new()
        {
            Operation = Permission.NameOfGrpc(method.Path),
            Plane = Plane.Data,
            Level = level,
            Keys = keys is null ? null : (request, rights) => keys((TRequest)request, rights),
        };

    private static Permission Everything<TRequest, TResponse>(GrpcMethod<TRequest, TResponse> method, Level level)
        where TRequest : class, IMessage<TRequest>
        where TResponse : class, IMessage<TResponse> =>
        new() { Operation = Permission.NameOfGrpc(method.Path), Plane = Plane.Data, Level = level, Extent = Extent.Everything };

    private static Permission Control<TRequest, TResponse>(GrpcMethod<TRequest, TResponse> method, Level level, Func<TRequest, string>? target = null)
        where TRequest : class, IMessage<TRequest>
        where TResponse : class, IMessage<TResponse> => new()
        {
            Operation = Permission.NameOfGrpc(method.Path),
            Plane = Plane.Control,
            Level = level,
            IsAudited = true,
            Target = target is null ? null : request => target((TRequest)request),
        };

    private static Permission Open(string path) => new() { Operation = Permission.NameOfGrpc(path), IsOpen = true };

    private static string Partition(long id) => id == 0 ? "all partitions" : $"partition {Text(id)}";

    private static string Text(long number) => number.ToString(CultureInfo.InvariantCulture);

    private static string Shown(ByteString? bytes) => bytes is null || bytes.IsEmpty ? "the end" : Shown(Encoding.Latin1.GetString(bytes.Span));

    private static string Shown(UserGrant grant) => $"{Shown(grant.Plane)}:{Shown(grant.Role)}:{(grant.Prefix.IsEmpty ? "" : Shown(grant.Prefix))}";

    /// <summary>In one line, and not too long: what comes from callers must not make up lines of the log.</summary>
    private static string Shown(string text) =>
        string.Concat(text.AsSpan(0, Math.Min(text.Length, MostShown)).ToArray().Select(static one => char.IsControl(one) ? '?' : one));
}
