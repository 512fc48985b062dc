using System.Collections.Frozen;

namespace KeyVa.Server.Identity;

/// <summary>
/// What each operation of each protocol needs: the one table. The front doors look their operations up here and decide nothing by themselves; an
/// operation that is missing is for administrators alone, and fails a test.
/// </summary>
internal static class PermissionTable
{
    private static readonly FrozenDictionary<string, Permission> ByOperation;
    private static readonly FrozenDictionary<string, Permission> ByPath;

    static PermissionTable()
    {
        All = [.. GrpcPermissions.All, .. RestPermissions.All, .. RespPermissions.All];
        ByOperation = All.ToFrozenDictionary(static one => one.Operation, StringComparer.Ordinal);
        ByPath = GrpcPermissions.All.ToFrozenDictionary(static one => one.Operation[Permission.NameOfGrpc("").Length..], StringComparer.Ordinal);
    }

    public static IReadOnlyList<Permission> All { get; }

    /// <summary>Of what is in no table.</summary>
    public static Permission Missing { get; } = new()
    {
        Operation = "unknown",
        Plane = Plane.Control,
        Level = Level.Admin,
        Extent = Extent.Everything,
    };

    /// <summary>Of what there is not: whoever is known may be told so.</summary>
    public static Permission NoSuchOperation { get; } = new() { Operation = "none" };

    /// <summary>Of a method of gRPC, by its path; null: there is none in the table.</summary>
    public static Permission? OfGrpc(string path) => ByPath.GetValueOrDefault(path);

    /// <summary>Of a resource and method of REST, as <see cref="RestRoutes"/> calls it; null: there is none in the table.</summary>
    public static Permission? OfRest(string method, string route) => ByOperation.GetValueOrDefault(Permission.NameOfRest(method, route));

    /// <summary>Of a command of the Redis protocol (subcommands as <c>client|id</c>); null: there is none in the table.</summary>
    public static Permission? OfResp(string command) => ByOperation.GetValueOrDefault(Permission.NameOfResp(command));
}
