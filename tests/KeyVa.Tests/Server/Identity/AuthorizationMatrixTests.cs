using System.Reflection;
using KeyVa.Client;
using KeyVa.Protocol.Grpc;
using KeyVa.Protocol.V1;
using KeyVa.Server;
using KeyVa.Server.Identity;
using KeyVa.Server.Resp;
using Xunit;
using static KeyVa.Tests.Server.Identity.SecuredServer;

namespace KeyVa.Tests.Server.Identity;

/// <summary>
/// Every operation of every protocol, with every role, with keys in and out of its prefix: asked for over the wire, and held against the table of permissions.
/// </summary>
public sealed class AuthorizationMatrixTests : IAsyncLifetime
{
    /// <summary>Who asks, and with what grants; null: nobody that has proved who it is.</summary>
    private static readonly (string Name, string[]? Grants)[] Callers =
    [
        ("stranger", null),
        ("none", []),
        ("read-in", ["data:read:in/"]),
        ("write-in", ["data:write:in/"]),
        ("admin-in", ["data:admin:in/"]),
        ("read", ["data:read"]),
        ("write", ["data:write"]),
        ("admin-data", ["data:admin"]),
        ("control-read", ["control:read"]),
        ("control-write", ["control:write"]),
        ("control-admin", ["control:admin"]),
        ("mixed", ["data:read", "data:write:in/", "control:read"]),
    ];

    private readonly Dictionary<string, string> _tokens = [];
    private SecuredServer _server = null!;
    private OperationSamples _samples = null!;

    public async Task InitializeAsync()
    {
        _server = await StartAsync();
        foreach ((string name, string[]? grants) in Callers)
        {
            if (grants is not null)
            {
                await _server.Admin.Users.AddAsync(name, Grants(grants));
                _tokens[name] = await _server.Admin.Users.AddTokenAsync(name, "t");
            }
        }

        _samples = OperationSamples.Create(_server);
    }

    public async Task DisposeAsync()
    {
        _samples.Dispose();
        await _server.DisposeAsync();
    }

    [Fact]
    public void TheTableHasEveryOperationAndNoOther()
    {
        IEnumerable<string> grpc = typeof(Methods).GetFields(BindingFlags.Public | BindingFlags.Static)
            .Select(static field => field.GetValue(null)).Where(static method => method is not string)
            .Select(static method => (string)method!.GetType().GetProperty("Path")!.GetValue(method)!)
            .Concat([HealthService.CheckMethod.Path, HealthService.WatchMethod.Path, ReflectionService.V1Method.Path, ReflectionService.V1AlphaMethod.Path])
            .Select(static path => Permission.NameOfGrpc(path));
        IEnumerable<string> rest = RestRoutes.All.SelectMany(static route => route.Methods.Split(", ").Select(method => Permission.NameOfRest(method, route.Path)));
        IEnumerable<string> resp = CommandTable.All.SelectMany(static one => one.Subcommands.Prepend(one)).Select(static one => Permission.NameOfResp(one.Name));
        Assert.Equal(grpc.Concat(rest).Concat(resp).Order(StringComparer.Ordinal), PermissionTable.All.Select(static one => one.Operation).Order(StringComparer.Ordinal));

        // No command is left with what is in no table.
        Assert.DoesNotContain(CommandTable.All.SelectMany(static one => one.Subcommands.Prepend(one)), static one => one.Permission == PermissionTable.Missing);

        // Every one of them is tried below.
        Assert.Equal([], PermissionTable.All.Select(static one => one.Operation).Where(operation => !_samples.Has(operation)));
    }

    [Theory]
    [InlineData("grpc ")]
    [InlineData("rest ")]
    [InlineData("resp ")]
    public async Task WhoMayDoWhatIsAsTheTableSays(string protocol)
    {
        List<string> wrong = [];
        int tried = 0;
        foreach (Permission permission in PermissionTable.All.Where(one => one.Operation.StartsWith(protocol, StringComparison.Ordinal)))
        {
            foreach ((string name, string[]? grants) in Callers)
            {
                foreach (string key in new[] { "in/k", "out/k" })
                {
                    if (_samples.IsContainer(permission.Operation))
                    {
                        // A name for its subcommands that does nothing.
                        continue;
                    }

                    Verdict expected = Expected(permission, grants, key, _samples.HasKeys(permission.Operation));
                    Verdict got = await _samples.TryAsync(permission.Operation, grants is null ? null : _tokens[name], key);
                    tried++;
                    if (got != expected)
                    {
                        wrong.Add($"{permission.Operation} by {name} with {key}: {got} instead of {expected}");
                    }
                }
            }
        }

        Assert.True(wrong.Count == 0, string.Join('\n', wrong));
        Assert.True(tried > 500, $"{tried} were tried");
    }

    /// <summary>What the rules of docs/security.md come to, written down a second time.</summary>
    private static Verdict Expected(Permission permission, string[]? grants, string key, bool hasKeys)
    {
        if (permission.IsOpen)
        {
            return Verdict.Allowed;
        }

        if (grants is null)
        {
            return Verdict.Unknown;
        }

        if (permission.Level == Level.None)
        {
            return Verdict.Allowed;
        }

        bool isAllowed = false;
        foreach (RemoteGrant grant in Grants(grants))
        {
            string prefix = System.Text.Encoding.UTF8.GetString(grant.Prefix.Span);
            bool isFar = Array.IndexOf(["none", "read", "write", "admin"], grant.Role) >= (int)permission.Level;
            bool isWide = prefix.Length == 0 || (permission.Extent == Extent.Some && (!hasKeys || key.StartsWith(prefix, StringComparison.Ordinal)));
            isAllowed |= grant.Plane == (permission.Plane == Plane.Data ? "data" : "control") && isFar && isWide;
        }

        // COPY reads its first key and writes its second, which is the same here but for its end.
        return isAllowed ? Verdict.Allowed : Verdict.Denied;
    }
}
