using Microsoft.AspNetCore.Http;

namespace KeyVa.Server.Identity;

/// <summary>The part of <see cref="PermissionTable"/> about REST, and which of its entries a request is.</summary>
internal static class RestPermissions
{
    private static readonly Permission GetKey = Data("GET", RestRoutes.Key, Level.Read);
    private static readonly Permission HeadKey = Data("HEAD", RestRoutes.Key, Level.Read);
    private static readonly Permission PutKey = Data("PUT", RestRoutes.Key, Level.Write);
    private static readonly Permission PatchKey = Data("PATCH", RestRoutes.Key, Level.Write);
    private static readonly Permission DeleteKey = Data("DELETE", RestRoutes.Key, Level.Write);

    public static Permission[] All { get; } =
    [
        GetKey,
        HeadKey,
        PutKey,
        PatchKey,
        DeleteKey,
        Data("GET", RestRoutes.List, Level.Read),
        Data("DELETE", RestRoutes.List, Level.Write),
        Data("POST", RestRoutes.Batch, Level.Write),
        Data("POST", RestRoutes.MultiGet, Level.Read),
        Data("POST", RestRoutes.RollBack, Level.Admin),
        Data("GET", RestRoutes.History, Level.Read),
        Data("GET", RestRoutes.Watch, Level.Read),
        Everything("GET", RestRoutes.Indexes, Level.Read),
        Everything("GET", RestRoutes.Index, Level.Read),
        Control("PUT", RestRoutes.Index, Level.Admin),
        Control("DELETE", RestRoutes.Index, Level.Admin),
        Everything("GET", RestRoutes.Indexed, Level.Read),
        Data("POST", RestRoutes.Transactions, Level.Read),
        Data("POST", RestRoutes.Transact, Level.Read),
        Data("GET", RestRoutes.Transaction, Level.Read),
        Data("DELETE", RestRoutes.Transaction, Level.Read),
        Data("POST", RestRoutes.Transaction + "/get", Level.Read),
        Data("GET", RestRoutes.Transaction + "/scan", Level.Read),
        Everything("GET", RestRoutes.Transaction + RestRoutes.Indexed, Level.Read),
        Data("POST", RestRoutes.Transaction + "/write", Level.Write),
        Data("POST", RestRoutes.Transaction + "/savepoint", Level.Read),
        Data("POST", RestRoutes.Transaction + "/rollback-to", Level.Read),
        Data("POST", RestRoutes.Transaction + "/commit", Level.Read),
        Control("GET", RestRoutes.Configuration, Level.Read),
        Control("GET", RestRoutes.Setting, Level.Read),
        Control("PUT", RestRoutes.Setting, Level.Admin),
        Control("GET", RestRoutes.SlowLog, Level.Read),
        Control("DELETE", RestRoutes.SlowLog, Level.Admin),
        Control("GET", RestRoutes.Users, Level.Admin),
        Control("GET", RestRoutes.User, Level.Admin),
        Control("PUT", RestRoutes.User, Level.Admin),
        Control("DELETE", RestRoutes.User, Level.Admin),
        Control("PUT", RestRoutes.UserPassword, Level.Admin),
        Control("DELETE", RestRoutes.UserPassword, Level.Admin),
        Control("PUT", RestRoutes.OwnPassword, Level.None),
        Control("PUT", RestRoutes.UserToken, Level.Admin),
        Control("DELETE", RestRoutes.UserToken, Level.Admin),

        // Read by machines every few seconds: in the log it would bury the rest.
        new() { Operation = Permission.NameOfRest("GET", RestRoutes.Metrics), Plane = Plane.Control, Level = Level.Read },
        Open("GET", RestRoutes.Health),
        Open("GET", RestRoutes.Ready),
        Open("GET", RestRoutes.OpenApi),
        Open("GET", RestRoutes.Root),
    ];

    /// <summary>The entry of a request. What there is not needs nothing but to be known.</summary>
    public static Permission Find(string method, in RestTarget target)
    {
        ReadOnlySpan<char> path = target.Path;
        if (path.StartsWith(RestFrontDoor.KeyPrefix))
        {
            return HttpMethods.IsGet(method) ? GetKey
                : HttpMethods.IsPut(method) ? PutKey
                : HttpMethods.IsHead(method) ? HeadKey
                : HttpMethods.IsDelete(method) ? DeleteKey
                : HttpMethods.IsPatch(method) ? PatchKey
                : PermissionTable.NoSuchOperation;
        }

        string route = RestRoutes.RouteOf(path);
        return PermissionTable.OfRest(method.ToUpperInvariant(), route)
            ?? (RestRoutes.MethodsOf(route) is { } methods && methods.Split(", ").Contains(method) ? PermissionTable.Missing : PermissionTable.NoSuchOperation);
    }

    private static Permission Data(string method, string route, Level level) =>
        new() { Operation = Permission.NameOfRest(method, route), Plane = Plane.Data, Level = level };

    private static Permission Everything(string method, string route, Level level) =>
        new() { Operation = Permission.NameOfRest(method, route), Plane = Plane.Data, Level = level, Extent = Extent.Everything };

    private static Permission Control(string method, string route, Level level) =>
        new() { Operation = Permission.NameOfRest(method, route), Plane = Plane.Control, Level = level, IsAudited = true };

    private static Permission Open(string method, string route) => new() { Operation = Permission.NameOfRest(method, route), IsOpen = true };
}
