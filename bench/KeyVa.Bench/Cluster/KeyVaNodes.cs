using KeyVa.Bench.Front;
using KeyVa.Server;

namespace KeyVa.Bench.Cluster;

/// <summary>KeyVa as it is served: three nodes of a cluster, or one that is alone; durability always.</summary>
internal sealed class KeyVaNodes : ReplicatedTarget
{
    /// <summary>The role of a child process: its name is its first argument, the flags of <c>keyva serve</c> come after.</summary>
    public const string Role = "serve-node";

    private readonly ServerProcess[] _nodes;
    private readonly int[] _data;
    private readonly int[] _control;

    public KeyVaNodes(string folder, int count)
    {
        int[] peers = Ports(count);
        int[] rest = Ports(count);
        int[] resp = Ports(count);
        _data = Ports(count);
        _control = Ports(count);
        string list = string.Join(',', Enumerable.Range(0, count).Select(i => $"{i + 1}=127.0.0.1:{peers[i]}"));
        _nodes = [.. Enumerable.Range(0, count).Select(i => ServerProcess.Start(
        [
            Role, "--data", Path.Combine(folder, $"node{i + 1}"), "--log-level", "warning",
            "--rest-listen", $"127.0.0.1:{rest[i]}", "--grpc-listen", $"127.0.0.1:{_data[i]}",
            "--control-listen", $"127.0.0.1:{_control[i]}", "--resp-listen", $"127.0.0.1:{resp[i]}",
            .. count == 1 ? Array.Empty<string>() : ["--cluster", "bench", "--node", Text(i + 1), "--peers", list],
        ]))];
    }

    public override string PutPath => "/keyva.v1.DataPlane/Upsert";

    public override string GetPath => "/keyva.v1.DataPlane/Get";

    /// <summary>In the child: serves with the flags that it was given.</summary>
    public static async Task ServeAsync(string[] arguments)
    {
        Dictionary<string, string> flags = arguments.Chunk(2).ToDictionary(static pair => pair[0], static pair => pair[1]);
        await using KeyVaServer server = await KeyVaServer.StartAsync(ServerConfiguration.Load(flags, null));
        await ServerProcess.ServeUntilInputEndsAsync();
    }

    // UpsertRequest { puts = 1: Put { key = 1, value = 2 } }
    public override byte[] PutFrame(byte[] key, byte[] value) => UnaryLoad.Frame(ProtoBytes.Field(1, [.. ProtoBytes.Field(1, key), .. ProtoBytes.Field(2, value)]));

    // GetRequest { keys = 1 }: linearizable, unless asked otherwise.
    public override byte[] GetFrame(byte[] key) => UnaryLoad.Frame(ProtoBytes.Field(1, key));

    public override void Dispose() => Array.ForEach(_nodes, static node => node.Dispose());

    // ClusterStatusResponse { node = 2, replicas = 4: ClusterReplica { leader = 3 } }
    protected override async Task<Uri?> TryFindLeaderAsync(UnaryLoad calls)
    {
        if (_nodes.Length == 1)
        {
            return new Uri($"http://127.0.0.1:{_data[0]}");
        }

        for (int i = 0; i < _nodes.Length; i++)
        {
            byte[]? status = await AskAsync(calls, new Uri($"http://127.0.0.1:{_control[i]}/keyva.v1.ControlPlane/ClusterStatus"));
            if (status is not null && ProtoBytes.NumberAt(status, 2) is > 0 and ulong node && ProtoBytes.NumberAt(status, 4, 3) == node)
            {
                return new Uri($"http://127.0.0.1:{_data[i]}");
            }
        }

        return null;
    }
}
