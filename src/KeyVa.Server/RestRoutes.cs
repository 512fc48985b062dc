namespace KeyVa.Server;

/// <summary>A resource of the REST front door, as the OpenAPI document calls it.</summary>
internal readonly record struct RestRoute(string Path, string Methods);

/// <summary>All resources and their methods; a test holds the OpenAPI document against it.</summary>
internal static class RestRoutes
{
    internal const string Key = "/kv/{key}";
    internal const string List = "/kv";
    internal const string Batch = "/kv:batch";
    internal const string MultiGet = "/kv:get";
    internal const string RollBack = "/kv:rollback";
    internal const string History = "/history/{key}";
    internal const string Watch = "/watch";
    internal const string Indexes = "/indexes";
    internal const string Index = "/indexes/{name}";
    internal const string Indexed = "/indexes/{name}/records";
    internal const string Transactions = "/txn";
    internal const string Transact = "/txn:transact";
    internal const string Transaction = "/txn/{id}";
    internal const string Configuration = "/config";
    internal const string Setting = "/config/{name}";
    internal const string SlowLog = "/slowlog";
    internal const string Users = "/users";
    internal const string User = "/users/{name}";
    internal const string UserPassword = "/users/{name}/password";
    internal const string OwnPassword = "/password";
    internal const string UserToken = "/users/{name}/tokens/{token}";
    internal const string Metrics = "/metrics";
    internal const string Health = "/healthz";
    internal const string Ready = "/readyz";
    internal const string OpenApi = "/openapi/v1.json";
    internal const string Root = "/";

    internal static readonly RestRoute[] All =
    [
        new(Key, "GET, HEAD, PUT, PATCH, DELETE"),
        new(List, "GET, DELETE"),
        new(Batch, "POST"),
        new(MultiGet, "POST"),
        new(RollBack, "POST"),
        new(History, "GET"),
        new(Watch, "GET"),
        new(Indexes, "GET"),
        new(Index, "GET, PUT, DELETE"),
        new(Indexed, "GET"),
        new(Transactions, "POST"),
        new(Transact, "POST"),
        new(Transaction, "GET, DELETE"),
        new(Transaction + "/get", "POST"),
        new(Transaction + "/scan", "GET"),
        new(Transaction + Indexed, "GET"),
        new(Transaction + "/write", "POST"),
        new(Transaction + "/savepoint", "POST"),
        new(Transaction + "/rollback-to", "POST"),
        new(Transaction + "/commit", "POST"),
        new(Configuration, "GET"),
        new(Setting, "GET, PUT"),
        new(SlowLog, "GET, DELETE"),
        new(Users, "GET"),
        new(User, "GET, PUT, DELETE"),
        new(UserPassword, "PUT, DELETE"),
        new(UserToken, "PUT, DELETE"),
        new(OwnPassword, "PUT"),
        new(Metrics, "GET"),
        new(Health, "GET"),
        new(Ready, "GET"),
        new(OpenApi, "GET"),
        new(Root, "GET"),
    ];

    /// <summary>The resource of a path, or the path itself if there is none.</summary>
    internal static string RouteOf(ReadOnlySpan<char> path)
    {
        if (path.StartsWith(RestFrontDoor.KeyPrefix))
        {
            return Key;
        }

        if (path.StartsWith(RestPast.HistoryPrefix))
        {
            return History;
        }

        if (path.StartsWith(RestTransactions.Prefix))
        {
            ReadOnlySpan<char> rest = path[RestTransactions.Prefix.Length..];
            int slash = rest.IndexOf('/');
            string verb = slash < 0 ? "" : rest[slash..].ToString();
            return Transaction + (RestIndexes.TryReadQueried(verb, out _) ? Indexed : verb);
        }

        if (path.StartsWith(RestIndexes.Prefix))
        {
            return RestIndexes.IsQuery(path) ? Indexed : Index;
        }

        if (path.StartsWith(RestConfiguration.Prefix))
        {
            return Setting;
        }

        if (path.StartsWith(RestUsers.Prefix))
        {
            return RestUsers.RouteOf(path);
        }

        return path.ToString();
    }

    /// <summary>The methods of a resource.</summary>
    internal static string MethodsOf(string path) => Array.Find(All, route => route.Path == path).Methods;
}
