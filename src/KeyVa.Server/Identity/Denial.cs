namespace KeyVa.Server.Identity;

/// <summary>What somebody is told who may not do something. Stateless.</summary>
internal static class Denial
{
    public static string Of(Caller caller, Permission permission) =>
        $"the user '{caller.Name}' may not do this: it takes {Grant.Word(permission.Plane)}:{Grant.Word(permission.Level)}"
        + (permission.Extent == Extent.Everything && permission.Plane == Plane.Data ? " for all keys" : "");

    public static string OfKeys(Caller caller, Permission permission) =>
        $"the user '{caller.Name}' may not do this with all of these keys: it takes {Grant.Word(permission.Plane)}:{Grant.Word(permission.Level)} for each, and a range must lie inside one of its prefixes";
}
