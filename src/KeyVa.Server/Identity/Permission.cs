namespace KeyVa.Server.Identity;

/// <summary>What of a plane an operation is about.</summary>
internal enum Extent
{
    /// <summary>Keys that the request names, each of which is checked; or what shows of a plane only what may be seen.</summary>
    Some,

    /// <summary>All keys, whatever the request says.</summary>
    Everything,
}

/// <summary>Whether the keys of a request are among those that the rights allow.</summary>
internal delegate bool KeyCheck(object request, Rights rights);

/// <summary>
/// What one operation of one protocol needs. Immutable. All of them stand in <see cref="PermissionTable"/>, and <see cref="Authority"/> alone
/// decides by them.
/// </summary>
internal sealed class Permission
{
    /// <summary>The protocol and its name for the operation, as <c>rest GET /kv/{key}</c>.</summary>
    public required string Operation { get; init; }

    /// <summary>For everybody, known or not: health, and the ways to prove who one is.</summary>
    public bool IsOpen { get; init; }

    public Plane Plane { get; init; }

    /// <summary>None: everybody who is known.</summary>
    public Level Level { get; init; }

    public Extent Extent { get; init; }

    /// <summary>
    /// Of a command with several keys: what the first one needs, if that is less than the others (COPY reads it); None: as the others.
    /// </summary>
    public Level FirstKey { get; init; }

    /// <summary>Whether each use leaves a line in the audit log.</summary>
    public bool IsAudited { get; init; }

    /// <summary>Under the limits of which plane its requests come: what is noted in the audit log, under those of the control plane.</summary>
    public Plane CountedOn => IsAudited ? Plane.Control : Plane;

    /// <summary>Of a message of gRPC: checks its keys; null: it has none.</summary>
    public KeyCheck? Keys { get; init; }

    /// <summary>Of a message, or a command of the Redis protocol: what it is done to, for the audit log. Never a secret.</summary>
    public Func<object, string>? Target { get; init; }

    public static string NameOfGrpc(string path) => "grpc " + path;

    public static string NameOfRest(string method, string route) => $"rest {method} {route}";

    public static string NameOfResp(string command) => "resp " + command;
}

/// <summary>What is to become of a request.</summary>
internal enum Verdict
{
    Allowed,

    /// <summary>The caller has not proved who it is.</summary>
    Unknown,

    /// <summary>The caller is known, and may not do this.</summary>
    Denied,
}

/// <summary>The one place that decides who may do what. Stateless.</summary>
internal static class Authority
{
    /// <summary>Decides about an operation, before its keys are known.</summary>
    public static Verdict Decide(Caller caller, Permission permission)
    {
        if (permission.IsOpen)
        {
            return Verdict.Allowed;
        }

        if (!caller.IsKnown)
        {
            return Verdict.Unknown;
        }

        Rights rights = caller.On(permission.Plane);
        Level level = permission.Extent == Extent.Everything ? rights.Everywhere : rights.Highest;
        return level >= permission.Level ? Verdict.Allowed : Verdict.Denied;
    }

    /// <summary>Decides about a message of gRPC, with its keys.</summary>
    public static Verdict Decide(Caller caller, Permission permission, object request)
    {
        Verdict verdict = Decide(caller, permission);
        return verdict != Verdict.Allowed || permission.Keys is not { } check || caller.On(permission.Plane).Everywhere == Level.Admin || check(request, caller.On(permission.Plane))
            ? verdict
            : Verdict.Denied;
    }
}
